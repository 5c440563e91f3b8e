"""Windows and bands: which part of a record is read, before batching."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from cres.data.windows import make_band, make_window
from cres.errors import UserError
from cres.transforms import SpectrumView


def test_random_windows_depend_on_seed_epoch_and_event_only():
    window = make_window(0, 10, 100, jitter_seed=3)
    events = np.arange(2000)
    starts = window.starts(4, events)
    np.testing.assert_array_equal(window.starts(4, events[[7, 3]]), starts[[7, 3]])
    assert (window.starts(5, events) != starts).mean() > 0.9
    assert (make_window(0, 10, 100, 4).starts(4, events) != starts).mean() > 0.9
    assert (starts.min(), starts.max()) == (0, 90)
    np.testing.assert_array_equal(make_window(5, None, 100, None).starts(0, events), 5)
    for start, length in [(0, 101), (95, 6), (-1, 5), (0, 0)]:
        with pytest.raises(UserError, match="does not fit in records of 100"):
            make_window(start, length, 100, None)


def test_a_band_keeps_tones_volts_and_the_density_of_noise():
    rate, samples, count = 400e6, 4096, 64
    band = make_band((-100e6, -50e6), samples, rate)
    narrow_rate, shift = band.rate_hz(rate), band.shift_hz(rate)
    assert narrow_rate == pytest.approx(50e6, rel=1e-3)
    frequency = -70e6
    tone = 0.3 * np.exp(2j * np.pi * frequency * np.arange(samples) / rate)
    series = np.stack([tone.real, tone.imag], axis=-1).astype(np.float32)[None]
    kept = band.select(torch.from_numpy(series))[0].numpy() @ np.array([1, 1j])
    times = np.arange(band.bins) / narrow_rate
    expected = 0.3 * np.exp(2j * np.pi * (frequency - shift) * times)
    middle = slice(band.bins // 10, -band.bins // 10)
    assert np.abs(kept - expected)[middle].max() < 0.01
    outside = np.exp(2j * np.pi * 20e6 * np.arange(samples) / rate)
    gone = band.select(torch.from_numpy(np.stack([outside.real, outside.imag], -1).astype(np.float32)[None]))
    assert gone[0, middle].abs().max() < 0.02
    noise = np.random.default_rng(1).normal(size=(count, samples, 2)).astype(np.float32)
    assert float(band.select(torch.from_numpy(noise)).var()) / narrow_rate == pytest.approx(
        noise.var() / rate, rel=0.02
    )
    with pytest.raises(UserError, match="is not within"):
        make_band((-300e6, 0.0), samples, rate)


@given(st.integers(2, 9000), st.floats(0, 1), st.floats(0, 1))
def test_a_band_holds_what_was_asked_for_and_has_a_quick_length(samples, one, other):
    rate = 400e6
    low, high = sorted((share - 0.5) * rate for share in (one, other))
    assume(low < high)
    band, step = make_band((low, high), samples, rate), rate / samples
    assert band.bins <= samples
    assert -samples / 2 <= band.first
    assert band.first + band.bins <= (samples + 1) // 2
    wanted = round(low / step), round(low / step) + max(1, round((high - low) / step))
    assert band.first <= max(wanted[0], -(samples // 2))
    assert band.first + band.bins >= min(wanted[1], (samples + 1) // 2)
    rest = band.bins
    for factor in (2, 3, 5):
        while rest % factor == 0:
            rest //= factor
    assert rest == 1 or band.bins == samples


def test_a_band_before_batching_gives_the_spectrum_of_the_whole_record():
    """Lines of the spectrum, in units of the nominal noise, are the same whichever way they were cut out."""
    rate, samples = 403e6, 4096
    series = torch.from_numpy(np.random.default_rng(2).normal(size=(3, samples, 2)).astype(np.float32))
    band = make_band((-80e6, -45e6), samples, rate)
    early = SpectrumView(band.rate_hz(rate), band_hz=None)(band.select(series)).series
    edges = (band.first * rate / samples, (band.first + band.bins - 1) * rate / samples)
    late = SpectrumView(rate, band_hz=edges)(series).series
    assert early.shape == late.shape == (3, band.bins, 2)
    torch.testing.assert_close(early, late, rtol=0, atol=1e-4 * float(late.abs().max()))
