from __future__ import annotations

import functools
import inspect
import itertools
import sys
from types import FrameType

import numpy as np
import pytest
import torch

from cres import schema
from cres.errors import UserError
from cres.estimation.bound.electrons import bound_of, freedom
from cres.estimation.fit.least_squares import FitOptions, FitResult, GaussianPrior, best_fits, fit
from cres.estimation.fit.likelihood import FREE, LikelihoodEstimator, likelihood_estimates
from cres.estimation.fit.posterior import credible_half_width
from cres.estimation.fit.products import LineProducts, SampleProducts
from cres.estimation.fit.seeded import Seed, SeededEstimator, with_network
from cres.estimation.forward import LineModel
from cres.estimation.noise import White
from cres.estimation.search.detection import false_alarm_threshold
from cres.estimation.search.matched_filter import MatchedFilter
from cres.estimation.search.periodogram import goodness_p
from cres.simulation import SimulationConfig
from reconstruction.judging.tables.table import PredictionTable

ELECTRONS = 20


@pytest.fixture(scope="module")
def matched_filter(simulated) -> MatchedFilter:  # type: ignore[no-untyped-def]
    return MatchedFilter(simulated.apparatus)


@pytest.fixture(scope="module")
def estimator(matched_filter: MatchedFilter) -> LikelihoodEstimator:
    return LikelihoodEstimator(matched_filter)


@pytest.fixture(scope="module")
def chosen(simulated) -> np.ndarray:  # type: ignore[no-untyped-def]
    return np.flatnonzero(simulated.resolved)[:ELECTRONS]


@pytest.fixture(scope="module")
def fitted(simulated, estimator, chosen):  # type: ignore[no-untyped-def]
    return estimator.estimate(simulated.noisy[chosen])


def test_every_python_sees_that_a_forward_model_knows_its_lines(simulated) -> None:  # type: ignore[no-untyped-def]
    """From 3.12 on, protocols look at classes and `__dict__` alone; a buffer would mean the slow products there."""
    model = simulated.apparatus.model
    assert isinstance(model, LineModel)
    for name in ("jacobian", "lines", "time_s"):
        inspect.getattr_static(model, name)


def test_templates_are_the_forward_model(simulated, matched_filter, chosen) -> None:  # type: ignore[no-untyped-def]
    # of a noiseless record the best template must collect all power but what the grids lose
    found = matched_filter(simulated.clean[chosen])
    share = found.templates.statistic.amax(1).numpy() / simulated.columns["signal_snr"][chosen]
    assert share.min() > 0.85
    assert share.max() < 1.001


def test_the_likelihood_reaches_the_bound(simulated, fitted, chosen) -> None:  # type: ignore[no-untyped-def]
    truth = simulated.parameters[chosen]
    bound = bound_of(simulated.apparatus, freedom(SimulationConfig.default()), truth)
    residual = fitted.parameters[:, 0] - truth[:, 0]
    ratio = residual / bound.std_of("energy_ev")
    assert float(ratio.abs().max()) < 5
    assert 0.7 < float(ratio.std()) < 1.3
    pull = residual / fitted.covariance[:, 0, 0].sqrt()
    assert 0.7 < float(pull.std()) < 1.3
    assert not fitted.failed.any()
    assert not fitted.ambiguous.any()
    pitch = (fitted.parameters[:, 1] - truth[:, 1]) / bound.std_of("pitch_angle_deg")
    assert float(pitch.abs().max()) < 5


def test_the_fit_is_no_worse_than_the_truth(simulated, fitted, chosen) -> None:  # type: ignore[no-untyped-def]
    left = simulated.noisy[chosen] - simulated.clean[chosen]
    at_truth = left.abs().square().sum(1) / simulated.apparatus.noise_std_volt**2
    assert torch.all(fitted.chi_square < at_truth + 1)


def test_a_wrong_model_fails_its_goodness(simulated, chosen) -> None:  # type: ignore[no-untyped-def]
    apparatus, rows = simulated.apparatus, chosen[:8]
    rate = apparatus.reception.sampling_rate_hz
    products = LineProducts(apparatus.model, simulated.noisy[rows], apparatus.noise_std_volt, FREE)
    wrong = simulated.parameters[rows].clone()
    wrong[:, 1] -= 0.05
    for parameters, good in ((simulated.parameters[rows], True), (wrong, False)):
        p = goodness_p(products.residual_spectrum(parameters), rate, (-110e6, -20e6))
        assert bool((p > 1e-4).all()) is good


def test_electrons_without_sidebands_are_called_ambiguous(simulated, estimator) -> None:  # type: ignore[no-untyped-def]
    weak = np.argsort(simulated.columns["sideband_snr"])[:4]
    found = estimator.estimate(simulated.noisy[weak])
    assert found.ambiguous.double().mean() > 0.7
    stated = likelihood_estimates(found).std[schema.ENERGY]
    assert np.median(stated) > 1.0


def test_the_network_confines_the_search_and_catches_failures(simulated, estimator, fitted, chosen) -> None:  # type: ignore[no-untyped-def]
    truth = simulated.parameters[chosen].numpy()
    rng = np.random.default_rng(0)
    energy_std, pitch_std = np.full(len(truth), 0.8), np.full(len(truth), 0.01)
    energy = truth[:, 0] + energy_std * rng.normal(size=len(truth))
    seed = Seed(energy, energy_std, 5 * energy_std, truth[:, 1], pitch_std, 5 * pitch_std)
    found, fell_back = SeededEstimator(estimator).estimate(simulated.noisy[chosen], seed)
    torch.testing.assert_close(found.parameters[:, 0], fitted.parameters[:, 0], rtol=0, atol=2e-3)
    assert not fell_back.any()
    failed = torch.zeros(len(truth), dtype=torch.bool)
    failed[1] = True
    joined = with_network(likelihood_estimates(found), seed, failed)
    assert joined.values[schema.ENERGY][1] == seed.energy_ev[1]
    assert joined.std[schema.ENERGY][1] == 0.8
    assert joined.std[schema.ENERGY][0] < 0.5


def test_a_network_that_misses_events_is_refused() -> None:
    columns = {schema.ENERGY: np.array([1.0, 2.0]), schema.PITCH_ANGLE: np.array([89.0, 88.0])}
    table = PredictionTable.from_estimates(np.array([9, 4]), columns, std=columns, estimator="network")
    assert Seed.of(table, np.array([4, 9])).energy_ev.tolist() == [2.0, 1.0]
    with pytest.raises(UserError, match="no event 5"):
        Seed.of(table, np.array([4, 5]))


class Line:
    """s_t = A e^{iφ} (1 + e^{i K t}): one non-linear parameter in the energy's place."""

    time = torch.linspace(-1, 1, 64, dtype=torch.float64)

    def __call__(self, parameters: torch.Tensor) -> torch.Tensor:
        return self.jacobian(parameters)[0]

    def jacobian(self, parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rate, _, _, phase, _, amplitude = (column[:, None] for column in parameters.unbind(1))
        unit = torch.exp(1j * phase) * (1 + torch.exp(1j * rate * self.time))
        slope = amplitude * torch.exp(1j * phase) * 1j * self.time * torch.exp(1j * rate * self.time)
        zero = torch.zeros_like(unit)
        return amplitude * unit, torch.stack([slope, zero, zero, 1j * amplitude * unit, zero, unit], 1)


LINE = FitOptions(("energy_ev", "start_phase_rad", "amplitude"), (-20.0,) + (-100.0,) * 5, (20.0,) + (100.0,) * 5)


def line_products(data: torch.Tensor) -> SampleProducts:
    return SampleProducts(Line(), data, White(0.1), LINE.free)


def line_parameters(*rates: float) -> torch.Tensor:
    return torch.tensor([[rate, 0, 0, 0.3, 0, 2.0] for rate in rates], dtype=torch.float64)


def test_products_by_lines_are_those_by_samples(simulated, chosen) -> None:  # type: ignore[no-untyped-def]
    apparatus, rows = simulated.apparatus, torch.tensor([0, 2, 2, 1])
    data, parameters = simulated.noisy[chosen[:3]], simulated.parameters[chosen[:3]][rows]
    parameters[:, 0] += 0.02
    parameters[:, 5] = 0.9
    names = ("energy_ev", "pitch_angle_deg", "radius_m", "start_phase_rad", "axial_phase_rad", "amplitude")
    slow = SampleProducts(apparatus.model, data, White(apparatus.noise_std_volt), names)
    fast = LineProducts(apparatus.model, data, apparatus.noise_std_volt, names)
    wanted, found = slow(rows, parameters), fast(rows, parameters)
    unit = wanted.information.diagonal(dim1=1, dim2=2).sqrt()
    torch.testing.assert_close(found.data_power, wanted.data_power)
    torch.testing.assert_close(found.power, wanted.power, rtol=1e-4, atol=0)
    torch.testing.assert_close(found.overlap, wanted.overlap, rtol=1e-3, atol=0.05)
    torch.testing.assert_close(found.with_data / unit, wanted.with_data / unit, rtol=0, atol=0.1)
    torch.testing.assert_close(found.with_record / unit, wanted.with_record / unit, rtol=0, atol=0.01)
    scale = unit[:, :, None] * unit[:, None, :]
    torch.testing.assert_close(found.information / scale, wanted.information / scale, rtol=0, atol=1e-2)
    left = [products.residual_spectrum(parameters[[0, 3, 1]]) for products in (fast, slow)]
    assert (left[0] - left[1]).abs().square().sum(1).max() < 0.02


def test_the_tie_is_differentiated(estimator: LikelihoodEstimator) -> None:
    # between the nodes of its table, and where the strongest record ends it
    strength = estimator.strength
    rows = torch.tensor([[18600, 89, radius, 0, 0, size] for radius, size in ((1.001e-3, 1), (3e-3, 1), (3.4e-3, 1.1))])
    rows = strength.moved(rows.double(), torch.zeros(3).double())
    change = torch.full((3,), 1e-3, dtype=torch.float64)
    numeric = (strength.moved(rows, change) - strength.moved(rows, -change))[:, [2, 5]] / 2e-3
    torch.testing.assert_close(strength.directions(rows), numeric, rtol=1e-2, atol=1e-6)


def test_a_batch_of_fits_is_a_loop_of_fits() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = line_parameters(3.0, 4.0, 5.0)
    noise = torch.view_as_complex(torch.randn(3, 64, 2, dtype=torch.float64, generator=generator))
    data, start = Line()(truth) + 0.1 * noise, truth + torch.tensor([0.4, 0, 0, 2.0, 0, 5.0])
    batch = fit(line_products(data), torch.arange(3), start, LINE)
    assert batch.converged.all()
    for i in range(3):
        alone = fit(line_products(data), torch.tensor([i]), start[i : i + 1], LINE)
        torch.testing.assert_close(alone.parameters[0], batch.parameters[i], rtol=1e-10, atol=1e-10)
    assert (batch.parameters[:, 0] - truth[:, 0]).abs().max() < 0.1
    assert batch.parameters[:, 5].tolist() == pytest.approx([2.0] * 3, abs=0.1)


def test_a_sharp_prior_holds_and_a_limit_stops() -> None:
    truth = line_parameters(3.0)
    prior = GaussianPrior(line_parameters(3.2), torch.tensor([[1e9, 0, 0, 0, 0, 0]], dtype=torch.float64))
    held = fit(line_products(Line()(truth)), torch.arange(1), line_parameters(3.1), LINE, prior)
    assert float(held.parameters[0, 0]) == pytest.approx(3.2, abs=1e-3)
    narrow = FitOptions(LINE.free, (-20.0,) + (-100.0,) * 5, (2.5,) + (100.0,) * 5)
    stopped = fit(line_products(Line()(truth)), torch.arange(1), line_parameters(2.0), narrow)
    assert float(stopped.parameters[0, 0]) <= 2.5
    assert not stopped.converged.any()


def test_the_best_start_of_each_electron_is_kept() -> None:
    chi_square = torch.tensor([5.0, 3.0, 4.0, 1.0, 2.0], dtype=torch.float64)
    nothing = torch.zeros(5, 6, dtype=torch.float64), torch.zeros(5, 5, 5, dtype=torch.float64)
    fits = FitResult(*nothing, chi_square, torch.arange(5), torch.ones(5, dtype=torch.bool))
    assert best_fits(fits, torch.tensor([0, 0, 0, 1, 1]), 2).steps.tolist() == [1, 3]


def test_the_threshold_has_its_probability() -> None:
    generator = torch.Generator().manual_seed(5)
    maxima = torch.empty(4000, 300, dtype=torch.float64).exponential_(generator=generator).amax(1)
    threshold = false_alarm_threshold(maxima[:500], 0.01, dimensions=0)
    assert float((maxima > threshold).double().mean()) == pytest.approx(0.01, abs=0.005)


def test_the_credible_interval_counts_other_optima() -> None:
    values = torch.tensor([[0.0, 10.0, 30.0]], dtype=torch.float64)
    for weights, width in (((0.9, 0.1, 0.0), 0.0), ((0.5, 0.3, 0.2), 10.0), ((0.3, 0.3, 0.4), 30.0)):
        found = credible_half_width(values, torch.tensor([weights], dtype=torch.float64), torch.zeros(1).double())
        assert found.tolist() == [width]


def test_noise_alone_passes_the_threshold_as_often_as_stated(matched_filter: MatchedFilter) -> None:
    maxima = matched_filter.noise_maxima(128, seed=1)
    passed = float((maxima[64:] > false_alarm_threshold(maxima[:64], 0.2)).double().mean())
    assert passed == pytest.approx(0.2, abs=0.15)
    assert 15 < false_alarm_threshold(maxima, 1e-3) < 20


def test_the_way_of_one_electron_is_short(simulated, estimator) -> None:  # type: ignore[no-untyped-def]
    """Files in the order in which their functions are first called: once 42 stops and 26 returns.

    Three of today's stops are those of the whole posterior.
    """
    electron = simulated.parameters[:1].numpy()
    seed = Seed(*(np.array([value]) for value in (electron[0, 0], 0.5, 2.5, electron[0, 1], 0.02, 0.1)))
    entered: dict[tuple[str, str], None] = {}

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and "/cres/estimation/" in code.co_filename and not code.co_name.startswith("<"):
            owner = getattr(type(frame.f_locals.get("self")), code.co_name, None)
            if not isinstance(owner, (property, functools.cached_property)):
                entered[code.co_filename, code.co_qualname] = None

    seeded = SeededEstimator(estimator)
    sys.setprofile(note)
    try:
        found, failed = seeded.estimate(simulated.noisy[:1], seed)
        with_network(likelihood_estimates(found), seed, failed)
    finally:
        sys.setprofile(None)
    stops = [file for file, _ in itertools.groupby(file for file, _ in entered)]
    assert len(entered) > 40
    assert len(set(stops)) <= 10, entered
    assert len(stops) <= 23, entered
    assert len(stops) - len(set(stops)) <= 13, entered
