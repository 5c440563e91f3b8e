from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tones import frequency_variance_hz2

from cres.estimation.search.peaks import CombSearch, comb_threshold, find_peaks
from cres.estimation.search.periodogram import centred_spectrum, parabolic_peak, refine_line, strongest_line

RATE, SAMPLES = 403e6, 2048
BIN = RATE / SAMPLES


def tone(frequency_hz: torch.Tensor, amplitude: float = 1.0, phase: float = 0.3) -> torch.Tensor:
    time = torch.arange(SAMPLES, dtype=torch.float64) / RATE
    return amplitude * torch.exp(1j * (2 * math.pi * frequency_hz[:, None] * time + phase))


@settings(max_examples=30, deadline=None)
@given(st.floats(-79e6, -46e6))
def test_the_frequency_of_a_clean_tone_is_found_to_a_part_of_a_bin(frequency_hz: float) -> None:
    series = tone(torch.tensor([frequency_hz], dtype=torch.float64))
    found = strongest_line(series, centred_spectrum(series, RATE), (-80e6, -45e6))
    assert abs(float(found[0]) - frequency_hz) < 1e-6 * BIN


def test_the_peak_reaches_the_bound_of_a_single_tone() -> None:
    generator = torch.Generator().manual_seed(1)
    series = tone(torch.full((800,), -60.3e6, dtype=torch.float64))
    sigma = math.sqrt(SAMPLES / (2 * 60.0))  # matched-filter SNR 60
    noise = torch.view_as_complex(torch.randn(800, SAMPLES, 2, dtype=torch.float64, generator=generator)) * sigma
    found = strongest_line(series + noise, centred_spectrum(series + noise, RATE), (-80e6, -45e6))
    bound = math.sqrt(frequency_variance_hz2(1.0, sigma, SAMPLES, RATE))
    assert float(found.std()) / bound == pytest.approx(1.0, abs=0.1)


def test_newton_steps_climb() -> None:
    frequency = torch.tensor([-60e6], dtype=torch.float64)
    series = tone(frequency)
    assert torch.allclose(refine_line(series, frequency + 0.3 * BIN, RATE), frequency, atol=1.0)


def test_the_spectrum_is_that_of_a_plain_sum() -> None:
    series = tone(torch.tensor([-60e6, 12e6], dtype=torch.float64))
    spectrum = centred_spectrum(series, RATE)
    time = (torch.arange(SAMPLES, dtype=torch.float64) - (SAMPLES - 1) / 2) / RATE
    for wanted in (-61.234e6, 12.05e6):
        nearest = round(wanted / spectrum.bin_hz) * spectrum.bin_hz
        plain = (series * torch.exp(-2j * math.pi * nearest * time)).sum(1)
        torch.testing.assert_close(spectrum.at(torch.full((2, 1), wanted, dtype=torch.float64))[:, 0], plain)


def test_a_parabola_is_found_and_edges_are_left_alone() -> None:
    x = torch.arange(9, dtype=torch.float64)
    best, offset = parabolic_peak(torch.stack([-((x - 4.3) ** 2), -x]))
    assert best.tolist() == [4, 0]
    assert offset.tolist() == pytest.approx([0.3, 0.0])


def test_the_comb_of_noise_alone_passes_its_threshold_as_often_as_stated() -> None:
    generator = torch.Generator().manual_seed(2)
    noise = torch.view_as_complex(torch.randn(600, SAMPLES, 2, dtype=torch.float64, generator=generator))
    search = CombSearch((-80e6, -45e6), 9e6)
    found = find_peaks(noise, RATE, 1.0, search)
    passed = float((found.comb_snr > comb_threshold(search, BIN, 0.1)).double().mean())
    # the padding sees between the natural bins: some more than one trial a bin
    assert 0.04 < passed < 0.3
    assert np.median(found.carrier_snr) < 10


def test_sidebands_of_simulated_electrons_give_the_axial_frequency(simulated) -> None:  # type: ignore[no-untyped-def]
    search = CombSearch((-80e6, -45e6), 9e6)
    reception = simulated.apparatus.reception
    found = find_peaks(simulated.noisy, reception.sampling_rate_hz, simulated.apparatus.noise_std_volt, search)
    error = found.axial_frequency_hz.numpy() - simulated.columns["avg_axial_frequency_Hz"]
    assert np.mean(np.abs(error[simulated.resolved]) < 10e3) > 0.97
