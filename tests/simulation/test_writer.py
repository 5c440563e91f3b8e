import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from shipped import simulations

from cres.errors import UserError
from cres.simulation import SimulationConfig, sample_electrons
from cres.simulation.electrons import draw_electrons, is_held
from cres.simulation.writer import simulate_to_files

CONFIG = SimulationConfig.default()
COILS = SimulationConfig.from_dict(
    {
        "trap": {"kind": "coils", "field_t": 0.9587, "coils": [[0.02, -0.08, 42], [0.02, 0.08, 42]]},
        "ensemble": {"pitch_angle_deg": [87, 90]},
    }
)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.pkl.gz"))}


def test_any_number_of_workers_writes_the_same_bytes(tmp_path: Path) -> None:
    for workers in (1, 2):
        paths = simulate_to_files(CONFIG, 5, tmp_path / str(workers), 3, workers, events_per_file=2)
        assert [path.name for path in paths] == [f"electrons_{i:05d}.pkl.gz" for i in range(3)]
    assert digests(tmp_path / "1") == digests(tmp_path / "2")


def test_files_carry_their_origin_and_series(tmp_path: Path) -> None:
    (path,) = simulate_to_files(CONFIG, 2, tmp_path, 3)
    frame = pd.read_pickle(path)
    assert SimulationConfig.from_dict(json.loads(frame.attrs["config"])) == CONFIG
    assert frame.attrs["sampling_rate_hz"] == CONFIG.readout.sampling_rate_hz
    assert frame["output_ts_I"][0].shape == (8192,)
    assert frame["output_ts_I"][0].dtype == np.float32


def test_an_interrupted_run_continues(tmp_path: Path) -> None:
    simulate_to_files(CONFIG, 4, tmp_path, 3, events_per_file=2)
    before = digests(tmp_path)
    kept = tmp_path / "electrons_00000.pkl.gz"
    age = kept.stat().st_mtime_ns
    (tmp_path / "electrons_00001.pkl.gz").unlink()
    simulate_to_files(CONFIG, 4, tmp_path, 3, events_per_file=2)
    assert digests(tmp_path) == before
    assert kept.stat().st_mtime_ns == age


def test_a_folder_of_other_electrons_is_refused(tmp_path: Path) -> None:
    simulate_to_files(CONFIG, 1, tmp_path, 3)
    with pytest.raises(UserError, match="another configuration"):
        simulate_to_files(CONFIG, 1, tmp_path, 4)
    with pytest.raises(UserError, match="at least 1"):
        simulate_to_files(CONFIG, 0, tmp_path / "none", 4)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be used"):
        simulate_to_files(CONFIG, 1, tmp_path / "file", 4)


def test_other_electrons_of_the_endless_sequence_are_others_without_settings_too(tmp_path: Path) -> None:
    simulate_to_files(CONFIG, 1, tmp_path, 3, first=5)
    simulate_to_files(CONFIG, 1, tmp_path, 3, first=5)
    for first in (0, 6):
        with pytest.raises(UserError, match="another configuration"):
            simulate_to_files(CONFIG, 1, tmp_path, 3, first=first)


def test_untrapped_electrons_are_drawn_again_and_counted() -> None:
    electrons, refused = draw_electrons(COILS, 12, 1)
    assert refused > 0
    assert is_held(COILS, electrons).all()
    assert draw_electrons(CONFIG, 200, 1)[1] == 0
    part = sample_electrons(COILS, 3, 1, start=5)
    np.testing.assert_array_equal(part.energy_ev, electrons.energy_ev[5:8])


def test_an_ensemble_that_the_trap_never_holds_is_refused() -> None:
    ensemble = dataclasses.replace(CONFIG.ensemble, radius_m=(6.9e-3, 7e-3))
    with pytest.raises(UserError, match=r"touching the wall: lower ensemble\.radius_m"):
        sample_electrons(dataclasses.replace(CONFIG, ensemble=ensemble), 3, 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"trapp": {}}, "did you mean 'trap'"),
        ({"trap": {"fieldt": 1.0}}, "did you mean 'field_t'"),
        ({"trap": {"kind": "bathtube"}}, "did you mean 'bathtub'"),
        ({"trap": {"kind": "coils"}}, "at least two coils"),
        ({"readout": {"samples": "many"}}, "must be of type int"),
        ({"ensemble": {"energy_ev": [18_700, 18_500]}}, "rising values"),
        ({"ensemble": {"radius_m": [0, 0.1]}}, "beyond cavity.radius_m"),
        ({"cavity": []}, "table of keys"),
    ],
)
def test_mistakes_in_the_configuration(content: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SimulationConfig.from_dict(content)


def test_configurations_in_files(tmp_path: Path) -> None:
    for path in simulations():
        config = SimulationConfig.from_yaml(path)
        assert SimulationConfig.from_dict(config.to_dict()) == config
    with pytest.raises(UserError, match="cannot be read"):
        SimulationConfig.from_yaml(tmp_path / "none.yaml")
