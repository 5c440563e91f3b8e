"""Receiver imperfections against their formulae, written again in NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cres.errors import UserError
from cres.transforms import GainPhaseDrift, GainRipple, KeyedRandom, PhaseNoise, PhaseWalk, Quantise, SpuriousTones

RATE_HZ = 403e6


def source(count):
    return KeyedRandom(2, 0, torch.arange(count))


def carrier(batch, samples, channels=2):
    """Constant I = 1, Q = 0 in float64: whatever multiplies the record can be read off."""
    series = torch.zeros(batch, samples, channels, dtype=torch.float64)
    series[..., 0::2] = 1.0
    return series


def as_complex(series):
    return torch.complex(series[..., 0::2].double(), series[..., 1::2].double()).numpy()


@pytest.mark.parametrize(("factor_db", "accepted"), [(0.0, True), (10 * np.log10(1.02), False)])
def test_phase_noise_has_the_density_of_its_table(factor_db, accepted):
    """Flat L: ⟨φ²⟩ = L f_s (1 − 1/N) and a white φ; 2 % off is rejected."""
    level = -110.0
    transform = PhaseNoise(RATE_HZ, [(1e3, level + factor_db), (1e8, level + factor_db)])
    turned = as_complex(transform(carrier(128, 2048), source(128)))[..., 0]
    np.testing.assert_allclose(np.abs(turned), 1.0, rtol=1e-6)
    phase = np.angle(turned)
    expected = 10 ** (level / 10) * RATE_HZ
    chi_square = (phase**2).sum() / expected
    p_value = 2 * min(stats.chi2.cdf(chi_square, phase.size), stats.chi2.sf(chi_square, phase.size))
    assert bool(p_value > 1e-4) is accepted


def test_phase_noise_follows_the_slope_of_its_table():
    """−20 dB a decade from 1 MHz on: the measured density in two bands two octaves apart differs by 16 ± 5 %."""
    transform = PhaseNoise(RATE_HZ, [(1e6, -100.0), (1e7, -120.0), (1e8, -140.0)])
    phase = np.angle(as_complex(transform(carrier(256, 2048), source(256)))[..., 0])
    weights = np.hanning(2048)
    density = (np.abs(np.fft.rfft(phase * weights, axis=1)) ** 2).mean(axis=0) / (weights**2).sum() / RATE_HZ
    frequency = np.fft.rfftfreq(2048, 1 / RATE_HZ)
    for low, high in ((4e6, 6e6), (16e6, 24e6)):
        band = (frequency > low) & (frequency < high)
        expected = 10**-10 * (1e6 / frequency[band]) ** 2
        assert np.mean(density[band] / expected) == pytest.approx(1.0, abs=0.08)


def test_phase_noise_is_common_to_the_read_out_channels():
    turned = as_complex(PhaseNoise(RATE_HZ, [(1e4, -80.0)])(carrier(2, 64, 4), source(2)))
    np.testing.assert_allclose(turned[..., 0], turned[..., 1], rtol=0, atol=1e-12)


def test_phase_walk_has_the_stated_steps():
    transform = PhaseWalk(RATE_HZ, 1e4)
    phase = np.unwrap(np.angle(as_complex(transform(carrier(64, 2048), source(64)))[..., 0]), axis=1)
    np.testing.assert_allclose(phase[:, 0], 0.0, atol=1e-7)
    steps = np.diff(phase, axis=1)
    expected = 2 * np.pi * 1e4 / RATE_HZ
    chi_square = (steps**2).sum() / expected
    assert 1e-4 < stats.chi2.cdf(chi_square, steps.size) < 1 - 1e-4
    # a Lorentzian line: ⟨e^{iφ(t)}⟩ = e^{−πΔν t}
    assert (phase[:, -1] ** 2).mean() == pytest.approx(2047 * expected, rel=6 * np.sqrt(2 / 64))


def test_tones_have_power_frequency_and_uniform_phase():
    frequency, power = -51 * RATE_HZ / 1024, 2e-5
    tones = SpuriousTones(RATE_HZ, [frequency], [power])
    values = as_complex(tones(torch.zeros(200, 1024, 2), source(200)))[..., 0]
    np.testing.assert_allclose(np.abs(values) ** 2 / 50.0, power, rtol=1e-5)
    spectrum = np.fft.fft(values, axis=1) / 1024
    np.testing.assert_allclose(np.abs(spectrum[:, -51]), np.sqrt(50 * power), rtol=1e-5)
    assert stats.kstest(np.angle(values[:, 0]) / (2 * np.pi) + 0.5, "uniform").pvalue > 1e-3


def test_tone_frequencies_spread_uniformly():
    tones = SpuriousTones(RATE_HZ, [-60e6], [1e-4], spread_hz=20e6)
    values = as_complex(tones(torch.zeros(300, 256, 2), source(300)))[..., 0]
    measured = np.angle((values[:, 1:] * values[:, :-1].conj()).sum(axis=1)) / (2 * np.pi) * RATE_HZ
    assert stats.kstest((measured + 70e6) / 20e6, "uniform").pvalue > 1e-3


def test_ripple_multiplies_the_spectrum():
    series = torch.randn(2, 500, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    out = as_complex(GainRipple(RATE_HZ, 0.2, 15e6, phase_rad=0.7)(series, source(2)))
    frequency = np.fft.fftfreq(500, 1 / RATE_HZ)[None, :, None]
    response = 1 + 0.2 * np.exp(1j * (0.7 - 2 * np.pi * frequency / 15e6))
    expected = np.fft.ifft(np.fft.fft(as_complex(series), axis=1) * response, axis=1)
    np.testing.assert_allclose(out, expected, atol=1e-7)


def test_drift_is_linear_with_the_stated_spreads():
    drift = GainPhaseDrift(gain_std=0.03, gain_drift_std=0.02, phase_drift_std_rad=0.1)
    factor = as_complex(drift(carrier(2000, 3), source(2000)))[..., 0]
    gain, phase = np.abs(factor), np.angle(factor)
    np.testing.assert_allclose(gain[:, 1], (gain[:, 0] + gain[:, 2]) / 2, atol=1e-6)
    np.testing.assert_allclose(phase[:, 1], phase[:, 2] / 2, atol=1e-6)
    for sample, std in ((gain[:, 0] - 1, 0.03), (gain[:, 2] - gain[:, 0], 0.02), (phase[:, 2], 0.1)):
        assert stats.kstest(sample / std, "norm").pvalue > 1e-3


@settings(deadline=None, max_examples=60)
@given(bits=st.integers(1, 16), x=st.lists(st.floats(-3, 3), min_size=2, max_size=20))
def test_quantisation_equals_numpy(bits, x):
    x = x[: len(x) // 2 * 2]
    series = torch.tensor(x, dtype=torch.float64).reshape(1, -1, 2)
    step = 2 * 1.5 / 2**bits
    expected = step * (np.clip(np.floor(np.array(x) / step), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1) + 0.5)
    out = Quantise(1.5, bits)(series, source(1)).flatten().numpy()
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)
    assert len(np.unique(out)) <= 2**bits


def test_quantisation_noise_is_a_twelfth_of_a_step_squared():
    series = torch.randn(4, 8192, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    error = Quantise(8.0, 6)(series, source(4)) - series
    # 65 536 uniform numbers: the variance is known to 0.35 %
    assert float(error.square().mean()) == pytest.approx((16 / 2**6) ** 2 / 12, rel=0.02)


def test_quantisation_passes_the_gradient_of_clipping():
    series = torch.tensor([[[0.2, 5.0]]], requires_grad=True)
    Quantise(1.0, 4)(series, source(1)).sum().backward()
    torch.testing.assert_close(series.grad, torch.tensor([[[1.0, 0.0]]]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PhaseNoise(RATE_HZ, [(0.0, -80.0)]), "above 0 Hz"),
        (lambda: PhaseWalk(RATE_HZ, -1.0), "line width"),
        (lambda: SpuriousTones(RATE_HZ, [1e6, 2e6], [1e-4]), "one power"),
        (lambda: GainRipple(RATE_HZ, 1.5, 1e6), "depth"),
        (lambda: GainPhaseDrift(-0.1), "zero or more"),
        (lambda: Quantise(1.0, 0), "bits"),
    ],
)
def test_impossible_settings_are_refused(call, message):
    with pytest.raises(UserError, match=message):
        call()
