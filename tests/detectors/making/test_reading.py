"""Event files read back: any slice, beside what was written; and files that are none."""

from __future__ import annotations

import dataclasses

import h5py
import numpy as np
import pytest
import shipped
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_detectors import COLLISIONS, made_up, write_made_up

from collider.detectors import DetectorEvents
from collider.detectors.schema import TABLES
from collider.generation.wheels import wheel
from reconstruction.errors import UserError


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_what_is_written_is_read(tmp_path_factory, data):
    """Any numbers of rows, none too, in any slice, over two files."""
    folder = tmp_path_factory.mktemp("ragged")
    files, events = [], 0
    for number in range(2):
        count = data.draw(st.integers(0 if number else 1, 4))
        counts = {table: np.array(data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count)), dtype=int)
                  for table in TABLES}  # fmt: skip
        columns = made_up(counts, number)
        columns["event_id"] = columns["event_id"] + 1000 * number
        write_made_up(folder / f"{number}.hdf5", columns)
        files.append((counts, columns))
        events += count
    start, stop = data.draw(st.integers(0, events)), data.draw(st.integers(0, events))
    part = DetectorEvents(folder)[start:stop]
    assert len(part) == max(0, stop - start)
    rows = [(file, i) for file in files for i in range(len(file[1]["event_id"]))][start:stop]
    for table, own in TABLES.items():
        assert part[table].counts.tolist() == [int(file[0][table][i]) for file, i in rows]
        for column in own:
            wanted = [
                file[1][f"{table}/{column.name}"][slice(*file[1][f"{table}/offsets"][i : i + 2])] for file, i in rows
            ]
            got = part[table][column.name]
            np.testing.assert_array_equal(got, np.concatenate(wanted) if wanted else got[:0])


def test_what_the_page_shows_runs(folder, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "detectors").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    page = (shipped.ROOT / "docs/howto/detectors.md").read_text()
    shown = {}
    exec(page.partition("```py\n")[2].partition("```")[0], shown)
    assert len(shown["part"]) == 5


def test_one_event_at_a_place(folder):
    events = DetectorEvents(folder)
    last = events[-1]
    assert len(last) == 1
    assert last.columns["event_id"] == events.column("event_id")[-1]
    np.testing.assert_array_equal(last["tracks"]["d0_mm"], events[8:9]["tracks"]["d0_mm"])
    with pytest.raises(IndexError):
        events[9]
    assert sum(1 for _ in events) == 9


def test_rows_as_awkward_lists(folder):
    part = DetectorEvents(folder).read(slice(2, 5), ["tracks", "particles"])
    lists = part["tracks"].awkward()
    assert wheel("awkward").num(lists, axis=1).tolist() == part["tracks"].counts.tolist()
    assert lists.covariance.ndim == 3


@pytest.fixture
def small(tmp_path):
    """A file of two made-up events."""
    write_made_up(tmp_path / "one.hdf5", made_up({table: np.array([2, 1]) for table in TABLES}, 1))
    return tmp_path / "one.hdf5"


def test_columns_of_unequal_length_are_refused(small):
    with h5py.File(small, "a") as file:
        del file["tracks/chi2"]
        file["tracks/chi2"] = np.zeros(2)
    with pytest.raises(UserError, match=r"tracks/chi2 has 2 rows, and tracks/offsets says 3"):
        DetectorEvents(small)
    with h5py.File(small, "a") as file:
        del file["missing_px_gev"]
        file["missing_px_gev"] = np.zeros(5)
    with pytest.raises(UserError, match=r"missing_px_gev has 5 rows for 2 events"):
        DetectorEvents(small)


@pytest.mark.parametrize("offsets", [[0, 2], [0, 3, 2], [1, 2, 3]])
def test_offsets_that_are_none_are_refused(small, offsets):
    with h5py.File(small, "a") as file:
        del file["segments/offsets"]
        file["segments/offsets"] = np.array(offsets)
    with pytest.raises(UserError, match="must be 3 numbers that rise"):
        DetectorEvents(small)


def test_a_table_that_is_gone_is_told(small):
    with h5py.File(small, "a") as file:
        del file["clusters"]
    with pytest.raises(UserError, match="is not whole"):
        DetectorEvents(small)


def test_a_truncated_file_is_told(small):
    content = small.read_bytes()
    small.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"one.hdf5 is not whole"):
        DetectorEvents(small)


def test_what_changes_behind_an_open_folder_is_told_and_only_what_is_asked_is_read(small):
    events = DetectorEvents(small)
    with h5py.File(small, "a") as file:
        del file["weight"]
    assert events.column("event_id").tolist() == [0, 1]
    with pytest.raises(UserError, match=r"one.hdf5 cannot be read .*weight.*make it again"):
        events.column("weight")


def test_a_process_that_the_file_does_not_name_is_told(small):
    with h5py.File(small, "a") as file:
        file["process"][1] = 3
    with pytest.raises(UserError, match="column process says 3 of 1"):
        DetectorEvents(small)[0:2]


def test_other_detectors_in_one_folder_are_refused(small):
    other = dataclasses.replace(COLLISIONS, least_pt_gev=0.4)
    columns = made_up({table: np.array([1]) for table in TABLES}, 1) | {"event_id": np.array([77])}
    write_made_up(small.parent / "two.hdf5", columns, other)
    with pytest.raises(UserError, match=r"two.hdf5 is of other detectors.*they differ in least_pt_gev"):
        DetectorEvents(small.parent)


def test_an_event_in_two_files_is_refused(small):
    (small.parent / "two.hdf5").write_bytes(small.read_bytes())
    with pytest.raises(UserError, match=r"event 0 is in .*one.hdf5 and in .*two.hdf5"):
        DetectorEvents(small.parent)


def test_what_is_no_file_of_events(tmp_path, small):
    with h5py.File(tmp_path / "foreign.hdf5", "w") as file:
        file["x"] = 1
    for source, words in (
        (tmp_path / "none.hdf5", "there is no such file"),
        (tmp_path / "foreign.hdf5", "is no file of events in detectors"),
        (tmp_path / "no_*.hdf5", "there is no HDF5 file of events"),
        ([], "there is no HDF5 file of events"),
    ):
        with pytest.raises(UserError, match=words):
            DetectorEvents(source)
    events = DetectorEvents(str(tmp_path / "on*.hdf5"))
    for ask, words in (
        (lambda: events[0:2]["track"], "no table 'track' .*did you mean 'tracks'"),
        (lambda: events[0:2]["tracks"]["chi"], "no column 'chi'"),
        (lambda: events.column("weigth"), "no column 'weigth'"),
        (lambda: events[0:2:2], "without a step"),
    ):
        with pytest.raises(UserError, match=words):
            ask()
