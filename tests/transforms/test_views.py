"""Views and spectra against NumPy twins in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from cres.errors import UserError
from cres.transforms import (
    ButterworthBandPass,
    Decimate,
    FilteredView,
    FrequencyShift,
    SpectrumView,
    TimeView,
    band_bins,
    band_frequencies_hz,
    channel_std_volt,
    crop_band,
    from_complex,
    to_complex,
    window,
)
from cres.transforms.spectrum import fast_length

RATE_HZ = 403e6
BAND_HZ = (-80e6, -45e6)


def records(batch=3, samples=512, channels=2, dtype=torch.float64):
    return torch.randn(batch, samples, channels, dtype=dtype, generator=torch.Generator().manual_seed(4))


def numpy_band(values, band_hz, rate_hz=RATE_HZ, weights=1.0):
    """Twin: shifted orthonormal FFT, boolean band. values (batch, time) complex."""
    frequency = np.fft.fftshift(np.fft.fftfreq(values.shape[1], 1 / rate_hz))
    spectrum = np.fft.fftshift(np.fft.fft(values * weights, axis=1), axes=1) / np.sqrt(values.shape[1])
    inside = (frequency >= band_hz[0] - 1.0) & (frequency <= band_hz[1] + 1.0)
    return frequency[inside], spectrum[:, inside]


def complex_twin(series):
    return series[..., 0].numpy() + 1j * series[..., 1].numpy()


@pytest.mark.parametrize("name", ["hann", "hamming", "blackman", "blackmanharris", "boxcar"])
def test_windows_equal_scipy_up_to_their_norm(name):
    ours = {"blackmanharris": "blackman_harris", "boxcar": "rectangular"}.get(name, name)
    expected = signal.get_window(name, 128, fftbins=True)
    values = window(ours, 128).numpy()
    np.testing.assert_allclose(values, expected / np.sqrt(np.mean(expected**2)), atol=1e-12)
    assert np.sum(values**2) == pytest.approx(128)


@pytest.mark.parametrize("band_hz", [BAND_HZ, (-20e6, 30e6), (10e6, 100e6), (-201.5e6, 201.5e6)])
@pytest.mark.parametrize("window_name", ["rectangular", "hann"])
def test_complex_spectrum_equals_numpy(band_hz, window_name):
    series = records(samples=500)
    frequency, expected = numpy_band(complex_twin(series), band_hz, weights=window(window_name, 500).numpy())
    view = SpectrumView(RATE_HZ, band_hz, window=window_name, scale_volt=2.0)(series)
    np.testing.assert_allclose(complex_twin(view.series), expected / 2.0, atol=1e-12)
    np.testing.assert_allclose(band_frequencies_hz(500, RATE_HZ, band_hz).numpy(), frequency, rtol=1e-12, atol=1e-3)
    assert view.scalars.shape == (3, 0)


@pytest.mark.parametrize("form", ["magnitude", "log_power"])
def test_real_forms_equal_numpy(form):
    series = records()
    _, spectrum = numpy_band(complex_twin(series), BAND_HZ)
    expected = np.abs(spectrum) if form == "magnitude" else np.log(np.abs(spectrum) ** 2)
    values = SpectrumView(RATE_HZ, BAND_HZ, form=form, scale_volt=1.0)(series).series
    np.testing.assert_allclose(values[..., 0].numpy(), expected, rtol=1e-6, atol=1e-6)


@settings(deadline=None, max_examples=50)
@given(
    length=st.integers(1, 300),
    low=st.floats(-0.5, 0.49),
    width=st.floats(0.005, 1.0),
)
def test_band_crop_equals_a_boolean_mask(length, low, width):
    high = min(low + width, 0.5)
    frequency = np.arange(-(length // 2) - 1, length // 2 + 2) / length
    inside = frequency[(frequency >= low - 1e-12) & (frequency <= high + 1e-12)]
    if not len(inside):
        with pytest.raises(UserError, match="no frequency bin"):
            band_bins(length, 1.0, (low, high))
        return
    values = torch.arange(length, dtype=torch.float64).to(torch.complex128)[None, :, None]
    cropped = crop_band(values, 1.0, (low, high))[0, :, 0].real.numpy()
    expected = np.round(inside * length).astype(int) % length
    np.testing.assert_array_equal(cropped, expected[:length])


def test_time_view_is_the_inverse_transform_of_the_band():
    """The band's middle is mixed to zero; a tone of the band appears at the matching bin of the shorter record."""
    samples = 1000
    first, count = band_bins(samples, RATE_HZ, BAND_HZ)
    t = np.arange(samples)
    tone = 0.3 * np.exp(2j * np.pi * (first + 5) * t / samples)
    series = torch.from_numpy(np.stack([tone.real, tone.imag], -1))[None]
    values = complex_twin(TimeView(RATE_HZ, BAND_HZ, scale_volt=1.0)(series).series)[0]
    expected = 0.3 * np.sqrt(samples / count) * np.exp(2j * np.pi * (5 - count // 2) * np.arange(count) / count)
    np.testing.assert_allclose(values, expected, atol=1e-12)


def test_whole_record_without_band_is_only_scaled():
    series = records(channels=4)
    view = TimeView(RATE_HZ, None, input_channels=4)
    torch.testing.assert_close(view(series).series, series / channel_std_volt(2.2e-13, RATE_HZ))
    assert view.channels == 4


@pytest.mark.parametrize("make", [lambda: TimeView(RATE_HZ), lambda: SpectrumView(RATE_HZ, window="hann")])
def test_nominal_noise_has_unit_variance_in_every_view(make):
    noise = records(64, 4096, dtype=torch.float32) * channel_std_volt(2.2e-13, RATE_HZ)
    values = make()(noise).series
    # 2 · 64 · 356 numbers; neighbours are correlated a little by the window
    assert float(values.square().mean()) == pytest.approx(1.0, abs=0.04)


VIEWS = {
    "time": lambda c: TimeView(RATE_HZ, input_channels=c),
    "whole time": lambda c: TimeView(RATE_HZ, None, input_channels=c),
    "complex": lambda c: SpectrumView(RATE_HZ, input_channels=c),
    "magnitude": lambda c: SpectrumView(RATE_HZ, form="magnitude", input_channels=c),
    "filtered": lambda c: FilteredView(
        [ButterworthBandPass(RATE_HZ, BAND_HZ), FrequencyShift(RATE_HZ, 62.5e6), Decimate(4)],
        SpectrumView(RATE_HZ / 4, (-20e6, 20e6), input_channels=c),
    ),
    "log power": lambda c: SpectrumView(RATE_HZ, form="log_power", window="blackman", input_channels=c),
}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("channels", [2, 4])
def test_views_keep_their_contract_under_autocast(name, dtype, channels):
    """Odd lengths, half-precision input, bf16 autocast: same result as float32 without it, finite gradients."""
    view = VIEWS[name](channels)
    series = records(2, 333, channels, torch.float32).to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        values = view(series)
    assert values.series.shape[2] == view.channels
    assert values.scalars.shape == (2, view.scalar_count)
    torch.testing.assert_close(values.series, view(series.detach().float()).series)
    values.series.square().sum().backward()
    assert torch.isfinite(series.grad).all()
    assert series.grad.abs().sum() > 0


def test_filters_come_before_the_view():
    series = records()
    band_pass, view = ButterworthBandPass(RATE_HZ, BAND_HZ), SpectrumView(RATE_HZ)
    torch.testing.assert_close(FilteredView([band_pass], view)(series).series, view(band_pass(series)).series)


def test_gradient_of_a_zero_record_is_finite():
    series = torch.zeros(1, 64, 2, requires_grad=True)
    SpectrumView(RATE_HZ, form="magnitude")(series).series.sum().backward()
    assert torch.isfinite(series.grad).all()


def test_complex_conversion_is_invertible():
    series = records(channels=6)
    torch.testing.assert_close(from_complex(to_complex(series)), series)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SpectrumView(RATE_HZ, (-300e6, 0.0))(records()), "half the sampling rate"),
        (lambda: SpectrumView(RATE_HZ, (-1e3, -0.5e3))(records()), "no frequency bin"),
        (lambda: SpectrumView(RATE_HZ)(records(channels=3)), "even number"),
        (lambda: TimeView(RATE_HZ, scale_volt=0.0), "positive"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(UserError, match=message):
        call()


@settings(deadline=None)
@given(st.integers(1, 20000))
def test_fast_length_is_the_next_product_of_small_primes(length):
    def is_fast(n):
        for prime in (2, 3, 5):
            while n % prime == 0:
                n //= prime
        return n == 1

    found = fast_length(length)
    assert found >= length
    assert is_fast(found)
    assert not any(is_fast(n) for n in range(length, found))
