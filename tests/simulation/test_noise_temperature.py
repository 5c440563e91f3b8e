"""The nominal noise follows from a temperature or from a density, never from both."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from shipped import simulations

import cres
from cres.data.records import open_records
from cres.errors import UserError
from cres.estimation.apparatus import Apparatus
from cres.estimation.methods.recordings import Recordings
from cres.estimation.noise import White
from cres.physics.constants import BOLTZMANN_J_PER_K
from cres.simulation import SimulationConfig, sample_electrons, simulate_columns

PRESETS = ("cavity_26ghz", "cavity_26ghz_modes", "low_frequency")


def readout(**keys: object) -> SimulationConfig:
    return SimulationConfig.from_dict({"readout": keys})


def test_the_density_follows_from_the_temperature_and_the_gain() -> None:
    given = readout(noise_temperature_k=10.0, gain=1e9).readout
    assert given.density_w_per_hz == pytest.approx(BOLTZMANN_J_PER_K * 10.0 * 1e9, rel=1e-12)
    assert given.complex_noise_variance == pytest.approx(50 * BOLTZMANN_J_PER_K * 1e10 * 403e6, rel=1e-12)
    louder = dataclasses.replace(given, gain=2e9)
    assert louder.density_w_per_hz == pytest.approx(2 * given.density_w_per_hz, rel=1e-12)
    assert louder.temperature_k == pytest.approx(10.0)


def test_a_density_stays_what_it_is_and_so_does_a_file_that_gives_neither() -> None:
    assert readout(noise_density_w_per_hz=1e-13, gain=1e9).readout.density_w_per_hz == 1e-13
    assert readout(gain=1e9).readout.density_w_per_hz == 2.2e-13
    default = SimulationConfig.default()
    assert default.to_dict()["readout"]["noise_density_w_per_hz"] == 2.2e-13
    assert default.readout.temperature_k == pytest.approx(5.88, abs=0.01)


@pytest.mark.parametrize("keys", [{"noise_temperature_k": 4.0}, {"noise_density_w_per_hz": 1e-13}, {}])
def test_what_is_written_is_read_again(keys: dict[str, float]) -> None:
    config = readout(**keys)
    assert SimulationConfig.from_dict(config.to_dict()) == config
    assert not set(config.to_dict()["readout"]) >= {"noise_temperature_k", "noise_density_w_per_hz"}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"noise_temperature_k": 4.0, "noise_density_w_per_hz": 1e-13}, "give one of the two"),
        ({"noise_temperature_k": 0.0}, "noise_temperature_k must be positive"),
        ({"noise_density_w_per_hz": -1e-13}, "noise_density_w_per_hz must be 0 or more"),
        ({"noise_temperature_k": "cold"}, "must be of type float"),
    ],
)
def test_mistakes_are_one_sentence(keys: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        readout(**keys)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_state_their_temperature(name: str) -> None:
    path = next(path for path in simulations() if path.stem == name)
    assert "noise_temperature_k" in path.read_text()
    assert "noise_density_w_per_hz" not in path.read_text()


def test_the_default_file_is_the_default_apparatus() -> None:
    path = next(path for path in simulations() if path.stem == "cavity_26ghz")
    config, default = SimulationConfig.from_yaml(path), SimulationConfig.default()
    assert config.readout.density_w_per_hz == pytest.approx(default.readout.density_w_per_hz, rel=2e-6)
    readout = dataclasses.replace(config.readout, noise_temperature_k=None)
    assert dataclasses.replace(config, readout=readout) == default


# The noise that is added to records is that of their apparatus ------------------------------------------------------


def written(path: Path, config: SimulationConfig, stated: object = None) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in simulate_columns(config, sample_electrons(config, 4, seed=1)).items():
            file[name] = values
        file.attrs["sampling_rate_hz"] = config.readout.sampling_rate_hz
        file.attrs["lo_frequency_hz"] = config.readout.lo_frequency_hz
        file.attrs["config"] = json.dumps(config.to_dict() if stated is None else stated)
    return path


@pytest.mark.parametrize("keys", [{"noise_temperature_k": 35.0}, {"noise_density_w_per_hz": 1e-12}, {}])
def test_estimators_add_and_assume_the_noise_of_the_files_own_apparatus(tmp_path: Path, keys: dict[str, float]) -> None:
    config = readout(samples=512, **keys)
    recordings = Recordings(str(written(tmp_path / "a.hdf5", config)))
    expected = Apparatus.from_config(config).noise_std_volt
    assert isinstance(recordings.noise_model, White)
    assert recordings.noise_model.std_volt == pytest.approx(expected, rel=1e-9)
    rows = np.arange(4)
    noise = recordings.series(rows).numpy() - Recordings(str(tmp_path / "a.hdf5"), 0.0).series(rows).numpy()
    assert noise.real.std() == pytest.approx(expected, rel=0.1)


def test_a_training_adds_the_noise_of_its_datas_apparatus(tmp_path: Path) -> None:
    from cres.data.module import CresDataModule

    config = readout(samples=512, noise_temperature_k=35.0)
    columns = written(tmp_path / "a.hdf5", config)
    data = CresDataModule(data=str(columns), fractions=(0.5, 0.25, 0.25))
    assert data.apparatus_facts()["noise_density_w_per_hz"] == pytest.approx(config.readout.density_w_per_hz)


@pytest.mark.parametrize("stated", [{}, [], "mine", {"readout": None}, {"readout": {"noise_temperature_k": "cold"}}])
def test_files_of_other_simulations_have_the_default(tmp_path: Path, stated: object) -> None:
    path = written(tmp_path / "a.hdf5", readout(samples=64), stated)
    assert open_records(str(path)).noise_density_w_per_hz == 2.2e-13


def test_simulated_records_in_python_are_as_noisy_as_their_apparatus(tmp_path: Path) -> None:
    (tmp_path / "warm.yaml").write_text("readout: {samples: 512, noise_temperature_k: 35.0}")
    warm, cold = cres.simulate(2, tmp_path / "warm.yaml"), cres.simulate(2)
    noise = warm.volts() - warm.volts(0.0)
    assert noise.std() / 0.0471 == pytest.approx((35 / 5.884) ** 0.5, rel=0.05)
    assert cold.noise_density_w_per_hz == pytest.approx(2.2e-13, rel=2e-6)
