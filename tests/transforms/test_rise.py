"""Lines that rise within a record, and the record without the rise."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cres.errors import UserError
from cres.transforms import AlignedSpectrum
from cres.transforms.rise import find_rise, rates_to_try, without_rise

RATE_HZ, SAMPLES = 100e6, 4096
BAND_HZ = (-30e6, -10e6)
DURATION_S = SAMPLES / RATE_HZ
ONE_BIN = 1 / DURATION_S**2
"""Rate at which a line rises by one bin."""


def rising(rise: float, frequency: float = -20e6, amplitude: complex = 1.0) -> torch.Tensor:
    """Return (1, samples, 1): a line with a frequency in the middle of the record."""
    since = (torch.arange(SAMPLES, dtype=torch.float64) - (SAMPLES - 1) / 2) / RATE_HZ
    return (amplitude * torch.exp(2j * math.pi * (frequency * since + rise * since**2 / 2))).reshape(1, SAMPLES, 1)


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 20), st.floats(-28e6, -12e6))
def test_the_rate_is_found_and_taken_out(bins: float, frequency: float) -> None:
    records = rising(bins * ONE_BIN, frequency)
    found = find_rise(records, RATE_HZ, BAND_HZ, rates_to_try((0.0, 20 * ONE_BIN), SAMPLES, RATE_HZ))
    assert found.item() / ONE_BIN == pytest.approx(bins, abs=0.5)
    steady = without_rise(records, torch.tensor([bins * ONE_BIN], dtype=torch.float64), RATE_HZ)
    torch.testing.assert_close(steady, rising(0.0, frequency), rtol=0, atol=1e-9)


def test_noise_outside_the_band_is_not_looked_at() -> None:
    records = rising(6 * ONE_BIN) + rising(15 * ONE_BIN, 20e6, 5.0)
    found = find_rise(records, RATE_HZ, BAND_HZ, rates_to_try((0.0, 20 * ONE_BIN), SAMPLES, RATE_HZ))
    assert found.item() / ONE_BIN == pytest.approx(6, abs=0.5)


def test_rates_are_half_a_turn_from_the_next_one_at_most() -> None:
    rates = rates_to_try((0.0, 20 * ONE_BIN), SAMPLES, RATE_HZ)
    assert (rates[0], rates[-1]) == (0, 20 * ONE_BIN)
    assert rates.diff().max() * DURATION_S**2 / 4 <= 0.5
    assert 0.94 < without_rise(rising(0.0, 0.0), rates.diff()[:1] / 2, RATE_HZ).mean().abs() ** 2 < 1
    assert len(rates_to_try((0.0, 0.1 * ONE_BIN), SAMPLES, RATE_HZ)) == 3


def test_a_range_of_too_many_rates_is_refused() -> None:
    with pytest.raises(UserError, match=r"wants 4,\d\d\d rates .* narrower range"):
        rates_to_try((0.0, 9000 * ONE_BIN), SAMPLES, RATE_HZ)


def test_sidebands_are_as_sharp_as_those_of_a_line_that_stands() -> None:
    step = RATE_HZ / SAMPLES
    parts = ((-20e6, 3.0), (-20e6 + 50 * step, 0.5), (-20e6 - 50 * step, 0.5))
    made = [sum(rising(rise * ONE_BIN, *part) for part in parts) for rise in (0.0, 9.0)]
    still, moved = (torch.view_as_real(one.squeeze(2)) for one in made)
    options = {"band_hz": BAND_HZ, "half_width_hz": 5e6, "scale_volt": 1.0}
    steady = AlignedSpectrum(RATE_HZ, rise_hz_per_s=(0.0, 20 * ONE_BIN), **options)
    plain = AlignedSpectrum(RATE_HZ, **options)
    at_line = [
        view(series).series[0, 49, :2].norm() for view, series in ((plain, still), (steady, moved), (plain, moved))
    ]
    assert at_line[1] == pytest.approx(at_line[0].item(), rel=0.02)
    assert at_line[2] < 0.5 * at_line[0]
    torch.testing.assert_close(steady.framed(moved, moved).series, steady(moved).series)


def test_a_view_without_the_rise_has_no_spectrum_to_return_to() -> None:
    view = AlignedSpectrum(RATE_HZ, band_hz=BAND_HZ, half_width_hz=5e6, rise_hz_per_s=(0.0, 20 * ONE_BIN))
    series = torch.view_as_real(rising(0.0).squeeze(2))
    with pytest.raises(UserError, match="rise_hz_per_s"):
        view.unfolded(view(series).series, series)
