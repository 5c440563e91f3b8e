"""Shaped noise has its density at every frequency; temperatures and densities agree with physics."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cres.errors import UserError
from cres.transforms import (
    CavityNoise,
    ColouredNoise,
    KeyedRandom,
    effective_temperature_k,
    noise_temperature_k,
    periodogram_w_per_hz,
    thermal_density_w_per_hz,
)
from cres.transforms.coloured import interpolate, read_table

RATE_HZ = 403e6
LO_HZ = 25.9702e9
TABLE = [(-150e6, 1e-13), (-60e6, 4e-13), (-50e6, 1e-13), (120e6, 3e-13)]
BOLTZMANN = 1.380649e-23
PLANCK = 6.62607015e-34


def noise_of(transform, events=128, samples=2048):
    return transform(torch.zeros(events, samples, 2), KeyedRandom(5, 0, torch.arange(events)))


def worst_band_p_value(noise, density, bands=8):
    """χ² of the whitened power in bands of equal width, as the smallest p-value (two-sided) times the bands."""
    frequency = np.fft.fftfreq(noise.shape[1], 1 / RATE_HZ)
    ratio = periodogram_w_per_hz(noise.double(), RATE_HZ)[..., 0].numpy() / density(frequency)
    degrees = 2 * ratio.size // bands
    powers = [2 * part.sum() for part in np.split(ratio, bands, axis=1)]
    return bands * min(2 * min(stats.chi2.cdf(p, degrees), stats.chi2.sf(p, degrees)) for p in powers)


def table_twin(frequency_hz):
    return np.interp(frequency_hz, *zip(*TABLE, strict=True))


@pytest.mark.parametrize(("factor", "accepted"), [(1.0, True), (1.02, False), (0.98, False)])
def test_coloured_noise_has_the_density_of_its_table(factor, accepted):
    """In each of 8 bands; 2 % off is rejected (32 768 complex numbers a band, σ = 0.55 %, over eight bands)."""
    table = [(f, factor * s) for f, s in TABLE]
    p_value = worst_band_p_value(
        noise_of(ColouredNoise(RATE_HZ, table)), lambda f: np.interp(f, *zip(*TABLE, strict=True))
    )
    assert bool(p_value > 1e-3) is accepted


def cavity_twin(frequency_hz, cavity=20.0, circulator=4.0, amplifier=1.0, gain=1e9):
    coupling = 1060 / 400 - 1
    detuning = 2 * 400 * ((frequency_hz + LO_HZ) / 25.905e9 - 1)
    emissivity = 4 * coupling / (1 + coupling) ** 2 / (1 + detuning**2)
    return gain * BOLTZMANN * (emissivity * cavity + (1 - emissivity) * circulator + amplifier)


def test_cavity_noise_has_the_density_of_the_formula():
    transform = CavityNoise(RATE_HZ, LO_HZ, cavity_temperature_k=20.0, circulator_temperature_k=4.0, gain=1e9)
    frequency = torch.linspace(-200e6, 200e6, 101, dtype=torch.float64)
    np.testing.assert_allclose(
        transform.density_w_per_hz(frequency).numpy(), cavity_twin(frequency.numpy()), rtol=1e-12
    )
    assert worst_band_p_value(noise_of(transform), cavity_twin) > 1e-3
    assert worst_band_p_value(noise_of(transform), lambda f: cavity_twin(f, cavity=19.0)) < 1e-3


def test_cavity_at_the_temperature_of_its_circulator_is_white():
    transform = CavityNoise(RATE_HZ, LO_HZ, cavity_temperature_k=4.0, circulator_temperature_k=4.0)
    density = transform.density_w_per_hz(torch.linspace(-200e6, 200e6, 11, dtype=torch.float64))
    np.testing.assert_allclose(density.numpy(), 5 * BOLTZMANN, rtol=1e-12)


def test_critically_coupled_cavity_emits_all_on_resonance():
    transform = CavityNoise(RATE_HZ, LO_HZ, loaded_q=400.0, unloaded_q=800.0)
    assert float(transform.emissivity(torch.tensor([25.905e9 - LO_HZ], dtype=torch.float64))) == pytest.approx(1.0)


def test_read_out_channels_have_independent_noise():
    noise = ColouredNoise(RATE_HZ, TABLE)(torch.zeros(8, 2048, 4), KeyedRandom(5, 0, torch.arange(8))).double()
    correlation = np.corrcoef(noise.flatten(0, 1).numpy().T) - np.eye(4)
    assert np.abs(correlation).max() < 5 / np.sqrt(8 * 2048 / 4)


def test_effective_temperature_limits():
    # hf/k at 25.905 GHz = 1.2433 K; quantum limit hf/2k; Callen–Welton at 4 K: T (1 + (hf/kT)²/12 + …)
    quantum = PLANCK * 25.905e9 / BOLTZMANN
    assert quantum == pytest.approx(1.2433, abs=1e-4)
    assert float(effective_temperature_k(1e-3, 25.905e9)) == pytest.approx(quantum / 2, rel=1e-12)
    assert float(effective_temperature_k(300.0, 25.905e9)) == pytest.approx(300.0, rel=2e-6)
    assert float(effective_temperature_k(4.0, 25.905e9)) == pytest.approx(4 * (1 + (quantum / 4) ** 2 / 12), rel=1e-4)


@settings(deadline=None)
@given(st.floats(0.01, 1e4), st.floats(1e-3, 1e12))
def test_temperature_and_density_are_inverse(temperature, gain):
    assert float(noise_temperature_k(thermal_density_w_per_hz(temperature, gain), gain)) == pytest.approx(temperature)


@settings(deadline=None, max_examples=50)
@given(
    knots=st.lists(st.floats(-100, 100), min_size=1, max_size=8, unique=True).map(sorted),
    x=st.lists(st.floats(-200, 200), min_size=1, max_size=8),
    seed=st.integers(0, 99),
)
def test_interpolation_equals_numpy(knots, x, seed):
    values = np.random.default_rng(seed).normal(size=len(knots))
    table = torch.tensor(np.stack([knots, values], axis=1))
    ours = interpolate(torch.tensor(x, dtype=torch.float64), table)
    np.testing.assert_allclose(ours.numpy(), np.interp(x, knots, values), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("text", ["-1e6, 1e-13\n2e6, 2e-13\n", "# Hz W/Hz\n-1e6 1e-13\n2e6\t2e-13\n"])
def test_table_from_a_file(tmp_path, text):
    path = tmp_path / "density.csv"
    path.write_text(text)
    expected = torch.tensor([[-1e6, 1e-13], [2e6, 2e-13]], dtype=torch.float64)
    torch.testing.assert_close(read_table(path), expected)
    torch.testing.assert_close(ColouredNoise(RATE_HZ, str(path)).table, expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a b\n", "cannot be read"), ("1 2 3\n", "two numbers"), ("2 1\n1 1\n", "ascend"), (None, "cannot")],
)
def test_bad_tables_are_refused_with_their_name(tmp_path, text, message):
    path = tmp_path / "density.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        read_table(path)
    assert "density.txt" in str(error.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ColouredNoise(RATE_HZ, [(0.0, -1.0)]), "negative"),
        (lambda: ColouredNoise(0.0, TABLE), "positive"),
        (lambda: CavityNoise(RATE_HZ, LO_HZ, loaded_q=2000.0), "unloaded"),
    ],
)
def test_impossible_settings_are_refused(call, message):
    with pytest.raises(UserError, match=message):
        call()
