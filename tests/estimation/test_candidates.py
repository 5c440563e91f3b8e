"""Where a search looks: at several lines as the carrier, at all templates where a seed is vague, at all phases."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cres.estimation.apparatus import Apparatus
from cres.estimation.fit.least_squares import fit
from cres.estimation.fit.likelihood import FREE, LikelihoodEstimator, stated_covariance
from cres.estimation.fit.posterior import _steps
from cres.estimation.fit.products import make_products
from cres.estimation.fit.seeded import Seed, SeededEstimator
from cres.estimation.search.matched_filter import MatchedFilter
from cres.estimation.search.periodogram import PADDING, Spectrum, strongest_lines_near
from cres.estimation.search.templates import FINE_PHASES, NARROW_WINDOW, TemplateProfile, _averaged, best_templates
from cres.simulation import ForwardModel, SimulationConfig
from cres.simulation.parameters import parameter_rows

CONFIG = SimulationConfig.from_yaml(Path(__file__).parents[2] / "configs" / "simulation" / "cavity_26ghz_modes.yaml")
ELECTRONS = 6


@pytest.fixture(scope="module")
def estimator() -> LikelihoodEstimator:
    return LikelihoodEstimator(MatchedFilter(Apparatus.from_config(CONFIG)))


@pytest.fixture(scope="module")
def electrons() -> torch.Tensor:
    energy = torch.linspace(18_540, 18_660, ELECTRONS, dtype=torch.float64)
    pitch = torch.linspace(88.05, 88.2, ELECTRONS, dtype=torch.float64)
    return parameter_rows(energy, pitch, 3.0e-3, start_phase_rad=0.3, axial_phase_rad=0.8, amplitude=1.0)


@pytest.fixture(scope="module")
def weak_carriers(electrons: torch.Tensor) -> torch.Tensor:
    """Records in which noise has taken half of the carrier away, as it may: a sideband is the strongest line."""
    records = ForwardModel(CONFIG)(electrons)
    lines = ForwardModel(CONFIG).lines(electrons)
    time_s = torch.arange(records.shape[1], dtype=torch.float64) / CONFIG.readout.sampling_rate_hz
    start, linear, square = lines.phase[:, :, None].unbind(1)
    carrier = lines.amplitudes[:, lines.harmonics == 0]
    tone = carrier * torch.exp(1j * (start + (linear + square * time_s) * time_s))
    assert float((records - tone).abs().square().mean()) < float(records.abs().square().mean())
    return records - 0.55 * tone


def _at_middle(estimator: LikelihoodEstimator, electrons: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return estimator.apparatus.model.lines(electrons).frequencies_hz(estimator.apparatus.reception.middle_s)


def seeds(electrons: torch.Tensor, axial_reach_deg: float) -> Seed:
    energy, pitch = electrons[:, 0].numpy(), electrons[:, 1].numpy()
    one = np.ones(len(energy))
    return Seed(energy, 20 * one, 200 * one, pitch, 0.1 * one, axial_reach_deg * one)


def test_a_carrier_that_is_not_the_strongest_line_is_found(estimator, electrons, weak_carriers) -> None:  # type: ignore[no-untyped-def]
    region = SeededEstimator(estimator)._region(seeds(electrons, 1.0))
    searched = estimator.search.within(weak_carriers, region)
    carrier, axial = _at_middle(estimator, electrons)
    first = searched.carrier_hz[:, 0]
    bin_hz = estimator.apparatus.reception.bin_hz
    assert bool(((first - carrier).abs() > 10 * bin_hz).any()), "the strongest line is the carrier: nothing is tested"
    best = searched.statistic.argmax(1, keepdim=True)
    assert float((searched.carrier_hz.gather(1, best)[:, 0] - carrier).abs().max()) < 0.5 * bin_hz
    share = (searched.weights * searched.near(carrier, axial)).sum(1)
    assert float(share.min()) > 0.99
    energy = searched.energy_ev.gather(1, best)[:, 0]
    assert float((energy - electrons[:, 0]).abs().max()) < 2.0


def test_the_full_search_tries_the_same_lines(estimator, electrons, weak_carriers) -> None:  # type: ignore[no-untyped-def]
    found = estimator.search(weak_carriers)
    searched = estimator.search.around(weak_carriers, found)
    templates = len(estimator.fine.axial_hz)
    torch.testing.assert_close(searched.statistic[:, :templates], found.templates.statistic)
    carrier, axial = _at_middle(estimator, electrons)
    assert float((searched.weights * searched.near(carrier, axial)).sum(1).min()) > 0.99
    # the line that was found is not searched twice; of some electrons no other lies in the band of carriers
    sought = searched.statistic.isfinite()
    tried = [carriers[finite].unique() for carriers, finite in zip(searched.carrier_hz, sought, strict=True)]
    assert max(len(carriers) for carriers in tried) > 1
    apart = torch.cat([carriers.diff() for carriers in tried])
    assert float(apart.min()) > estimator.apparatus.reception.bin_hz


def test_a_vague_seed_is_searched_everywhere(estimator) -> None:  # type: ignore[no-untyped-def]
    bank = estimator.fine
    step = float(bank.axial_hz[1] - bank.axial_hz[0])
    low = torch.tensor([3.0e6, 3.0e6], dtype=torch.float64)
    window = bank.window(low, low + torch.tensor([40 * step, (NARROW_WINDOW + 1) * step], dtype=torch.float64))
    narrow, wide = window[0][window[0] >= 0], window[1]
    assert wide.tolist() == list(range(len(bank.axial_hz)))
    assert len(narrow) <= NARROW_WINDOW
    assert float(bank.axial_hz[narrow[0]]) < 3.0e6 < 3.0e6 + 40 * step < float(bank.axial_hz[narrow[-1]])


@given(st.integers(0, 10_000))
def test_the_likelihood_is_averaged_over_the_phase(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    orders = torch.arange(FINE_PHASES // 2, dtype=torch.float64)
    coefficients = torch.randn(len(orders), 2, dtype=torch.float64, generator=generator) * 3 / (1 + orders[:, None])

    def height(phase: torch.Tensor) -> torch.Tensor:
        turns = orders[:, None] * phase
        return (coefficients[:, :1] * turns.cos() + coefficients[:, 1:] * turns.sin()).sum(0)

    tried = torch.arange(FINE_PHASES, dtype=torch.float64) * 2 * math.pi / FINE_PHASES
    dense = torch.arange(4096, dtype=torch.float64) * 2 * math.pi / 4096
    wanted = math.log(float(height(dense).exp().mean()))
    assert float(_averaged(height(tried)[None, None])) == pytest.approx(wanted, abs=2e-3)


def test_a_template_of_strong_sidebands_pays_for_the_phase_that_it_chose(estimator, electrons) -> None:  # type: ignore[no-untyped-def]
    # the best of many phases fits noise best where many lines turn: what is averaged lies further below it there
    noise = torch.randn(4, 8192, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(8))
    record = ForwardModel(CONFIG)(electrons[:1]) + torch.view_as_complex(noise * estimator.apparatus.noise_std_volt)
    found = estimator.search(record).templates
    lost = found.statistic - found.evidence
    assert float(lost.min()) > 0
    best = found.statistic.argmax(1)
    assert bool((lost.gather(1, best[:, None])[:, 0] > lost.median(1).values).all())
    cosine = torch.cos(torch.deg2rad(found.bank.pitch_angle_deg[len(found.bank.energies_ev) // 2]))
    share = torch.gradient(cosine)[0].abs() * found.evidence.exp()
    torch.testing.assert_close(found.weights, share / share.sum(1, keepdim=True))


def test_a_seed_that_is_sure_of_a_wrong_place_is_found_out(estimator, electrons) -> None:  # type: ignore[no-untyped-def]
    noise = torch.randn(2, 8192, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    records = ForwardModel(CONFIG)(electrons[:2]) + torch.view_as_complex(noise * estimator.apparatus.noise_std_volt)
    wrong = electrons[:2].clone()
    wrong[:, 0] += 40.0
    wrong[:, 1] += 1.2
    one = np.ones(2)
    sure = Seed(wrong[:, 0].numpy(), 0.1 * one, 0.5 * one, wrong[:, 1].numpy(), 0.002 * one, 0.01 * one)
    found, fell_back = SeededEstimator(estimator).estimate(records, sure)
    assert not fell_back.any()
    assert float((found.parameters[:, 0] - electrons[:2, 0]).abs().max()) < 0.5
    # what both searches have spent
    assert bool((found.evaluations > estimator.estimate(records).evaluations).all())
    # where nothing is anywhere the network's answer stands
    series = torch.view_as_complex(noise * estimator.apparatus.noise_std_volt)
    series[:, ::7] *= 8
    _, fell_back = SeededEstimator(estimator).estimate(series, sure)
    assert fell_back.all()


def test_rows_are_taken_from_another_likelihood(estimator, electrons) -> None:  # type: ignore[no-untyped-def]
    noise = torch.randn(3, 8192, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(10))
    records = ForwardModel(CONFIG)(electrons[:3]) + torch.view_as_complex(noise * estimator.apparatus.noise_std_volt)
    every, last = estimator.estimate(records), estimator.estimate(records[2:])
    joined = every.with_rows(torch.tensor([0]), last, torch.tensor([0]))
    assert joined.parameters[0].tolist() == last.parameters[0].tolist()
    assert joined.parameters[1:].tolist() == every.parameters[1:].tolist()
    assert joined.others[1][0].tolist() == last.others[1][0].tolist()
    assert joined.evaluations.tolist() == [last.evaluations[0], *every.evaluations[1:].tolist()]


def test_stated_information_is_that_of_the_record_and_not_of_its_noise(estimator) -> None:  # type: ignore[no-untyped-def]
    """Twin: 300 times the same weak record in other noise; in the mean the information is that at the truth."""
    truth = parameter_rows(
        torch.tensor([18_600.0], dtype=torch.float64),
        89.2,
        5.7e-3,
        start_phase_rad=0.3,
        axial_phase_rad=0.8,
        amplitude=1.0,
    )
    clean = ForwardModel(CONFIG)(truth)
    noise_std = estimator.apparatus.noise_std_volt
    draws = torch.randn(300, clean.shape[1], 2, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    data = clean + noise_std * torch.view_as_complex(draws)
    products = make_products(estimator.apparatus.model, data, estimator.noise, (*FREE, "radius_m"))
    every = torch.arange(len(data))
    found = fit(products, every, truth.expand(len(data), -1).clone(), estimator.options, tie=estimator.strength)
    silent = make_products(estimator.apparatus.model, clean, estimator.noise, (*FREE, "radius_m"))
    at_truth = replace(estimator.options, steps=1)
    expected = fit(silent, every[:1], truth, at_truth, tie=estimator.strength).information[0]
    statistic = 0.5 * (data.abs().square().sum(1) / noise_std**2 - found.chi_square)
    snr = 0.5 * float(clean.abs().square().sum()) / noise_std**2
    assert 35 < snr < 50
    assert found.converged.float().mean() > 0.95
    # what χ² takes from the noise: its five units a fit, known to the root of 2 · 5 / 300
    taken = (draws.square().sum((1, 2)) - found.chi_square).mean()
    assert float(taken) == pytest.approx(len(FREE), abs=4 * math.sqrt(2 * len(FREE) / 300))
    # of the common phase it is the power itself; how the noise of these draws happens to lie along the record is known
    along = 2 * (clean.conj() * (data - clean)).real.sum(1) / noise_std**2
    stated = torch.linalg.inv(stated_covariance(found.information, statistic))
    place = FREE.index("start_phase_rad")
    means = [(information[:, place, place] - along).mean() for information in (stated, found.information)]
    corrected, plain = (float(mean / expected[place, place]) for mean in means)
    assert corrected == pytest.approx(1, abs=0.01)
    assert plain == pytest.approx(1 + 0.5 * len(FREE) / snr, abs=0.01)


def test_optima_of_two_carriers_are_neighbours_of_none() -> None:
    statistic = torch.tensor([[1.0, 5.0, 9.0, 8.0, 2.0, 7.0]], dtype=torch.float64)
    carrier = torch.tensor([[1.0, 1.0, 1.0, 2.0, 2.0, 2.0]], dtype=torch.float64)
    assert best_templates(statistic, carrier, 3, 2)[0].tolist() == [2, 3, 5]
    assert best_templates(statistic, torch.ones_like(carrier), 3, 2)[0].tolist() == [2, 5, 0]


def test_profiles_beside_each_other_keep_their_positions(estimator, electrons) -> None:  # type: ignore[no-untyped-def]
    one = estimator.search(ForwardModel(CONFIG)(electrons[:2])).templates
    both = TemplateProfile.beside_each_other([one, one])
    assert both.bank is one.bank
    for name in ("template", "carrier_hz", "statistic", "evidence", "axial_phase_rad"):
        torch.testing.assert_close(getattr(both, name), torch.cat([getattr(one, name)] * 2, 1))
    torch.testing.assert_close(both.weights[:, : len(one.bank.axial_hz)], one.weights / 2)


def test_lines_are_the_highest_within_reach_and_a_bin_apart() -> None:
    samples = 64
    time = torch.arange(samples, dtype=torch.float64) - (samples - 1) / 2
    places = torch.tensor([10.2, 14.0, -20.0, 25.0], dtype=torch.float64) / samples
    heights = torch.tensor([1.0, 3.0, 2.0, 4.0], dtype=torch.float64)
    record = (heights[:, None] * torch.exp(2j * math.pi * places[:, None] * time)).sum(0)[None]
    values = torch.fft.fft(record, PADDING * samples)
    spectrum = Spectrum(values, 1.0, samples)
    centre, reach = torch.zeros(1, dtype=torch.float64), torch.tensor([21.0 / samples], dtype=torch.float64)
    found, strength = strongest_lines_near(spectrum, centre, reach, 1.0, 3)
    # that at 25 bins lies outside, but its skirt does not
    assert found[0, 0] * samples == pytest.approx(14.0, abs=0.1)
    assert found[0, 1] * samples == pytest.approx(-20.0, abs=0.1)
    assert bool((strength[0].diff() <= 0).all())
    apart = (found[0][:, None] - found[0]).abs() + torch.eye(3)
    assert float(apart.min()) >= 1 / samples


def test_the_step_of_a_template_is_that_to_its_nearer_neighbour() -> None:
    energy = torch.tensor([[1.0, 2.0, 4.0, 100.0, 101.0]], dtype=torch.float64)
    steps = _steps(torch.stack([energy, 10 * energy], -1))
    assert steps[0, :, 0].tolist() == [1.0, 1.0, 2.0, 1.0, 1.0]
    assert steps[0, :, 1].tolist() == [10.0, 10.0, 20.0, 10.0, 10.0]
