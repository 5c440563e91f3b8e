"""Filters against SciPy in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from cres.errors import UserError
from cres.transforms import BandSelect, ButterworthBandPass, Decimate, FrequencyShift

RATE_HZ = 403e6
BAND_HZ = (-80e6, -45e6)


def records(samples=4096, channels=2, batch=2):
    return torch.randn(batch, samples, channels, dtype=torch.float64, generator=torch.Generator().manual_seed(8))


def as_complex(series):
    return torch.complex(series[..., 0::2], series[..., 1::2]).numpy()


@pytest.mark.parametrize("order", [1, 2, 4, 6])
def test_two_sided_band_pass_equals_sosfiltfilt_away_from_the_ends(order):
    series = records()
    sos = signal.butter(order, (45e6, 80e6), "bandpass", fs=RATE_HZ, output="sos")
    expected = signal.sosfiltfilt(sos, series.numpy(), axis=1)
    out = ButterworthBandPass(RATE_HZ, (45e6, 80e6), order, two_sided=True)(series).numpy()
    np.testing.assert_allclose(out[:, 1500:-1500], expected[:, 1500:-1500], atol=1e-9)


@pytest.mark.parametrize("order", [1, 3, 4])
@pytest.mark.parametrize("band_hz", [BAND_HZ, (-10e6, 30e6)])
def test_one_sided_band_pass_equals_a_moved_low_pass(order, band_hz):
    series = records()
    middle = (band_hz[0] + band_hz[1]) / 2
    turn = np.exp(2j * np.pi * middle / RATE_HZ * np.arange(4096))[:, None]
    sos = signal.butter(order, (band_hz[1] - band_hz[0]) / 2, "lowpass", fs=RATE_HZ, output="sos")
    moved = as_complex(series) / turn
    low = signal.sosfiltfilt(sos, moved.real, axis=1) + 1j * signal.sosfiltfilt(sos, moved.imag, axis=1)
    out = as_complex(ButterworthBandPass(RATE_HZ, band_hz, order)(series))
    np.testing.assert_allclose(out[:, 1500:-1500], (low * turn)[:, 1500:-1500], atol=1e-9)


@pytest.mark.parametrize("two_sided", [False, True])
def test_response_is_the_square_of_the_digital_filter(two_sided):
    filtered = ButterworthBandPass(RATE_HZ, (45e6, 80e6), 4, two_sided)
    frequency = np.linspace(-200e6, 200e6, 401)
    if two_sided:
        sos = signal.butter(4, (45e6, 80e6), "bandpass", fs=RATE_HZ, output="sos")
        _, h = signal.sosfreqz(sos, worN=frequency, fs=RATE_HZ)
    else:
        sos = signal.butter(4, 17.5e6, "lowpass", fs=RATE_HZ, output="sos")
        _, h = signal.sosfreqz(sos, worN=frequency - 62.5e6, fs=RATE_HZ)
    np.testing.assert_allclose(filtered.response(torch.from_numpy(frequency)).numpy(), np.abs(h) ** 2, atol=1e-10)
    edges = filtered.response(torch.tensor([45e6, 80e6], dtype=torch.float64))
    np.testing.assert_allclose(edges.numpy(), 0.5, rtol=1e-9)


def test_band_pass_does_not_wrap_around_the_ends():
    """A pulse near the end must not appear at the beginning."""
    series = torch.zeros(1, 4096, 2, dtype=torch.float64)
    series[:, -3] = 1.0
    out = ButterworthBandPass(RATE_HZ, BAND_HZ)(series)
    assert out[:, :2000].abs().max() < 1e-7
    assert out[:, -30:].abs().max() > 0.01


@pytest.mark.parametrize("factor", [1, 2, 5, 8])
@pytest.mark.parametrize("samples", [1, 37, 512])
def test_decimation_equals_resample_poly(factor, samples):
    series = records(samples, channels=4)
    expected = signal.resample_poly(series.numpy(), 1, factor, axis=1)
    np.testing.assert_allclose(Decimate(factor)(series).numpy(), expected, atol=1e-12)


def test_decimation_passes_seven_tenths_of_the_new_band():
    n = np.arange(8000)
    for fraction in (0.0, 0.35, 0.7):
        tone = np.exp(2j * np.pi * fraction / 16 * n)
        series = torch.from_numpy(np.stack([tone.real, tone.imag], -1))[None]
        out = np.abs(as_complex(Decimate(8)(series)))[0, 50:-50]
        np.testing.assert_allclose(out, 1.0, atol=0.01)


@settings(deadline=None, max_examples=25)
@given(st.floats(-200e6, 200e6), st.integers(2, 300))
def test_frequency_shift_equals_numpy_and_is_invertible(shift_hz, samples):
    series = records(samples)
    turn = np.exp(2j * np.pi * shift_hz / RATE_HZ * np.arange(samples))[:, None]
    moved = FrequencyShift(RATE_HZ, shift_hz)(series)
    np.testing.assert_allclose(as_complex(moved), as_complex(series) * turn, atol=1e-9)
    torch.testing.assert_close(FrequencyShift(RATE_HZ, -shift_hz)(moved), series)


def test_phase_of_a_long_record_is_exact():
    """4 million samples (10 ms) at −62.5 MHz: 600 000 turns, where float32 would be off by a turn's hundredths."""
    series = torch.zeros(1, 1 << 22, 2)
    series[..., 0] = 1.0
    out = as_complex(FrequencyShift(RATE_HZ, -62.5e6)(series)[:, -1:].double())[0, 0, 0]
    turns = -62.5e6 * ((1 << 22) - 1) / RATE_HZ
    assert abs(out - np.exp(2j * np.pi * (turns % 1.0))) < 1e-6


def test_band_selection_of_the_full_band_is_the_identity():
    series = records(500)
    torch.testing.assert_close(BandSelect(RATE_HZ, (-RATE_HZ / 2, RATE_HZ / 2))(series), series)


@settings(deadline=None, max_examples=25)
@given(st.integers(100, 700), st.integers(-30, 30))
def test_band_selection_mixes_and_decimates_tones(samples, offset):
    """A tone k bins from the output centre keeps phase and frequency; amplitude grows by √(N/M)."""
    select = BandSelect(RATE_HZ, BAND_HZ)
    count = round(select.output_rate_hz(samples) / RATE_HZ * samples)
    k = offset % count - count // 2
    frequency = select.output_centre_hz(samples) + k * RATE_HZ / samples
    tone = np.exp(1j * (0.4 + 2 * np.pi * frequency / RATE_HZ * np.arange(samples)))
    out = as_complex(select(torch.from_numpy(np.stack([tone.real, tone.imag], -1))[None]))[0, :, 0]
    expected = np.sqrt(samples / count) * np.exp(1j * (0.4 + 2 * np.pi * k * np.arange(count) / count))
    np.testing.assert_allclose(out, expected, atol=1e-7)


FILTERS = {
    "one-sided": lambda: ButterworthBandPass(RATE_HZ, BAND_HZ),
    "two-sided": lambda: ButterworthBandPass(RATE_HZ, (45e6, 80e6), two_sided=True),
    "decimate": lambda: Decimate(3),
    "select": lambda: BandSelect(RATE_HZ, BAND_HZ),
    "shift": lambda: FrequencyShift(RATE_HZ, 62.5e6),
}


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_filters_under_autocast_and_in_half_precision(name, dtype):
    series = records(257, channels=4).to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out = FILTERS[name]()(series)
    expected = FILTERS[name]()(series.detach().float())
    # only the frequency shift answers in the record's own precision
    precision = 4 * torch.finfo(dtype).eps if name == "shift" else 1e-6
    torch.testing.assert_close(out.detach().float(), expected, rtol=precision, atol=precision)
    out.float().square().sum().backward()
    assert torch.isfinite(series.grad).all()
    assert series.grad.abs().sum() > 0


@pytest.mark.parametrize("name", FILTERS)
def test_gradients_are_exact(name):
    series = records(40).requires_grad_()
    assert torch.autograd.gradcheck(FILTERS[name](), series)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ButterworthBandPass(RATE_HZ, (-45e6, -80e6)), "low before high"),
        (lambda: ButterworthBandPass(RATE_HZ, BAND_HZ, two_sided=True), "two-sided"),
        (lambda: Decimate(0), "1 or more"),
    ],
)
def test_impossible_settings_are_refused(call, message):
    with pytest.raises(UserError, match=message):
        call()


def test_casting_the_module_changes_nothing():
    series = records()
    torch.testing.assert_close(Decimate(4).to(torch.bfloat16)(series), Decimate(4)(series), rtol=0, atol=0)
