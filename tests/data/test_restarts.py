"""Preparation is killed, changed, divided and repeated."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from frames import assert_holds, make_frame, run_script, write_frames

from cres.data.prepare.preparation import prepare, stage_task
from cres.data.settings import Assembly
from cres.errors import UserError

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "data_prep.py"
INDEPENDENT = ROOT.parent / "shared" / "data" / "independent_simulation.pkl.gz"


# Restarting --------------------------------------------------------------------------------------------------------


def test_killed_at_ten_moments_it_finishes_the_same_data(tmp_path):
    frame = write_frames(tmp_path / "raw", files=6, rows=40, samples=2048)
    prepare([tmp_path / "raw"], tmp_path / "undisturbed.hdf5")
    command = [sys.executable, str(SCRIPT), "--input", str(tmp_path / "raw"), "--workers", "2", "--output"]
    start = time.monotonic()
    subprocess.run([*command, str(tmp_path / "timed.hdf5")], check=True, capture_output=True)
    whole = time.monotonic() - start
    output = tmp_path / "out" / "cres.hdf5"
    generator = random.Random(2)
    for _ in range(10):
        process = subprocess.Popen([*command, str(output)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        time.sleep(generator.uniform(0.3, 1.05) * whole)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if output.exists():  # then it is whole
            assert_holds(output, frame)
            output.unlink()
    result = run_script("--input", tmp_path / "raw", "--output", output)
    assert result.returncode == 0, result.stderr
    with h5py.File(output, "r") as ours, h5py.File(tmp_path / "undisturbed.hdf5", "r") as theirs:
        assert set(ours) == set(theirs)
        for name in ours:
            np.testing.assert_array_equal(ours[name][...], theirs[name][...])
        for name in set(ours.attrs) - {"git_commit"}:
            assert ours.attrs[name] == theirs.attrs[name]
    assert [path.name for path in output.parent.iterdir()] == ["cres.hdf5"]


def test_finished_parts_are_taken_changed_sources_are_read_again(tmp_path, raw):
    output = tmp_path / "cres.hdf5"
    (tmp_path / "raw" / "zzz.pkl.gz").write_bytes(b"")
    with pytest.raises(UserError, match="is empty"):
        prepare([tmp_path / "raw"], output)
    parts = sorted((tmp_path / ".cres.hdf5.parts").glob("*.part.hdf5"))
    assert len(parts) == 3
    times = {path: path.stat().st_mtime_ns for path in parts}
    changed = make_frame(4, 77, first_event=9000)
    changed.to_pickle(tmp_path / "raw" / "electrons_00001.pkl.gz")
    with pytest.raises(UserError, match="is empty"):
        prepare([tmp_path / "raw"], output)
    again = [path for path in parts if path.stat().st_mtime_ns != times[path]]
    assert len(again) == 1
    (tmp_path / "raw" / "zzz.pkl.gz").unlink()
    (tmp_path / ".cres.hdf5.parts" / "left.tmp").touch()
    parts[0].write_bytes(b"half a part")
    assert prepare([tmp_path / "raw"], output).rows == 10 + 4 + 12
    assert not (tmp_path / ".cres.hdf5.parts").exists()


def test_tasks_of_an_array_and_a_last_run_that_joins(tmp_path, raw):
    output = tmp_path / "cres.hdf5"
    assert sum(stage_task([tmp_path / "raw"], output, task=task, tasks=2) for task in range(2)) == 33
    assert not output.exists()
    assert len(list((tmp_path / ".cres.hdf5.parts").glob("*.part.hdf5"))) == 3
    assert_holds(prepare([tmp_path / "raw"], output, assembly=Assembly(shard_rows=20)).outputs[-1], raw)
    with pytest.raises(UserError, match="task 2 of 2 does not exist"):
        stage_task([tmp_path / "raw"], output, task=2, tasks=2)


def test_finished_shards_are_not_written_again(tmp_path, raw):
    output = tmp_path / "cres.hdf5"
    first = prepare([tmp_path / "raw"], output, assembly=Assembly(shard_rows=10))
    (tmp_path / "cres.index.json").unlink()
    first.outputs[1].unlink()
    times = [path.stat().st_mtime_ns for path in first.outputs[2:-1]]
    second = prepare([tmp_path / "raw"], output, assembly=Assembly(shard_rows=10))
    assert second.outputs == first.outputs
    assert [path.stat().st_mtime_ns for path in first.outputs[2:-1]] == times
    assert_holds(output, raw)


def test_another_layout_replaces_the_earlier_one(tmp_path, raw):
    for assembly, files in [
        (Assembly(shard_rows=10), 5),
        (Assembly(shard_rows=20), 3),
        (Assembly(), 1),
        (Assembly(shard_rows=0), 4),
    ]:
        prepare([tmp_path / "raw"], tmp_path / "out" / "cres.hdf5", assembly=assembly)
        assert len(list((tmp_path / "out").iterdir())) == files
        assert_holds(tmp_path / "out", raw)
