"""Electrons that bounce slowly, near 90°: templates whose lines overlap, and error bars that hold."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from cres import schema
from cres.estimation.apparatus import Apparatus
from cres.estimation.fit.likelihood import Likelihood, LikelihoodEstimator
from cres.estimation.methods.model import likelihood_estimates
from cres.estimation.search.building import coarse_bank
from cres.estimation.search.matched_filter import MatchedFilter
from cres.estimation.search.periodogram import centred_spectrum
from cres.estimation.search.templates import FINE_PHASES, SLOW_BINS
from cres.simulation import PARAMETERS, SimulationConfig, sample_electrons, simulate_columns

DEFAULT = SimulationConfig.default()
ENSEMBLE = dataclasses.replace(DEFAULT.ensemble, pitch_angle_deg=(89.95, 90.0), radius_m=(2e-3, 5e-3))
ELECTRONS = 40


@pytest.fixture(scope="module")
def search() -> MatchedFilter:
    return MatchedFilter(Apparatus.from_config(DEFAULT))


@pytest.fixture(scope="module")
def records() -> tuple[np.ndarray, torch.Tensor]:
    """True parameters (electron, 6) and noiseless records."""
    config = dataclasses.replace(DEFAULT, ensemble=ENSEMBLE)
    electrons = sample_electrons(config, ELECTRONS, seed=90)
    columns = simulate_columns(config, electrons)
    series = torch.from_numpy(columns[schema.SERIES_I] + 1j * columns[schema.SERIES_Q]).to(torch.complex128)
    return np.stack([getattr(electrons, name) for name in PARAMETERS], 1), series


def test_values_between_those_of_a_spectrum_are_those_of_the_record() -> None:
    generator = torch.Generator().manual_seed(1)
    series = torch.view_as_complex(torch.randn(3, 512, 2, dtype=torch.float64, generator=generator))
    spectrum = centred_spectrum(series, 1.0)
    row = torch.tensor([2, 0, 2])
    frequency = torch.tensor([[0.1234, -0.49], [0.0, 0.25], [0.3001, -0.2]], dtype=torch.float64)
    time = torch.arange(512, dtype=torch.float64) - 255.5
    wanted = (series[row][:, None] * torch.exp(-2j * math.pi * frequency[:, :, None] * time)).sum(2)
    found = spectrum.between(row, frequency)
    assert float((found - wanted).abs().max()) < 1e-4 * float(spectrum.values.abs().max())


def test_the_norm_of_overlapping_lines_is_that_of_their_sum(search: MatchedFilter) -> None:
    bank, reception = search.fine, search.apparatus.reception
    time = torch.arange(reception.samples, dtype=torch.float64) / reception.sampling_rate_hz - reception.middle_s
    for template in (0, 3, 9, 25, 60, 400):
        for phase in (0, 5):
            turns = 2 * math.pi * bank.axial_hz[template] * time + phase * math.pi / FINE_PHASES
            lines = bank.amplitudes[2, template][:, None] * torch.exp(1j * bank.harmonics[:, None] * turns)
            wanted = float(lines.sum(0).abs().square().mean())
            assert float(bank.norms[2, template, phase]) == pytest.approx(wanted, rel=1e-4)
    assert float((bank.norms[:, :10] - 1).abs().max()) > 0.2
    assert float((bank.norms[:, 400:] - 1).abs().max()) < 0.02


def test_templates_reach_to_ninety_degrees(search: MatchedFilter, records: tuple[np.ndarray, torch.Tensor]) -> None:
    truth, series = records
    noise = search.apparatus.noise_std_volt
    found = search(series)
    share = found.templates.statistic.amax(1) / (series.abs().square().sum(1) / (2 * noise**2))
    assert float(share.min()) > 0.9
    assert float(share.max()) < 1.002
    best = found.templates.statistic.argmax(1)
    pitch = search.fine.pitch_angle_deg[2, found.templates.template[torch.arange(len(best)), best]].numpy()
    assert np.abs(pitch - truth[:, 1]).max() < 3e-3


def test_a_detection_does_not_depend_on_slow_bounces(search: MatchedFilter) -> None:
    assert float(coarse_bank(search.fine).axial_hz[0]) >= SLOW_BINS * search.apparatus.reception.bin_hz


def test_pitch_error_bars_hold_near_ninety_degrees(
    search: MatchedFilter, records: tuple[np.ndarray, torch.Tensor]
) -> None:
    truth, series = records
    generator = torch.Generator().manual_seed(90)
    noise = torch.randn(*series.shape, 2, dtype=torch.float64, generator=generator) * search.apparatus.noise_std_volt
    found = likelihood_estimates(LikelihoodEstimator(search).estimate(series + torch.view_as_complex(noise)))
    flagged = found.extra["ambiguous"] | found.extra["fit_failed"]
    assert flagged.mean() < 0.3
    for column, name in enumerate((schema.ENERGY, schema.PITCH_ANGLE)):
        pull = np.abs(found.values[name] - truth[:, column]) / found.std[name]
        assert np.all(np.isfinite(pull))
        assert pull[~flagged].max() < 5
        assert 0.5 < (pull < 1).mean() < 0.85


def test_a_fit_without_curvature_takes_the_error_bars_of_the_templates() -> None:
    one = torch.ones(2, dtype=torch.float64)
    parameters = torch.tensor([[18_600.0, 89.9995, 3e-3, 0.0, 0.0, 1.0]] * 2, dtype=torch.float64)
    covariance = torch.eye(5, dtype=torch.float64).repeat(2, 1, 1) * 1e-6
    covariance[1, 1, 1] = -1e-9
    yes = torch.ones(2, dtype=torch.bool)
    others = (torch.zeros(2, 1), torch.zeros(2, 1, 2), torch.zeros(2, 1, 2, 2))
    found = likelihood_estimates(
        Likelihood(parameters, covariance, one, one, one, 0.05 * one, 2e-3 * one, others, one, yes, one)
    )
    # both are so near 90° that the templates' pitch angle counts, the second has no other
    assert found.std[schema.PITCH_ANGLE].tolist() == pytest.approx([2e-3, 2e-3])
    assert found.std[schema.ENERGY].tolist() == pytest.approx([1e-3, 0.05])
    assert found.extra["fit_failed"].tolist() == [False, True]
    assert found.covariance is not None
    assert np.diagonal(found.covariance[1]).tolist() == pytest.approx([0.05**2, 2e-3**2])
