"""Every configuration in configs/simulation is loaded and simulated; its public numbers are what it says."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from shipped import simulations

from cres import schema
from cres.physics.beta import T_ENDPOINT_EV
from cres.physics.cavity import mode_frequency_hz
from cres.simulation import SimulationConfig, sample_electrons, simulate_columns

CONFIGS = simulations()


def read(name: str) -> SimulationConfig:
    return SimulationConfig.from_yaml(next(path for path in CONFIGS if path.stem == name))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_configuration_makes_records_in_its_band(path: Path) -> None:
    config = SimulationConfig.from_yaml(path)
    samples = min(config.readout.samples, 65536)
    config = dataclasses.replace(config, readout=dataclasses.replace(config.readout, samples=samples))
    columns = simulate_columns(config, sample_electrons(config, 4, seed=11))
    assert columns[schema.SERIES_I].shape == (4, samples)
    for name, values in columns.items():
        assert np.isfinite(values).all() or name.startswith("track_"), name
    after_mixing = columns[schema.CARRIER_FREQUENCY] - config.readout.lo_frequency_hz
    assert np.all(np.abs(after_mixing) < 0.45 * config.readout.sampling_rate_hz)
    assert np.abs(columns[schema.SERIES_I]).max() > 1e-4
    assert SimulationConfig.from_dict(config.to_dict()) == config


def test_the_low_frequency_cavity_is_one() -> None:
    config = read("low_frequency")
    mode = mode_frequency_hz(config.cavity.radius_m, config.cavity.length_m)
    assert mode == pytest.approx(config.cavity.resonance_hz, rel=1e-3)
    columns = simulate_columns(config, sample_electrons(config, 60, seed=1))
    sideband = 2 * columns[schema.AXIAL_FREQUENCY]
    carrier = columns[schema.CARRIER_FREQUENCY] - config.readout.lo_frequency_hz
    assert np.all(np.abs(carrier) + sideband < 0.45 * config.readout.sampling_rate_hz)
    assert 50 < np.median(columns["signal_snr"]) < 2000


@pytest.mark.parametrize(
    ("name", "gas_freezes_k"),
    # triple point of T₂: 20.6 K, and some 30 K where walls hold it; krypton: 5e19 atoms/m³ at 43.1 K, 1e17 near 36 K
    [("tritium_35k", 30.0), ("krypton_45k", 43.0)],
)
def test_gases_are_gases_where_the_file_says_so(name: str, gas_freezes_k: float) -> None:
    config = read(name)
    assert config.readout.temperature_k > gas_freezes_k
    assert config.ensemble.source_temperature_k == config.readout.temperature_k
    assert config.ensemble.births == "field_line"
    cold = read("cavity_26ghz")
    # as much signal over noise in all: samples over temperature
    ratio = config.readout.samples / config.readout.temperature_k * cold.readout.temperature_k / cold.readout.samples
    assert ratio == pytest.approx(1, abs=0.06)


def test_atomic_tritium_is_in_the_scaled_cavity_at_one_tesla() -> None:
    config = read("atomic_tritium_1t")
    assert config.trap.field_t == 1.0
    mode = mode_frequency_hz(config.cavity.radius_m, config.cavity.length_m)
    assert mode == pytest.approx(config.cavity.resonance_hz, rel=1e-4)
    assert config.ensemble.final_states == "T"
    assert config.ensemble.endpoint_ev == pytest.approx(T_ENDPOINT_EV, abs=0.01)


def test_final_states_may_lie_beside_their_configuration(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("excitation_ev,probability\n0,0.6\n40,0.4\n")
    (tmp_path / "mine.yaml").write_text("ensemble: {kind: tritium, final_states: mine.csv}")
    config = SimulationConfig.from_yaml(tmp_path / "mine.yaml")
    assert config.ensemble.final_states == str(tmp_path / "mine.csv")


def test_the_noisy_scattered_set_is_noisy_and_scattered() -> None:
    config = read("noisy_scattered")
    quiet = dataclasses.replace(config, receiver=())
    electrons = sample_electrons(config, 40, seed=1)
    noisy, plain = simulate_columns(config, electrons), simulate_columns(quiet, electrons)
    noise = noisy[schema.SERIES_I] - plain[schema.SERIES_I]
    # system temperature 5.9 K: the nominal noise, and a little from the tones and the ADC
    assert noise.std() == pytest.approx(0.0471, rel=0.05)
    envelope = np.abs(plain[schema.SERIES_I] + 1j * plain[schema.SERIES_Q])
    born_later = (envelope[:, :20] < 1e-6).all(1).mean()
    assert born_later > 0.8
