"""Records: rows and windows are those of the files, in any layout, process and order."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import h5py
import numpy as np
import pytest
from frames import write_frames

from cres import schema
from cres.data.prepare.preparation import prepare
from cres.data.records import open_records
from cres.data.settings import Assembly
from cres.errors import UserError


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reading")
    frame = write_frames(folder / "raw", files=3, rows=20, samples=256)
    prepare([folder / "raw"], folder / "cres.hdf5")
    return folder, frame


def volts(frame) -> np.ndarray:
    return np.stack([np.stack(list(frame[name])) for name in schema.SERIES_COLUMNS], axis=-1)


@pytest.mark.parametrize(
    "assembly",
    [Assembly(), Assembly(plain=True), Assembly(compression="gzip"), Assembly(shard_rows=8)],
    ids=["ours", "plain", "compressed", "shards"],
)
@pytest.mark.filterwarnings("ignore:.*does not say how it was recorded")
def test_any_rows_in_any_order_and_any_window(tmp_path, assembly):
    frame = write_frames(tmp_path / "raw", files=2, rows=20, samples=256)
    result = prepare([tmp_path / "raw"], tmp_path / "cres.hdf5", assembly=assembly)
    records, expected = open_records(result.outputs[-1]), volts(frame)
    for rows in ([0], [40, 3, 3, 17], list(range(41)), list(range(40, -1, -1)), []):
        np.testing.assert_array_equal(records.read_series(rows), expected[rows])
        np.testing.assert_array_equal(records.read_series(rows, 10, 33), expected[rows, 10:43])
    rows, starts = np.array([5, 39, 6]), np.array([0, 200, 56])
    windows = np.stack([expected[row, start : start + 56] for row, start in zip(rows, starts, strict=True)])
    np.testing.assert_array_equal(records.read_series(rows, starts, 56), windows)
    for wrong in (lambda: records.read_series([41]), lambda: records.read_series([0], 250, 7)):
        with pytest.raises(IndexError):
            wrong()


def test_direct_reading_equals_reading_through_hdf5(prepared):
    """The slow twin: the file's own library."""
    folder, frame = prepared
    rows = np.random.default_rng(1).permutation(len(frame))
    with h5py.File(folder / "cres.hdf5", "r") as file:
        slow = np.stack([np.stack([file[name][row] for row in rows]) for name in schema.SERIES_COLUMNS], axis=-1)
    np.testing.assert_array_equal(open_records(folder / "cres.hdf5").read_series(rows), slow)


@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<i2"])
def test_foreign_files_in_other_types(tmp_path, dtype):
    series = np.arange(40).reshape(2, 20)
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        for name in schema.SERIES_COLUMNS:
            file[name] = series.astype(dtype)
        file[schema.ENERGY] = np.array([18500, 18600], "f4")
    with pytest.warns(UserWarning, match="assumed: sampling rate 403 MHz, oscillator 25.9702 GHz") as caught:
        records = open_records(tmp_path / "a.hdf5")
    assert len(caught) == 1
    np.testing.assert_array_equal(records.read_series([1, 0])[..., 0], series[[1, 0]])
    assert records.scalar(schema.ENERGY).dtype == np.float64
    assert len(set(records.event_ids)) == 2


def test_a_file_that_is_cut_meanwhile_gives_a_sentence(prepared, tmp_path):
    folder, _ = prepared
    path = tmp_path / "cut.hdf5"
    path.write_bytes((folder / "cres.hdf5").read_bytes())
    records = open_records(path)
    records.read_series([0])
    with path.open("r+b") as file:
        file.truncate(20_000)
    with pytest.raises(UserError, match="is shorter than it says"):
        records.read_series(np.arange(len(records)))


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_open_records_travel_to_other_processes(prepared, method):
    folder, frame = prepared
    records = open_records(folder / "cres.hdf5")
    records.read_series([1])
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        np.testing.assert_array_equal(pool.submit(records.read_series, [0]).result(), volts(frame)[:1])
    records.close()
    np.testing.assert_array_equal(records.read_series([1]), volts(frame)[1:2])


def write_plain(path, samples=16, rows=2, **columns) -> None:
    with h5py.File(path, "w") as file:
        for name in schema.SERIES_COLUMNS:
            file[name] = np.random.default_rng(rows).normal(size=(rows, samples)).astype("f4")
        for name, values in columns.items():
            file[name] = values
        file.attrs.update(sampling_rate_hz=403e6, lo_frequency_hz=25.9702e9)


def test_files_that_do_not_fit_together_are_named_at_once(tmp_path):
    write_plain(tmp_path / "a.hdf5")
    write_plain(tmp_path / "b.hdf5", samples=17)
    with pytest.raises(UserError, match=r"b.hdf5 holds 17 samples a series, .*a.hdf5 16"):
        open_records(tmp_path)
    write_plain(tmp_path / "b.hdf5", energy_eV=np.array([1e4, 1e4]))
    with pytest.raises(UserError, match=r"b.hdf5 has a column energy_eV, .*a.hdf5 has not"):
        open_records([tmp_path / "a.hdf5", tmp_path / "b.hdf5"])
    write_plain(tmp_path / "b.hdf5")
    with h5py.File(tmp_path / "b.hdf5", "a") as file:
        file.attrs["sampling_rate_hz"] = 200e6
    with pytest.raises(UserError, match="sampling_rate_hz is"):
        open_records(str(tmp_path / "*.hdf5"))
    write_plain(tmp_path / "b.hdf5", energy_eV=np.zeros(3))
    with pytest.raises(UserError, match=r"holds energy_eV of shape \(3,\)"):
        open_records(tmp_path / "b.hdf5")
    with h5py.File(tmp_path / "b.hdf5", "w") as file:
        file["x"] = [1]
    with pytest.raises(UserError, match="has no series output_ts_I; its columns are x"):
        open_records(tmp_path / "b.hdf5")
    (tmp_path / "b.hdf5").write_bytes(b"nothing")
    for data, words in [
        (tmp_path / "b.hdf5", "cannot be read as HDF5"),
        (tmp_path / "missing.hdf5", r"there is no file .*scripts/data_prep.py"),
        (tmp_path / "missing*.hdf5", "there is no file"),
        ([], "no data files are named"),
    ]:
        with pytest.raises(UserError, match=words):
            open_records(data)


@pytest.mark.filterwarnings("ignore:.*does not say how it was recorded")
@pytest.mark.parametrize("by_folder", [True, False])
def test_a_shard_that_is_missing_or_changed_is_noticed(tmp_path, by_folder):
    write_frames(tmp_path / "raw")
    output = tmp_path / "out" / "cres.hdf5"
    shards = prepare([tmp_path / "raw"], output, assembly=Assembly(shard_rows=11)).outputs
    data = output.parent if by_folder else output
    assert len(open_records(data)) == 33
    content = shards[1].read_bytes()
    shards[1].write_bytes(shards[0].read_bytes())
    with pytest.raises(UserError, match="does not hold the electrons that its index lists"):
        open_records(data)
    shards[1].unlink()
    with pytest.raises(UserError, match=r"cres.index.json lists the shard cres-00001-.*, which is missing"):
        open_records(data)
    shards[1].write_bytes(content)
    (output.parent / "cres.index.json").write_text("{}")
    with pytest.raises(UserError, match="is no index of shards"):
        open_records(data)
