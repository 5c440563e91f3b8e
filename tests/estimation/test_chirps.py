"""Long records: their lines rise by several bins, and a search for lines that stand still finds a part of them.

The rise goes with the square of the length; 24 times the loss makes 20 µs as hard as 100.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cres.estimation.apparatus import Apparatus
from cres.estimation.bound.electrons import bound_of, freedom
from cres.estimation.fit import least_squares
from cres.estimation.fit.likelihood import LikelihoodEstimator
from cres.estimation.fit.seeded import Seed, SeededEstimator
from cres.estimation.search.chirps import best_rate, chirp_rates_hz_per_s, without_chirp
from cres.estimation.search.matched_filter import MatchedFilter
from cres.simulation import ForwardModel, SimulationConfig, sample_electrons
from cres.simulation.parameters import parameter_rows, parameters_of

LOSSY = SimulationConfig.from_dict({"loss": {"kind": "cavity", "factor": 24.0}, "ensemble": {"radius_m": [2e-3, 5e-3]}})
ELECTRONS = 5


@pytest.fixture(scope="module")
def estimator() -> LikelihoodEstimator:
    return LikelihoodEstimator(MatchedFilter(Apparatus.from_config(LOSSY)))


@pytest.fixture(scope="module")
def electrons(estimator: LikelihoodEstimator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Parameters of electrons with strong sidebands, their records without and with noise."""
    drawn = parameters_of(sample_electrons(LOSSY, 60, 8))
    parameters = drawn[drawn[:, 1] < 89][:ELECTRONS]
    clean = ForwardModel(LOSSY)(parameters)
    noise = torch.randn(*clean.shape, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return parameters, clean, clean + torch.view_as_complex(noise * estimator.apparatus.noise_std_volt)


def turns(estimator: LikelihoodEstimator, rate_hz_per_s: torch.Tensor) -> torch.Tensor:
    """½kT², turns."""
    reception = estimator.apparatus.reception
    return rate_hz_per_s * (reception.samples / reception.sampling_rate_hz) ** 2 / 2


def true_rates(estimator: LikelihoodEstimator, parameters: torch.Tensor) -> torch.Tensor:
    """Twin: the mean second difference of the phase of the forward model's carrier, by hand from its polynomial."""
    return 2 * estimator.apparatus.model.lines(parameters).phase[:, 2] / (2 * np.pi)


def pulls(estimator: LikelihoodEstimator, fitted: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
    bound = bound_of(estimator.apparatus, freedom(LOSSY), parameters).std_of("energy_ev")
    return (fitted - parameters)[:, 0] / bound


def test_short_records_are_searched_once() -> None:
    for samples, rates in ((8192, 1), (2 * 8192, 3)):
        config = SimulationConfig.from_dict({"readout": {"samples": samples}})
        found = chirp_rates_hz_per_s(Apparatus.from_config(config))
        assert len(found) == rates
        assert float(found[0]) == 0


def test_templates_see_the_whole_of_a_chirped_record(estimator, electrons) -> None:  # type: ignore[no-untyped-def]
    parameters, clean, _ = electrons
    assert float(turns(estimator, true_rates(estimator, parameters)).max()) > 2
    found = estimator.search(clean)
    snr = clean.abs().square().sum(1) / (2 * estimator.apparatus.noise_std_volt**2)
    share = found.templates.statistic.amax(1) / snr
    assert float(share.min()) > 0.85
    assert float(share.max()) < 1.001
    wrong = turns(estimator, found.chirp_hz_per_s - true_rates(estimator, parameters))
    assert float(wrong.abs().max()) < 0.3


def test_taking_the_rise_out_leaves_a_tone(estimator) -> None:  # type: ignore[no-untyped-def]
    reception = estimator.apparatus.reception
    time_s = torch.arange(reception.samples, dtype=torch.float64) / reception.sampling_rate_hz
    rate = torch.tensor([0.0, 2e10], dtype=torch.float64)
    apart = time_s - reception.middle_s
    chirped = torch.exp(2j * np.pi * (-6e7 * apart + rate[:, None] / 2 * apart**2))
    steady = without_chirp(chirped, rate, estimator.apparatus)
    torch.testing.assert_close(steady, torch.exp(-2j * np.pi * 6e7 * apart).expand(2, -1), rtol=0, atol=1e-9)


def test_the_best_rate_lies_between_those_tried() -> None:
    rates = torch.tensor([0.0, 1.0, 2.0, 3.0], dtype=torch.float64)
    for true in (0.0, 0.8, 1.5, 2.9):
        assert float(best_rate(rates, 5 - (rates - true).square()[None])) == pytest.approx(true, abs=0.11)


def test_the_likelihood_reaches_the_bound_in_chirped_records(estimator, electrons, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    parameters, _, noisy = electrons
    found = estimator.estimate(noisy)
    assert not found.failed.any()
    assert float(pulls(estimator, found.parameters, parameters).abs().max()) < 4
    # lines that stand still are sought as before: the search is lost, and the fits with it
    monkeypatch.setattr(estimator.search, "chirps_hz_per_s", torch.zeros(1, dtype=torch.float64))
    blind = estimator.estimate(noisy)
    lost = blind.failed | (pulls(estimator, blind.parameters, parameters).abs() > 5)
    assert lost.double().mean() > 0.5


def test_so_does_the_one_that_a_network_seeds(estimator, electrons) -> None:  # type: ignore[no-untyped-def]
    parameters, _, noisy = electrons
    values, ones = parameters.numpy(), np.ones(len(parameters))
    seed = Seed(values[:, 0] + 0.3, 0.5 * ones, 2.5 * ones, values[:, 1], 0.01 * ones, 0.05 * ones)
    found, fell_back = SeededEstimator(estimator).estimate(noisy, seed)
    assert not fell_back.any()
    assert float(pulls(estimator, found.parameters, parameters).abs().max()) < 4


def test_a_record_stronger_than_any_radius_makes_comes_to_rest(estimator, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    # its chirp wants the strongest radius and its power more than that: the tie of the two ends in a kink
    strength = estimator.strength
    best = strength.radius_m[strength.best]
    rows = parameter_rows(18_600.0, torch.linspace(88.2, 88.9, 8, dtype=torch.float64), best, 0.0, 0.5, 0.97)
    noise = torch.randn(8, 8192, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    noisy = ForwardModel(LOSSY)(rows) + torch.view_as_complex(noise * estimator.apparatus.noise_std_volt)
    found = estimator.search(noisy)
    sought = noisy, found.templates, found.templates.optima(1)
    fitted = estimator.fit_optima(*sought)
    assert fitted.converged.all()
    assert float(pulls(estimator, fitted.parameters, rows).abs().max()) < 4
    monkeypatch.setattr(least_squares, "KINK_DAMPING", float("inf"))
    assert not estimator.fit_optima(*sought).converged.all()
