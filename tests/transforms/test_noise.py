"""Noise has the stated density, belongs to its event, and lets gradients pass."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from cres.errors import UserError
from cres.transforms import (
    BandSelect,
    KeyedRandom,
    RandomChain,
    RandomPhase,
    ThermalNoise,
    WhiteNoise,
    channel_std_volt,
)

RATE_HZ = 403e6


def source(count, epoch=0, start=0):
    return KeyedRandom(3, epoch, torch.arange(start, start + count))


def density_is_as_stated(noise, density_w_per_hz, resistance_ohm=50.0):
    """χ² test of ⟨|n|²⟩/(R f_s) at the 1e-5 level; with 2^18 complex samples a deviation of 2 % is 10 σ."""
    power = noise.double().square().sum() / resistance_ohm
    samples = noise.numel() // 2
    chi_square = float(power / (density_w_per_hz * RATE_HZ)) * 2
    p_value = 2 * min(stats.chi2.cdf(chi_square, 2 * samples), stats.chi2.sf(chi_square, 2 * samples))
    return bool(p_value > 1e-5)


@pytest.mark.parametrize(("factor", "accepted"), [(1.0, True), (1.02, False), (0.98, False)])
def test_white_noise_has_the_stated_density(factor, accepted):
    """The check accepts the stated density and rejects noise that is 2 % off."""
    series = torch.zeros(32, 8192, 2)
    noise = WhiteNoise(RATE_HZ, density_w_per_hz=2.2e-13 * factor)(series, source(32))
    assert density_is_as_stated(noise, 2.2e-13) is accepted


def test_nominal_noise_is_47_millivolt():
    # physics.md of the design: 2.2e-13 W/Hz, 50 Ω, 403 MHz: 0.0471 V a channel
    assert channel_std_volt(2.2e-13, RATE_HZ) == pytest.approx(0.0471, abs=5e-5)


@pytest.mark.parametrize(("temperature_k", "accepted"), [(5.0, True), (5.1, False)])
def test_thermal_noise_is_kt_times_gain(temperature_k, accepted):
    noise = ThermalNoise(RATE_HZ, temperature_k, gain=3e9)(torch.zeros(32, 8192, 2), source(32))
    # CODATA 2022: k = 1.380649e-23 J/K
    assert density_is_as_stated(noise, 1.380649e-23 * 5.0 * 3e9) is accepted


def test_thermal_noise_holds_the_quantum_limit():
    """At 0 K nearly: hf/2k = 0.6216 K at 25.905 GHz."""
    noise = ThermalNoise(RATE_HZ, 1e-3, gain=3e9, frequency_hz=25.905e9)(torch.zeros(32, 8192, 2), source(32))
    assert density_is_as_stated(noise, 1.380649e-23 * 0.62163 * 3e9)


@pytest.mark.parametrize(("factor", "accepted"), [(1.0, True), (1.02, False)])
def test_noise_of_a_selected_band_is_that_of_the_whole_record(factor, accepted):
    """Noise then band, and band then noise with the original sampling rate, have one density."""
    select, white = BandSelect(RATE_HZ, (-80e6, -45e6)), WhiteNoise(RATE_HZ, 2.2e-13 * factor)
    after = white(select(torch.zeros(384, 8192, 2)), source(384))
    before = select(white(torch.zeros(64, 8192, 2), source(64)))
    assert after.shape[1] == before.shape[1]
    assert density_is_as_stated(after, 2.2e-13) is accepted
    assert float(before.square().mean() / after.square().mean()) == pytest.approx(1.0, abs=0.02)


def test_white_noise_is_white_and_iq_are_independent():
    noise = WhiteNoise(RATE_HZ)(torch.zeros(64, 2048, 2), source(64)).double().numpy()
    values = noise[..., 0] + 1j * noise[..., 1]
    spectrum = (np.abs(np.fft.fft(values, axis=1)) ** 2).mean(axis=0) / 2048
    expected = 2 * channel_std_volt(2.2e-13, RATE_HZ) ** 2
    # mean of 64 exponentials a bin: χ² over all bins
    chi_square = (((spectrum / expected) - 1) ** 2 * 64).sum()
    assert abs(chi_square - 2048) < 6 * math.sqrt(2 * 2048 * 1.6)
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 5 / math.sqrt(noise[..., 0].size)


def test_scale_multiplies_the_power_per_electron():
    series = torch.zeros(3, 64, 2)
    noise = WhiteNoise(RATE_HZ)
    unit = noise(series, source(3))
    scaled = noise(series, source(3), torch.tensor([0.0, 1.0, 4.0]))
    torch.testing.assert_close(scaled, unit * torch.tensor([0.0, 1.0, 2.0])[:, None, None])
    torch.testing.assert_close(noise(series, source(3), 0.25), unit / 2)


def chain():
    return RandomChain([RandomPhase(), WhiteNoise(RATE_HZ), WhiteNoise(RATE_HZ)])


def test_noise_of_an_event_does_not_depend_on_batch_or_order():
    series = torch.randn(6, 512, 2, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([5, 9, 2, 77, 1 << 40, 3])
    together = chain()(series, KeyedRandom(3, 0, ids))
    order = torch.tensor([4, 2, 0])
    torch.testing.assert_close(chain()(series[order], KeyedRandom(3, 0, ids[order])), together[order], rtol=0, atol=0)


def test_two_of_a_kind_draw_different_noise_and_the_first_draws_as_alone():
    series = torch.zeros(2, 512, 2)
    one = WhiteNoise(RATE_HZ)(series, source(2))
    two = RandomChain([WhiteNoise(RATE_HZ), WhiteNoise(RATE_HZ)])(series, source(2))
    second = two - one
    assert abs(np.corrcoef(one.flatten(), second.flatten())[0, 1]) < 0.15
    torch.testing.assert_close(RandomChain([RandomPhase(), WhiteNoise(RATE_HZ)])(series, source(2)), one)


def test_random_phase_turns_all_ports_by_one_uniform_angle():
    series = torch.randn(5000, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    turned = RandomPhase()(series, source(5000))
    before = torch.complex(series[..., 0::2], series[..., 1::2])
    after = torch.complex(turned[..., 0::2], turned[..., 1::2])
    factor = after / before
    torch.testing.assert_close(factor, factor[:, :1, :1].expand_as(factor), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(factor.abs(), torch.ones_like(factor.real), rtol=1e-6, atol=1e-6)
    angles = factor[:, 0, 0].angle().numpy() / (2 * np.pi) + 0.5
    assert stats.kstest(angles, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_is_kept_and_gradients_pass(dtype):
    series = torch.zeros(2, 64, 2, dtype=dtype, requires_grad=True)
    noisy = chain()(series, source(2))
    assert noisy.dtype == dtype
    noisy.float().square().sum().backward()
    assert torch.isfinite(series.grad).all()
    assert series.grad.abs().sum() > 0


def test_impossible_settings_are_refused():
    with pytest.raises(UserError, match="positive sampling rate"):
        WhiteNoise(-1.0)
