"""STFT and Q-transform against explicit sums in float64 and SciPy."""

import math

import numpy as np
import pytest
import torch
from scipy import signal

from cres.errors import UserError
from cres.transforms import STFT, QTransform, SpectrogramView, channel_std_volt, window

RATE_HZ = 403e6
BAND_HZ = (-80e6, -45e6)


def records(samples=1024, channels=2, batch=2):
    return torch.randn(batch, samples, channels, dtype=torch.float64, generator=torch.Generator().manual_seed(8))


def as_complex(series):
    return torch.complex(series[..., 0::2], series[..., 1::2]).numpy()


def chirp(samples, start_hz, rate_hz_per_s):
    t = np.arange(samples) / RATE_HZ
    values = np.exp(2j * np.pi * (start_hz * t + rate_hz_per_s * t**2 / 2))
    return torch.from_numpy(np.stack([values.real, values.imag], -1))[None]


def q_transform_twin(values, frequencies_hz, q, times):
    """The sum of the docstring, tile by tile. values (samples,) complex; returns (times, frequencies)."""
    samples = len(values)
    spectrum = np.fft.fft(values) / np.sqrt(samples)
    step = RATE_HZ / samples
    tiles = np.zeros((times, len(frequencies_hz)), dtype=complex)
    for j, f in enumerate(frequencies_hz):
        middle = round(f / step)
        total, norm = np.zeros(times, dtype=complex), 0.0
        for k in range(middle - samples // 2, middle + samples // 2):
            x = (k * step - f) * q / (math.sqrt(11) * abs(f))
            if abs(x) >= 1:
                continue
            weight = (1 - x**2) ** 2
            norm += weight**2
            total += weight * spectrum[k % samples] * np.exp(2j * np.pi * (k - middle) * np.arange(times) / times)
        tiles[:, j] = total / math.sqrt(norm)
    return tiles


@pytest.mark.parametrize("band_hz", [BAND_HZ, (20e6, 150e6)])
@pytest.mark.parametrize(("q", "times"), [(20.0, 64), (60.0, 5), (60.0, 128), (5.0, 200)])
def test_q_transform_equals_the_explicit_sum(band_hz, q, times):
    series = records(channels=4)
    transform = QTransform(RATE_HZ, band_hz, q, frequencies=7, times=times)
    out = transform(series).numpy()
    values = as_complex(series)
    for event in range(2):
        for port in range(2):
            expected = q_transform_twin(values[event, :, port], transform.frequency_hz.numpy(), q, times)
            np.testing.assert_allclose(out[event, :, :, port], expected, atol=1e-10)


# every eighth of 64 tiles at 64 and at 100 Hz, over the mean of all
GWPY_ENERGY = (
    (0.3262396216, 1.445509187, 4.432076033, 0.6878561621, 0.01799760253, 0.04607968953, 0.04927647929, 0.05852719914),
    (
        0.8809703154,
        7.885366062e-07,
        7.555902619e-07,
        6.986838824e-06,
        0.0002149533,
        0.02055470398,
        1.103345194,
        4.9054808,
    ),
)


def test_q_transform_equals_gwpy():
    """Energies by gwpy 4.1.0 (QTile(q=20, f, 1 s, 512 Hz).transform, norm=False).

    gwpy reads one FFT bin above the tile; the spectrum that it got was moved along by one bin.
    """
    n = np.arange(512)
    analytic = signal.hilbert(np.cos(2 * np.pi * (0.1 * n + 1e-4 * n**2)) + 0.3 * np.sin(0.7 * n))
    series = torch.from_numpy(np.stack([analytic.real, analytic.imag], -1))[None]
    energy = QTransform(512.0, (64.0, 100.0), q=20.0, frequencies=2, times=64)(series).abs().square()[0, :, :, 0]
    energy = (energy / energy.mean(dim=0)).numpy()
    np.testing.assert_allclose(energy[::8].T, GWPY_ENERGY, rtol=1e-6)


def test_q_transform_frequencies_are_logarithmic():
    frequency = QTransform(RATE_HZ, BAND_HZ, frequencies=9).frequency_hz.numpy()
    np.testing.assert_allclose(frequency, -np.geomspace(80e6, 45e6, 9), rtol=1e-12)


def test_q_transform_of_white_noise_is_flat_and_of_unit_variance():
    tiles = QTransform(RATE_HZ, BAND_HZ, q=50.0, frequencies=8, times=64)(records(2048, batch=200)).numpy()
    power = (np.abs(tiles) ** 2 / 2).mean(axis=(0, 1, 3))
    # 200 events of at least 10 independent tiles each
    np.testing.assert_allclose(power, 1.0, atol=5 / np.sqrt(2000))


def test_q_transform_follows_a_chirp():
    """The ridge of a fast chirp, −75 to −50 MHz over the record, to a third of a tile's width."""
    samples, times = 8192, 32
    rate = 25e6 / (samples / RATE_HZ)
    transform = QTransform(RATE_HZ, BAND_HZ, q=60.0, frequencies=128, times=times)
    tiles = transform(chirp(samples, -75e6, rate)).abs()[0, :, :, 0]
    ridge = transform.frequency_hz[tiles.argmax(dim=1)].numpy()
    expected = -75e6 + rate * np.arange(times) / times * samples / RATE_HZ
    inside = slice(4, -3)
    np.testing.assert_allclose(ridge[inside], expected[inside], atol=0.5e6)


@pytest.mark.parametrize("name", ["hann", "blackman"])
@pytest.mark.parametrize("hop", [16, 50, 64])
def test_stft_equals_scipy(name, hop):
    series = records(1000, channels=4)
    transform = STFT(RATE_HZ, BAND_HZ, length=128, hop=hop, window=name)
    out = transform(series).numpy()
    weights = window(name, 128).numpy()
    values = np.moveaxis(as_complex(series), 2, 1)
    frequency, _, tiles = signal.stft(
        values, RATE_HZ, weights, 128, 128 - hop, return_onesided=False, boundary=None, padded=False
    )
    # SciPy divides by the sum of the window
    expected = np.moveaxis(tiles, (1, 2, 3), (3, 2, 1)) * weights.sum() / np.sqrt(128)
    inside = np.flatnonzero((frequency >= BAND_HZ[0]) & (frequency <= BAND_HZ[1]))
    np.testing.assert_allclose(out, expected[:, :, inside], atol=1e-12)
    np.testing.assert_allclose(transform.frequency_hz.numpy(), frequency[inside], rtol=1e-12)


VIEWS = {
    "stft complex": lambda c: SpectrogramView(STFT(RATE_HZ, BAND_HZ, 128, 64), "complex", input_channels=c),
    "stft power": lambda c: SpectrogramView(STFT(RATE_HZ, BAND_HZ, 128, 64), input_channels=c),
    "q complex": lambda c: SpectrogramView(QTransform(RATE_HZ, BAND_HZ, 40.0, 8, 16), "complex", input_channels=c),
    "q magnitude": lambda c: SpectrogramView(QTransform(RATE_HZ, BAND_HZ, 40.0, 8, 16), "magnitude", input_channels=c),
}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("channels", [2, 4])
def test_maps_keep_the_contract_of_views_under_autocast(name, dtype, channels):
    view = VIEWS[name](channels)
    series = records(515, channels).to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        values = view(series)
    assert values.series.shape[2] == view.channels
    assert values.scalars.shape == (2, 0)
    torch.testing.assert_close(values.series, view(series.detach().float()).series)
    values.series.square().sum().backward()
    assert torch.isfinite(series.grad).all()
    assert series.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["stft complex", "q complex"])
def test_nominal_noise_has_unit_variance_in_a_complex_map(name):
    noise = records(4096, batch=64) * channel_std_volt(2.2e-13, RATE_HZ)
    assert float(VIEWS[name](2)(noise).series.square().mean()) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("transform", [STFT(RATE_HZ, BAND_HZ, 32, 16), QTransform(RATE_HZ, BAND_HZ, 10.0, 4, 4)])
def test_gradients_are_exact(transform):
    series = records(70, batch=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: torch.view_as_real(transform(s)), series)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: QTransform(RATE_HZ, (-10e6, 10e6)), "leaves out 0 Hz"),
        (lambda: QTransform(RATE_HZ, BAND_HZ, q=3.0), "above √11"),
        (lambda: QTransform(RATE_HZ, BAND_HZ, q=5000.0)(records(100)), "too large"),
        (lambda: STFT(RATE_HZ, hop=0), "hop"),
        (lambda: STFT(RATE_HZ)(records(100)), "shorter than one frame"),
    ],
)
def test_impossible_settings_are_refused(call, message):
    with pytest.raises(UserError, match=message):
        call()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_casting_the_module_changes_nothing(dtype):
    series = records().float()
    transform = QTransform(RATE_HZ, BAND_HZ)
    expected = transform(series)
    torch.testing.assert_close(transform.to(dtype)(series), expected, rtol=0, atol=0)
