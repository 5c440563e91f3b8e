"""Bad files, rows and disks: each is named in one sentence or left out, and what was there stays."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import random
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest
from frames import assert_holds, make_frame, write_frames

from cres import schema
from cres.data.pickles.source import read_source
from cres.data.prepare.hdf5_writer import require_space
from cres.data.prepare.preparation import prepare
from cres.data.records import open_records
from cres.data.settings import StagingSettings
from cres.errors import UserError

SKIP = StagingSettings(skip_bad=True)


# Bad input ---------------------------------------------------------------------------------------------------------


def spoil(frame: pd.DataFrame, row: int, column: str, value: object) -> pd.DataFrame:
    frame = frame.astype({column: object})
    frame.at[row, column] = value
    return frame


def with_nan(frame: pd.DataFrame) -> pd.DataFrame:
    series = frame.at[4, schema.SERIES_Q].copy()
    series[3] = np.nan
    return spoil(frame, 4, schema.SERIES_Q, series)


BAD_FRAMES = {
    "NaN in a series": (with_nan, "row 4, column output_ts_Q: holds NaN or infinity"),
    "infinite volts": (
        lambda frame: spoil(frame, 4, schema.SERIES_I, np.full(64, np.inf, "f4")),
        "row 4, column output_ts_I: holds NaN or infinity",
    ),
    "volts beyond float32": (
        lambda frame: spoil(frame, 4, schema.SERIES_I, np.full(64, 1e300)),
        "row 4, column output_ts_I: holds NaN or infinity",
    ),
    "NaN in a target": (
        lambda frame: spoil(frame, 4, schema.ENERGY, np.nan),
        "row 4, column energy_eV: holds NaN or infinity",
    ),
    "None in a target": (
        lambda frame: spoil(frame, 4, schema.ENERGY, None),
        "row 4, column energy_eV: holds NaN or infinity",
    ),
    "energy in keV": (
        lambda frame: spoil(frame, 4, schema.ENERGY, 18.6),
        "row 4, column energy_eV: is 18.6 eV, outside 100 to 1e+06 eV (is the unit right?)",
    ),
    "carrier in GHz": (
        lambda frame: spoil(frame, 4, schema.CARRIER_FREQUENCY, 25.9),
        "row 4, column avg_carrier_frequency_Hz: is 25.9 Hz",
    ),
    "ragged row": (
        lambda frame: spoil(frame, 4, schema.SERIES_I, np.zeros(63, "f4")),
        "row 4, column output_ts_I: has 63 samples, the other rows have 64",
    ),
    "no series": (lambda frame: spoil(frame, 4, schema.SERIES_I, None), "row 4, column output_ts_I: is empty"),
    "series of two dimensions": (
        lambda frame: spoil(frame, 4, schema.SERIES_I, np.zeros((8, 8), "f4")),
        "row 4, column output_ts_I: has 2 dimensions instead of 1",
    ),
    "broken event id": (
        lambda frame: spoil(frame, 4, schema.EVENT_ID, 2.5).astype({schema.EVENT_ID: float}),
        "row 4, column event_id: is 2.5, which is no int64",
    ),
    "repeated event id": (lambda frame: spoil(frame, 4, schema.EVENT_ID, 3), "row 4 has the event_id of"),
    "repeated electron": (
        lambda frame: spoil(
            spoil(frame, 4, schema.SERIES_I, frame.at[1, schema.SERIES_I]),
            4,
            schema.SERIES_Q,
            frame.at[1, schema.SERIES_Q],
        ),
        "row 4 is the same electron as",
    ),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_a_bad_row_is_named_or_left_out(tmp_path, name):
    spoiled, words = BAD_FRAMES[name]
    frame = make_frame(9, 1)
    spoiled(frame).to_pickle(tmp_path / "bad.pkl.gz")
    with pytest.raises(UserError) as raised:
        prepare([tmp_path / "bad.pkl.gz"], tmp_path / "cres.hdf5")
    assert words in str(raised.value)
    assert f"{tmp_path / 'bad.pkl.gz'}" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "cres.hdf5").exists()
    result = prepare([tmp_path / "bad.pkl.gz"], tmp_path / "cres.hdf5", settings=SKIP)
    assert_holds(tmp_path / "cres.hdf5", frame.drop(index=4))
    assert len(result.skipped) == 1
    assert result.report is not None
    assert words in result.report.read_text()
    with h5py.File(tmp_path / "cres.hdf5", "r") as file:
        assert words in json.loads(file.attrs["skipped"])[0]


def damaged_files(frame: pd.DataFrame) -> dict[str, tuple[bytes, str]]:
    good = gzip.compress(pickle.dumps(frame))
    packed = lambda value: gzip.compress(pickle.dumps(value))  # noqa: E731
    return {
        "empty": (b"", "is empty"),
        "no gzip": (b"energy,pitch\n1,2\n", "is no gzip file"),
        "truncated": (good[:-5], "is damaged: the gzip stream is truncated"),
        "half": (good[: len(good) // 2], "is damaged: the gzip stream is truncated"),
        "no trailer": (good[:-8], "is damaged: the gzip stream is truncated"),
        "bytes behind": (good + b"xx", "bytes follow the end"),
        "flipped": (good[:3000] + bytes([good[3000] ^ 4]) + good[3001:], "is damaged"),
        "corrupt pickle": (gzip.compress(pickle.dumps(frame)[:-40]), "is refused: it is damaged"),
        "no series": (packed(frame.drop(columns=schema.SERIES_Q)), "column output_ts_Q: is missing"),
        "no rows": (packed(frame.iloc[:0]), "column output_ts_I: has no rows"),
        "texts": (packed(frame.astype({schema.ENERGY: str})), "column energy_eV: holds texts where numbers"),
        "complex": (
            packed(frame.assign(output_ts_I=[1j * row for row in frame["output_ts_I"]])),
            "column output_ts_I: is complex",
        ),
        "other length": (packed(make_frame(5, 9, samples=32, first_event=70)), "has 32 values a row in output_ts_I"),
        "extra column": (packed(make_frame(5, 9, first_event=70).assign(more=1.0)), "has a column more, which"),
        "missing column": (
            packed(make_frame(5, 9, first_event=70).drop(columns=schema.RADIUS)),
            "has no column radius_m, which",
        ),
        "unequal arrays": (packed({"output_ts_I": np.zeros((3, 4)), "output_ts_Q": np.zeros((2, 4))}), "has 2 rows"),
    }


@pytest.mark.parametrize("name", damaged_files(make_frame(9, 1)))
def test_a_bad_file_is_named_or_left_out(tmp_path, name):
    good = make_frame(9, 1)
    content, words = damaged_files(good)[name]
    good.to_pickle(tmp_path / "a.pkl.gz")
    (tmp_path / "b.pkl.gz").write_bytes(content)
    (tmp_path / "cres.hdf5").write_bytes(b"earlier output")
    with pytest.raises(UserError) as raised:
        prepare([tmp_path], tmp_path / "cres.hdf5")
    assert words in str(raised.value)
    assert "b.pkl.gz" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert (tmp_path / "cres.hdf5").read_bytes() == b"earlier output"
    result = prepare([tmp_path], tmp_path / "cres.hdf5", settings=SKIP)
    assert_holds(tmp_path / "cres.hdf5", good)
    assert len(result.skipped) == 1


def test_an_earlier_report_goes_when_nothing_is_left_out(tmp_path, raw):
    (tmp_path / "cres.hdf5.skipped.txt").write_text("of an earlier run")
    prepare([tmp_path / "raw"], tmp_path / "cres.hdf5")
    assert not (tmp_path / "cres.hdf5.skipped.txt").exists()


def test_when_nothing_is_left_it_says_so(tmp_path):
    (tmp_path / "a.pkl.gz").write_bytes(b"")
    with pytest.raises(UserError, match=r"no row is left: .*a.pkl.gz is empty"):
        prepare([tmp_path], tmp_path / "cres.hdf5", settings=SKIP)


def test_ids_that_repeat_can_be_made_anew(tmp_path):
    for number in range(2):
        make_frame(5, number).to_pickle(tmp_path / f"{number}.pkl.gz")
    with pytest.raises(UserError, match=r"has the event_id of .* or number the events anew with --new-event-ids"):
        prepare([tmp_path], tmp_path / "cres.hdf5")
    prepare([tmp_path], tmp_path / "cres.hdf5", settings=StagingSettings(new_event_ids=True))
    assert len(set(open_records(tmp_path / "cres.hdf5").event_ids)) == 10


def test_sampling_rates_that_differ_are_refused(tmp_path):
    for number, rate in enumerate((403e6, 200e6)):
        frame = make_frame(3, number, first_event=10 * number)
        frame.attrs["sampling_rate_hz"] = rate
        frame.to_pickle(tmp_path / f"{number}.pkl.gz")
    with pytest.raises(UserError, match=r"sampling_rate_hz is 4.03e\+08 in .*0.pkl.gz and 2e\+08 in .*1.pkl.gz"):
        prepare([tmp_path], tmp_path / "cres.hdf5")


def refusal(path: Path) -> str | None:
    try:
        read_source(path)
    except UserError as error:
        return str(error)
    return None


def test_three_hundred_flipped_bits(tmp_path):
    """Each is refused, or the data are identical: a few bits of the gzip header carry none."""
    frame = make_frame(6, 1)
    good = gzip.compress(pickle.dumps(frame))
    path = tmp_path / "a.pkl.gz"
    generator = random.Random(1)
    refused = 0
    for flip in generator.sample(range(8 * len(good)), 290) + generator.sample(range(8 * 10), 10):
        flipped = bytearray(good)
        flipped[flip // 8] ^= 1 << flip % 8
        path.write_bytes(flipped)
        sentence = refusal(path)
        refused += sentence is not None
        if sentence is None:
            columns = read_source(path).columns.cells
            for name in frame:
                np.testing.assert_array_equal(np.stack(list(columns[name])), np.stack(list(frame[name])))
        else:
            assert "\n" not in sentence
    assert refused >= 285


# The disk ----------------------------------------------------------------------------------------------------------


def test_an_output_that_cannot_be_written(tmp_path, raw):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        prepare([tmp_path / "raw"], tmp_path / "file" / "cres.hdf5")
    with pytest.raises(UserError, match="is a folder"):
        prepare([tmp_path / "raw"], tmp_path)


def test_a_disk_that_is_nearly_full_is_noticed_before_writing(tmp_path, monkeypatch, raw):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5))
    with pytest.raises(UserError, match="MB free"):
        prepare([tmp_path / "raw"], tmp_path / "cres.hdf5")
    with pytest.raises(UserError, match="0 MB free and 1 MB are needed"):
        require_space(tmp_path, {}, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.parametrize("look", [True, False], ids=["seen before", "met while writing"])
def test_a_full_disk(tmp_path, monkeypatch, look):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        write_frames(tmp_path / "small", files=1)
        prepare([tmp_path / "small"], disk / "cres.hdf5")
        before = (disk / "cres.hdf5").read_bytes()
        make_frame(100, 1, samples=4096).to_pickle(tmp_path / "large.pkl.gz")
        if not look:
            monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 40))
        with pytest.raises(UserError, match="MB free" if look else "is full") as raised:
            prepare([tmp_path / "large.pkl.gz"], disk / "cres.hdf5")
        assert "\n" not in str(raised.value)
        assert (disk / "cres.hdf5").read_bytes() == before
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_reader_of_the_earlier_output_is_not_disturbed(tmp_path, raw):
    """HDF5 itself would truncate the file before it noticed the reader's lock."""
    prepare([tmp_path / "raw" / "electrons_00000.pkl.gz"], tmp_path / "cres.hdf5")
    with h5py.File(tmp_path / "cres.hdf5", "r") as reader:
        prepare([tmp_path / "raw"], tmp_path / "cres.hdf5")
        assert reader[schema.ENERGY].shape == (10,)
    assert_holds(tmp_path / "cres.hdf5", raw)


def test_two_preparations_of_one_output_do_not_mix(tmp_path, raw):
    holder = (
        "import sys, time; from pathlib import Path; from cres.data.prepare.preparation import staging_folder\n"
        "with staging_folder(Path(sys.argv[1]), alone=True): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path / "cres.hdf5")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another preparation is writing"):
            prepare([tmp_path / "raw"], tmp_path / "cres.hdf5")
    finally:
        process.kill()
        process.communicate()
    assert prepare([tmp_path / "raw"], tmp_path / "cres.hdf5").rows == 33
