"""The posterior over the radius: its integrals against what is known, and electrons where it must be true."""

from __future__ import annotations

import copy
import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from cres import schema
from cres.errors import UserError
from cres.estimation.apparatus import Apparatus
from cres.estimation.estimates import Estimated
from cres.estimation.fit.likelihood import LikelihoodEstimator
from cres.estimation.methods.model import radial_estimates
from cres.estimation.radial.grid import RADII, asked_energies_ev, energies_at, log_ratio
from cres.estimation.radial.posterior import PROBABILITIES, RadialEstimator, between_radii, shortest_intervals
from cres.estimation.search.building import COARSE_TEMPLATES, coarse_bank
from cres.estimation.search.matched_filter import MatchedFilter, template_radii_m
from cres.estimation.search.templates import FINE_PHASES
from cres.evaluation.resolved import resolved_mask
from cres.simulation import SimulationConfig, sample_electrons, simulate_columns
from cres.simulation.parameters import AMPLITUDE, AXIAL_PHASE, ENERGY, PITCH, RADIUS

CONFIG = Path(__file__).parents[2] / "configs" / "simulation" / "coils.yaml"


def noisy(config: SimulationConfig, electrons: int, seed: int) -> tuple[dict[str, np.ndarray], torch.Tensor]:
    columns = simulate_columns(config, sample_electrons(config, electrons, seed=seed))
    clean = torch.from_numpy(columns[schema.SERIES_I] + 1j * columns[schema.SERIES_Q]).to(torch.complex128)
    return columns, clean + noise(config, clean.shape, seed + 1)


def noise(config: SimulationConfig, shape: torch.Size, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(*shape, 2, dtype=torch.float64, generator=generator)
    return torch.view_as_complex(values) * Apparatus.from_config(config).noise_std_volt


@pytest.mark.parametrize(
    ("low_ev", "high_ev", "count"), [(18500.0, 18700.0, 5), (18600.0, 18610.0, 5), (17000.0, 20000.0, 52)]
)
def test_a_wide_window_is_no_coarser(low_ev: float, high_ev: float, count: int) -> None:
    """Carriers go with 1/(m c² + E); five energies for 3 keV would put electrons off by a quarter of an eV."""
    asked = torch.from_numpy(asked_energies_ev(low_ev, high_ev))
    assert len(asked) == count
    energy = torch.linspace(low_ev, high_ev, 501, dtype=torch.float64)
    carrier, wanted = (1e16 / (511e3 + one) for one in (asked, energy))
    found, _ = energies_at(carrier[None], asked, wanted)
    torch.testing.assert_close(found[:, 0], energy, rtol=0, atol=0.01)


@pytest.fixture(scope="module")
def bathtub() -> SimulationConfig:
    """A closed form, quick: two radii of one power have one energy, all else is as between coils."""
    config = SimulationConfig.default()
    return dataclasses.replace(config, readout=dataclasses.replace(config.readout, samples=4096))


@pytest.fixture(scope="module")
def estimator(bathtub: SimulationConfig) -> RadialEstimator:
    return RadialEstimator(MatchedFilter(Apparatus.from_config(bathtub)))


@pytest.fixture(scope="module")
def estimated(bathtub: SimulationConfig, estimator: RadialEstimator) -> tuple[dict[str, np.ndarray], Estimated]:
    columns, data = noisy(bathtub, 96, seed=11)
    return columns, radial_estimates(estimator.estimate(data))


def test_the_shortest_intervals_of_two_modes_span_both_and_of_one_do_not_see_the_other() -> None:
    far = np.random.default_rng(0).normal(size=(2, 400_000))
    far[0, 200_000:] += 10.0  # even shares: 68.27 % need both
    far[1, 360_000:] += 10.0  # nine tenths in one
    (both, _), (one, wide) = (shortest_intervals(values, np.ones_like(values)) for values in far)
    # the twin: from each mode its inner 68.27 %, on the sides that face each other
    reach = stats.norm.ppf(PROBABILITIES[0])
    assert both == pytest.approx((-reach, 10 + reach), abs=0.1)
    alone = stats.norm.interval(PROBABILITIES[0] / 0.9)[1]
    assert (one[1] - one[0]) / 2 == pytest.approx(alone, abs=0.03)
    assert (one[1] + one[0]) / 2 == pytest.approx(0.0, abs=0.1)
    assert wide[0] < -1.5
    assert wide[1] > 9.0


def test_intervals_count_weights_not_points_and_a_far_small_mode_costs_no_resolution() -> None:
    values = np.linspace(-5, 5, 200_001)
    weights = np.exp(-((values / 0.5) ** 2) / 2)
    values, weights = np.append(values, 1e4), np.append(weights, 1e-9 * weights.sum())
    narrow, wide = shortest_intervals(values, weights)
    assert (narrow[1] - narrow[0]) / 2 == pytest.approx(0.5, abs=3e-3)
    assert (wide[1] - wide[0]) / 2 == pytest.approx(1.0, abs=3e-3)


def test_between_radii_there_are_no_gaps() -> None:
    """A ridge over the radius, on radii as far apart as it is wide, has the interval of its Gaussian."""
    radius = np.arange(13.0)
    weight = np.exp(-((radius - 6.3) ** 2) / 2)[None]
    points, shares = between_radii(weight, 2 * radius[None], np.full_like(weight, 1e-3))
    (low, high), _ = shortest_intervals(points, shares)
    assert (high - low) / 2 == pytest.approx(2.0, rel=0.08)
    # on the nodes alone: from the first to the last of those that hold it
    (low, high), _ = shortest_intervals(2 * radius, weight[0])
    assert (high - low) / 2 < 1.6 or (high - low) / 2 > 2.4


def test_a_ridge_between_two_radii_keeps_its_weight() -> None:
    """Half of the weight lies along the radii, half along the pitch angles at one radius, without neighbours."""
    weight, values = np.zeros((13, 13)), np.zeros((13, 13))
    weight[0] = np.exp(-((np.arange(13.0) - 6) ** 2) / 8)
    weight[1:, 4] = weight[0].sum() / 12
    values[1:] = 10.0
    points, shares = between_radii(weight, values, np.full_like(weight, 0.1))
    assert shares[points > 5].sum() / shares.sum() == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize(("norm", "peak"), [(0.3, 0.8), (4.0, 5.0), (20.0, 21.0)])
def test_the_likelihood_ratio_integrates_the_common_phase_and_averages_the_axial_one(norm: float, peak: float) -> None:
    overlap = peak * (1 + 0.05 * np.cos(2 * np.pi * np.arange(FINE_PHASES) / FINE_PHASES))

    def ratio(phase: float, size: float) -> float:
        return float(np.exp(norm * size * (np.cos(phase) - 1)))

    shifted = [integrate.quad(ratio, -np.pi, np.pi, args=(m,), limit=200)[0] / (2 * np.pi) for m in overlap]
    largest = norm * overlap.max()
    expected = math.log(np.mean(shifted * np.exp(norm * overlap - largest))) + largest - norm**2 / 2
    inner = torch.from_numpy(norm * overlap)[None]
    assert float(log_ratio(inner, torch.full_like(inner, norm**2))) == pytest.approx(expected, abs=1e-6)


def test_the_prior_is_uniform_in_area_and_isotropic_up_to_90_degrees(estimator: RadialEstimator) -> None:
    grid = estimator.grid
    prior = grid.prior.reshape(-1, RADII)
    assert float(prior.sum()) == pytest.approx(1.0, abs=1e-12)
    torch.testing.assert_close(prior.sum(0) / grid.radius_m, (prior.sum(0) / grid.radius_m).mean().expand(RADII))
    low, high = estimator.apparatus.pitch_angles_deg
    inside = grid.pitch_deg < 89.0
    expected = (math.cos(math.radians(low)) - math.cos(math.radians(89.0))) / (
        math.cos(math.radians(low)) - math.cos(math.radians(high))
    )
    assert float(prior[inside].sum()) == pytest.approx(expected, abs=0.01)
    ring = copy.copy(grid)
    ring.apparatus = dataclasses.replace(grid.apparatus, smallest_radius_m=float(grid.radius_m[9]))
    outer = ring._prior().reshape(-1, RADII)
    assert not bool(outer[:, :9].any())  # no electron is simulated there
    torch.testing.assert_close(outer[:, 9:], prior[:, 9:] / prior[:, 9:].sum())


def test_templates_are_to_records_what_the_records_are_to_themselves(estimator: RadialEstimator) -> None:
    """The twin are inner products of whole records; templates lack the chirp, a percent of the overlap.

    The last record is so near 90° that its sidebands stand two bins from the carrier.
    """
    grid, apparatus = estimator.grid, estimator.apparatus
    rows = torch.zeros(4, 6, dtype=torch.float64)
    rows[:, ENERGY] = torch.tensor([18_540.0, 18_600.0, 18_660.0, 18_600.0])
    rows[:, PITCH] = torch.tensor([88.4, 89.0, 89.6, 89.98])
    rows[:, RADIUS], rows[:, AMPLITUDE] = torch.tensor([0.002, 0.0035, 0.005, 0.0035]), 1.0
    rows[:, AXIAL_PHASE] = 0.4
    records = apparatus.model(rows)
    found = apparatus.model.lines(rows)
    middle_s = apparatus.reception.middle_s
    carrier = (found.phase[:, 1] + 2 * found.phase[:, 2] * middle_s) / (2 * math.pi)
    energy, axial, lines = grid.templates(carrier)
    inner, power = grid.inner_products(records, carrier, axial, lines), grid.phases.powers(axial, lines)
    expected = (records.abs().square().sum(1) / apparatus.noise_std_volt**2).tolist()
    for electron, wanted in enumerate(expected):
        near = (grid.template_pitch_deg - rows[electron, PITCH]).abs() + 1e3 * (
            grid.template_radius_m - rows[electron, RADIUS]
        ).abs()
        template = int(near.argmin())
        phase = int(inner[electron, template].argmax())
        assert float(energy[electron, template]) == pytest.approx(float(rows[electron, ENERGY]), abs=0.5)
        # the nearest radius of the grid is up to 0.05 mm away, the nearest phase a tenth of a radian
        assert float(inner[electron, template, phase]) == pytest.approx(wanted, rel=0.06)
        assert float(power[electron, template, phase]) == pytest.approx(wanted, rel=0.09)
        overlap = float(inner[electron, template, phase] / power[electron, template, phase].sqrt())
        assert overlap == pytest.approx(math.sqrt(wanted), rel=0.02)


def test_the_strength_of_a_template_follows_its_energy(estimator: RadialEstimator) -> None:
    """The gain is known to no error: a percent of strength is a fifth of its error bar, and so of the radius's."""
    grid, apparatus = estimator.grid, estimator.apparatus
    template = len(grid.radius_m) * (len(grid.pitch_deg) // 2) + 20
    rows = torch.zeros(5, 6, dtype=torch.float64)
    rows[:, ENERGY] = torch.tensor([18_510.0, 18_550.0, 18_590.0, 18_640.0, 18_690.0])
    rows[:, PITCH], rows[:, RADIUS] = grid.template_pitch_deg[template], grid.template_radius_m[template]
    rows[:, AMPLITUDE] = 1.0
    found = apparatus.model.lines(rows)
    middle_s = apparatus.reception.middle_s
    energy, axial, lines = grid.templates((found.phase[:, 1] + 2 * found.phase[:, 2] * middle_s) / (2 * math.pi))
    torch.testing.assert_close(energy[:, template], rows[:, ENERGY], rtol=0, atol=0.03)
    torch.testing.assert_close(axial[:, template], (found.axial[:, 1] + 2 * found.axial[:, 2] * middle_s) / math.tau,
                               rtol=1e-5, atol=0)  # fmt: skip
    norm = lines[:, template].abs().square().sum(1).sqrt() * apparatus.noise_std_volt
    expected = (apparatus.reception.samples * found.amplitudes.abs().square().sum(1)).sqrt()
    torch.testing.assert_close(norm, expected, rtol=2e-3, atol=0)


def test_stated_intervals_hold_the_truth_as_often_as_they_say(
    estimated: tuple[dict[str, np.ndarray], Estimated],
) -> None:
    columns, found = estimated
    for name, std in found.std.items():
        pull = np.abs(found.values[name] - columns[name]) / std
        # 99.9 % of calibrated sets of this size; half or twice the width would fall outside
        low, high = stats.binom.interval(0.999, len(pull), PROBABILITIES[0])
        assert low <= (pull < 1).sum() <= high
        assert not low <= (pull < 0.5).sum() <= high
        assert not low <= (pull < 2).sum() <= high
        names = schema.interval95_names(name)
        inside = (found.extra[names[0]] <= columns[name]) & (columns[name] <= found.extra[names[1]])
        assert inside.sum() >= stats.binom.ppf(0.001, len(pull), PROBABILITIES[1])


def test_weights_of_the_two_solutions_are_those_of_the_truth(
    estimator: RadialEstimator, estimated: tuple[dict[str, np.ndarray], Estimated]
) -> None:
    columns, found = estimated
    best = float(estimator.strength.radius_m[estimator.strength.best])
    weight, inside = found.extra["inner_weight"], columns["radius_m"] < best
    expected, spread = weight.sum(), math.sqrt((weight * (1 - weight)).sum())
    assert abs(inside.sum() - expected) < 4 * spread + 1
    assert found.extra["two_solutions"].mean() > 0.5
    together = found.extra["inner_weight"] + found.extra["outer_weight"] + found.extra["noise_probability"]
    np.testing.assert_allclose(together, 1.0, atol=1e-9)


def test_a_record_of_noise_says_that_the_electron_may_be_anywhere(
    bathtub: SimulationConfig, estimator: RadialEstimator
) -> None:
    found = radial_estimates(estimator.estimate(noise(bathtub, torch.Size([8, 4096]), seed=5)))
    low, high = estimator.apparatus.energies_ev
    anywhere = PROBABILITIES[0] * (high - low) / 2
    assert np.median(found.extra["noise_probability"]) > 0.8
    assert np.median(found.std["energy_eV"]) == pytest.approx(anywhere, rel=0.25)


def test_another_noise_than_the_model_s_is_seen(bathtub: SimulationConfig, estimator: RadialEstimator) -> None:
    _, data = noisy(bathtub, 4, seed=21)
    assert not radial_estimates(estimator.estimate(data)).extra["fit_failed"].any()
    assert radial_estimates(estimator.estimate(1.3 * data)).extra["fit_failed"].all()


def test_templates_are_made_for_the_whole_range_of_radii_only_where_the_radius_matters() -> None:
    assert len(template_radii_m(Apparatus.from_config(SimulationConfig.default()))) == 1
    assert len(template_radii_m(Apparatus.from_config(SimulationConfig.from_yaml(CONFIG)))) == 3


def test_detection_needs_more_templates_only_where_a_sideband_is_as_strong_as_the_carrier(
    estimator: RadialEstimator,
) -> None:
    bank = estimator.search.coarse
    assert len(bank.axial_hz) == COARSE_TEMPLATES
    dense = coarse_bank(dataclasses.replace(bank, amplitudes=torch.full_like(bank.amplitudes, 0.65)))
    assert float(dense.axial_hz.diff().max() * bank.harmonics.max()) <= bank.reception.bin_hz


def test_a_trap_whose_axial_frequency_tells_nothing_is_refused() -> None:
    config = SimulationConfig.default()
    harmonic = dataclasses.replace(
        config, trap=dataclasses.replace(config.trap, kind="harmonic", gradient_length_m=1.0)
    )
    with pytest.raises(UserError, match="axial frequency does not fall"):
        MatchedFilter(Apparatus.from_config(harmonic))


def test_resolved_electrons_have_the_energy_that_maximum_likelihood_finds(
    bathtub: SimulationConfig, estimator: RadialEstimator
) -> None:
    columns, data = noisy(bathtub, 120, seed=31)
    chosen = torch.from_numpy(columns["sideband_snr"] >= 25)
    fitted = LikelihoodEstimator(estimator.search).estimate(data[chosen])
    posterior, _ = estimator.estimate(data[chosen]).energy_ev
    sure = ~fitted.ambiguous & ~fitted.failed
    assert sure.sum() > 5
    distance = (posterior.centre - fitted.parameters[:, ENERGY]).abs() / posterior.half_width
    assert float(distance[sure].median()) < 0.7
    ratio = posterior.half_width / fitted.covariance[:, 0, 0].sqrt()
    assert 0.8 < float(ratio[sure].median()) < 2.0


@pytest.mark.slow
def test_electrons_between_coils_are_where_the_posterior_says() -> None:
    """Needs two minutes: the field of the coils is integrated for every template."""
    config = SimulationConfig.from_yaml(CONFIG)
    columns, data = noisy(config, 96, seed=5)
    found = radial_estimates(RadialEstimator(MatchedFilter(Apparatus.from_config(config))).estimate(data))
    inside = np.abs(found.values["energy_eV"] - columns["energy_eV"]) < found.std["energy_eV"]
    for chosen in (np.full(len(inside), True), resolved_mask(columns["sideband_snr"])):
        low, high = stats.binom.interval(0.999, chosen.sum(), PROBABILITIES[0])
        assert low <= inside[chosen].sum() <= high
    resolved = resolved_mask(columns["sideband_snr"])
    assert found.extra["two_solutions"][resolved].mean() > 0.5
    assert found.extra["fit_failed"].mean() < 0.1
