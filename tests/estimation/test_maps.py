from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from cres.estimation.bound.maps import electron_map, record_map, write_maps
from cres.simulation import SimulationConfig

CONFIG = SimulationConfig.default()


def test_the_bound_follows_the_coupling_and_the_sidebands() -> None:
    found = electron_map(CONFIG, ("pitch_angle_deg", "radius_m"), ([88.5, 89.8], [0.5e-3, 3.4e-3, 6.4e-3]))
    assert found.energy_std_ev.shape == (2, 3)
    assert np.all(found.energy_std_ev[:, 1] < found.energy_std_ev[:, 0])
    assert np.all(found.energy_std_ev[:, 1] < found.energy_std_ev[:, 2])


def test_longer_and_quieter_is_better() -> None:
    found = record_map(CONFIG, [2048, 4096], [0.25, 1.0])
    assert np.all(found.energy_std_ev[1] < found.energy_std_ev[0] / 2)
    assert found.energy_std_ev[:, 1] / found.energy_std_ev[:, 0] == pytest.approx([2.0, 2.0])


def test_maps_are_written_as_numbers_and_pictures(tmp_path: Path) -> None:
    paths = write_maps(CONFIG, tmp_path / "maps", points=3)
    assert {path.suffix for path in paths} == {".hdf5", ".png"}
    assert len(paths) == 6
    with h5py.File(tmp_path / "maps" / "bound_pitch_radius.hdf5") as file:
        assert file["energy_std_ev"].shape == (3, 3)
        assert file["energy_std_ev"].attrs["units"] == "eV"
        assert "git_commit" in file.attrs
