"""Files of events: who makes them, what they say of themselves, the command, and configurations."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import shipped
from made_detectors import COLLISIONS, QCD, Z, made_up, write_made_up

from collider.detectors import DetectorEvents
from collider.detectors.command import expected, holds_processes, main
from collider.detectors.making.config import DetectorSample
from collider.detectors.making.files import event_files, write_event_file
from collider.detectors.schema import TABLES
from collider.generation import Process
from collider.generation.config import config_path
from reconstruction.errors import UserError

NOWHERE = Path("none")


def test_who_makes_the_files_changes_nothing(folder, tmp_path):
    """Split among workers, in any order: the bytes are the same."""
    again = event_files(COLLISIONS, 9, tmp_path, 3)[::-1]
    assert sorted(file.path.name for file in again) == sorted(path.name for path in folder.glob("*.hdf5"))
    assert write_event_file(again[0]) > 0
    assert again[0].path.read_bytes() == (folder / again[0].path.name).read_bytes()


def test_other_events_in_the_place_are_refused(folder):
    file = event_files(COLLISIONS, 9, folder, 3)[0]
    assert write_event_file(file) == 0
    more = dataclasses.replace(COLLISIONS, processes=(Z, QCD, dataclasses.replace(QCD, name="other")))
    assert write_event_file(dataclasses.replace(file, sample=more)) == 0  # other processes make no difference
    for other in (dataclasses.replace(COLLISIONS, seed=4), dataclasses.replace(COLLISIONS, least_pt_gev=0.5)):
        with pytest.raises(UserError, match="holds other events"):
            write_event_file(dataclasses.replace(file, sample=other))


def test_provenance_and_manifest(folder):
    with h5py.File(folder / "z_0000.hdf5") as file:
        assert {"config", "seed", "git_commit", "created_by", "libraries", "generated", "layout"} <= set(file.attrs)
        assert file["tracks/d0_mm"].attrs["units"] == "mm"
        assert file["clusters/energy_gev"].attrs["units"] == "GeV"
        assert file["missing_px_gev"].attrs["units"] == "GeV"
    told = json.loads((folder / "events.json").read_text())["processes"]
    assert {name: one["events"] for name, one in told.items()} == {"z": 6, "qcd": 3}
    assert told["z"]["files"] == ["z_0000.hdf5", "z_0001.hdf5"]
    events = DetectorEvents(folder)
    sums = np.bincount(events.column("process"), events.weight_pb)
    np.testing.assert_allclose(sums, [told[name]["cross_section_pb"] for name in events.processes], rtol=1e-6)
    assert len(np.unique(events.column("event_id"))) == 9


def test_events_are_shared_among_processes():
    counts = DetectorSample((Z, QCD, dataclasses.replace(Z, name="a"))).counts(8)
    assert sorted(counts.values()) == [2, 3, 3]
    assert COLLISIONS.counts(9) == {"z": 6, "qcd": 3}
    assert COLLISIONS.counts(1) == {"z": 1, "qcd": 0}
    assert [file.path.name for file in event_files(COLLISIONS, 9, NOWHERE, 3)] == [
        "z_0000.hdf5", "qcd_0000.hdf5", "z_0001.hdf5",
    ]  # fmt: skip


def test_the_command_tells_makes_and_goes_on(wheels, tmp_path, monkeypatch, capsys):
    config = tmp_path / "mine.yaml"
    config.write_text(
        "processes:\n  - {name: z, subprocesses: ['WeakSingleBoson:ffbar2gmZ'], underlying_event: false}\n"
        "tables: [particles, tracks]\n"
    )
    monkeypatch.setattr(
        sys,
        "argv",
        ["detectors", "--events", "2", "--workers", "1", "-c", str(config), "--output", str(tmp_path / "out")],
    )
    assert main() == 0
    first = capsys.readouterr().out
    assert "2 events to make: about 1 min with 1 worker" in first
    assert main() == 0
    assert "there already" in capsys.readouterr().out
    events = DetectorEvents(tmp_path / "out")
    assert events.tables == ("particles", "tracks")
    with pytest.raises(UserError, match=r"no table 'clusters'.*there are particles, tracks"):
        events.read(slice(0, 1), ["clusters"])


def test_the_last_task_of_an_array_writes_the_manifest(tmp_path, monkeypatch, capsys):
    def write(files, workers, said):
        for file in files:
            write_made_up(file.path, made_up({table: np.array([1]) for table in TABLES}, 1), file.sample)

    monkeypatch.setattr("collider.detectors.command.write_event_files", write)
    command = ["detectors", "--events", "5", "--workers", "1", "--output", str(tmp_path)]
    for number, said in (
        (0, "2 of 5 files are not there yet; events.json is written with the last"),
        (1, "events.json"),
    ):
        assert not (tmp_path / "events.json").exists()
        monkeypatch.setattr(sys, "argv", [*command, "--task", f"{number}/2"])
        assert main() == 0
        assert said in capsys.readouterr().out
    assert len(json.loads((tmp_path / "events.json").read_text())["processes"]) == 5


@pytest.mark.parametrize("path", shipped.detector_samples(), ids=lambda path: path.stem)
def test_the_shipped_sample_is_one(path):
    assert config_path(path.stem, "detectors", "set of events", holds_processes) == path
    sample = DetectorSample.from_yaml(path)
    assert {"ttbar", "w", "qcd"} <= set(sample.names)
    assert "8000 events" in expected(event_files(sample, 8000, NOWHERE), 2)


def test_disk_is_told_of_what_is_written():
    """A folder of all tables, and one of a single table."""
    for tables, size in ((tuple(TABLES), "160 MB"), (("tracks",), "36 MB")):
        sample = dataclasses.replace(COLLISIONS, tables=tables)
        assert expected(event_files(sample, 8000, NOWHERE), 2).endswith(size)


NAMED = "processes: [{name: z, subprocesses: ['a:b']}]\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("share: {z: 1}", "names its processes"),
        ("processes: []", "names its processes"),
        ("processes: [{subprocesses: ['Top:gg2ttbar']}]", "Process lacks 'name'"),
        (f"{NAMED}share: {{zz: 1}}", "share names the process 'zz'.*'z'"),
        (f"{NAMED}share: {{z: 0}}", "shares of all processes are 0"),
        (f"{NAMED}tables: [track]", "no table 'track'"),
        (f"{NAMED}muon: {{}}", "unknown key 'muon'"),
        (f"{NAMED}calorimeters: {{ecal: {{ring: 3}}}}", "unknown key 'ring'"),
        ("processes: [{name: z, subprocesses: ['a:b']}, {name: z, subprocesses: ['a:b']}]", "one name each"),
        (f"{NAMED}least_pt_gev: .nan", "least_pt_gev"),
        (f"{NAMED}muons: {{coil_radius_mm: 2000}}", "coil_radius_mm.* 2950"),
        (f"{NAMED}muons: {{coil_half_length_mm: -5}}", "coil_half_length_mm.* 5060"),
        (f"{NAMED}calorimeters: {{ecal: {{half_length_mm: 2600}}}}", "tracker's.* 2600"),
    ],
)
def test_configurations_that_mean_nothing(tmp_path, text, words):
    path = tmp_path / "mine.yaml"
    path.write_text(text + "\n")
    with pytest.raises(UserError, match=f"mine.yaml: .*{words}"):
        DetectorSample.from_yaml(path)


def test_an_unknown_process_and_an_unknown_set_are_told(wheels, tmp_path):
    with pytest.raises(UserError, match=r"no set of events 'event'.*events"):
        config_path("event", "detectors", "set of events", holds_processes)
    wrong = dataclasses.replace(COLLISIONS, processes=(Process("z", ("WeakSingleBoson:ffbar2gmZZ",)),), share={})
    with pytest.raises(UserError, match=r"Pythia 8 does not know `WeakSingleBoson:ffbar2gmZZ = on`"):
        write_event_file(event_files(wrong, 1, tmp_path)[0])
    assert not list(tmp_path.iterdir())
