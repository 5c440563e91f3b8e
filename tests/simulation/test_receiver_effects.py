"""Receiver effects in simulated records: the transforms of the training, keyed by event, off by default."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from cres.errors import UserError
from cres.simulation import SimulationConfig, sample_electrons, simulate_columns
from cres.transforms import FROZEN_EPOCH, KeyedRandom, WhiteNoise


def config(*terms: dict[str, Any], **sections: Any) -> SimulationConfig:
    return SimulationConfig.from_dict({"receiver": list(terms), "readout": {"samples": 2048}} | sections)


def series(configured: SimulationConfig, count: int = 8, start: int = 0, channel: str = "") -> np.ndarray:
    columns = simulate_columns(configured, sample_electrons(configured, count, seed=3, start=start))
    return columns[f"output_ts_I{channel}"] + 1j * columns[f"output_ts_Q{channel}"]


def noise(*terms: dict[str, Any], **sections: Any) -> np.ndarray:
    return series(config(*terms, **sections)) - series(config(**sections))


WHITE = {"class_path": "cres.transforms.WhiteNoise"}
ALL = [
    {"class_path": "cres.transforms.ThermalNoise", "init_args": {"temperature_k": 5.0}},
    {"class_path": "cres.transforms.WhiteNoise", "init_args": {"density_w_per_hz": 1e-14}},
    {"class_path": "cres.transforms.CavityNoise", "init_args": {"cavity_temperature_k": 4.0}},
    {"class_path": "PhaseNoise", "init_args": {"table": [[1e3, -90.0], [1e6, -120.0]]}},
    {"class_path": "SpuriousTones", "init_args": {"frequency_hz": ["-61e6"], "power_w": [1e-7]}},
    {"class_path": "GainRipple", "init_args": {"depth": 0.05, "period_hz": 8e6}},
    {"class_path": "Quantise", "init_args": {"range_volt": 0.5, "bits": 8}},
]


def test_white_noise_has_the_nominal_density() -> None:
    assert np.mean(np.abs(noise(WHITE)) ** 2) == pytest.approx(50 * 2.2e-13 * 403e6, rel=0.03)


def test_a_noise_temperature_uses_the_gain_of_the_read_out() -> None:
    thermal = {"class_path": "cres.transforms.ThermalNoise", "init_args": {"temperature_k": 5.0}}
    expected = 50 * 1.380649e-23 * 5.0 * 2.708e9 * 403e6
    assert np.mean(np.abs(noise(thermal)) ** 2) == pytest.approx(expected, rel=0.03)


def test_cavity_noise_is_that_of_the_configured_cavity() -> None:
    cold = {"cavity_temperature_k": 40.0, "circulator_temperature_k": 0.01, "amplifier_temperature_k": 0.0}
    term = {"class_path": "cres.transforms.CavityNoise", "init_args": cold}
    power = (np.abs(np.fft.fft(noise(term, cavity={"resonance_hz": 25.930e9}))) ** 2).mean(0)
    frequency = np.fft.fftfreq(2048, 1 / 403e6) + 25.9702e9
    inside, outside = np.abs(frequency - 25.930e9) < 10e6, np.abs(frequency - 25.930e9) > 100e6
    assert power[inside].mean() > 5 * power[outside].mean()


def test_all_effects_together_and_the_adc_last() -> None:
    found = series(config(*ALL))
    step = 1.0 / 256
    assert np.abs(found.real).max() <= 0.5
    np.testing.assert_allclose((found.real / step) % 1, 0.5, atol=1e-3)
    with pytest.raises(UserError, match="comes last"):
        config(*ALL[::-1])


def test_noise_depends_on_the_event_alone() -> None:
    noisy = config(*ALL)
    np.testing.assert_array_equal(series(noisy, 8)[5:8], series(noisy, 3, start=5))
    assert np.abs(np.corrcoef(noise(WHITE)[:2])[0, 1]) < 0.1
    reseeded = series(config(WHITE, seed=1)) - series(config(WHITE))
    assert np.mean(np.abs(reseeded) ** 2) > 1.8 * 50 * 2.2e-13 * 403e6


def test_it_is_not_the_noise_that_a_training_adds() -> None:
    """The frozen noise of validation is keyed by the same events; were it the same numbers, it would add up."""
    electrons = sample_electrons(config(), 8, seed=3)
    random = KeyedRandom(0, FROZEN_EPOCH, torch.from_numpy(electrons.event_id))
    validation = WhiteNoise(403e6)(torch.zeros(8, 2048, 2), random).numpy()
    added = noise(WHITE)
    assert abs(np.corrcoef(validation[..., 0].ravel(), added.real.ravel())[0, 1]) < 0.03


def test_channels_have_their_own_noise_and_density() -> None:
    sections = {"more_channels": [{"noise_scale": 4.0}]}
    quiet, noisy = config(**sections), config(WHITE, **sections)
    first, second = (series(noisy, channel=c) - series(quiet, channel=c) for c in ("", "_1"))
    assert np.mean(np.abs(second) ** 2) / np.mean(np.abs(first) ** 2) == pytest.approx(4, rel=0.05)
    assert abs(np.corrcoef(first.real.ravel(), second.real.ravel())[0, 1]) < 0.03


def test_without_effects_nothing_changes_and_the_configuration_survives_a_round_trip() -> None:
    assert SimulationConfig.default().receiver == ()
    configured = config(*ALL)
    assert SimulationConfig.from_dict(configured.to_dict()) == configured


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ({"class_path": "cres.transforms.WhiteNose"}, "did you mean 'WhiteNoise'"),
        ({"class_path": "os.system"}, "unknown effect"),
        ({"class_path": "WhiteNoise", "init_args": {"density": 1e-13}}, "did you mean 'density_w_per_hz'"),
        ({"class_path": "PhaseNoise"}, "needs table"),
        ({"class_path": "Quantise", "init_args": {"range_volt": "much", "bits": 8}}, "cannot be made"),
        ({"class_path": "Quantise", "init_args": {"range_volt": -1.0, "bits": 8}}, "positive range"),
        ({"class_path": "WhiteNoise", "init_args": [1]}, "must be a table"),
    ],
)
def test_a_wrong_effect_is_told_in_one_sentence(term: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        config(term)
