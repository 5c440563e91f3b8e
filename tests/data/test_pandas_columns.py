"""Columns as people who work with pandas save them: kept, converted, or left out by name, beside good ones."""

from __future__ import annotations

import bz2
import datetime
import decimal
import gzip
import io
import lzma
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from frames import assert_holds, make_frame, write_frames

from cres import schema
from cres.data.pickles.source import read_source
from cres.data.prepare.checking import check
from cres.data.prepare.preparation import prepare
from cres.data.records import open_records
from cres.data.settings import StagingSettings
from cres.errors import UserError

ROWS = 6
FOLDER = Path(__file__).parents[1] / "fixtures" / "pandas_columns"
SECONDS = pd.Timestamp("2026-01-01").timestamp() + 86400.0 * np.arange(ROWS)
DATES = pd.date_range("2026-01-01", periods=ROWS)
NAN = float("nan")


def write(path: Path, value: object, protocol: int = 4) -> Path:
    path.write_bytes(gzip.compress(pickle.dumps(value, protocol=protocol)))
    return path


KEPT = {
    "nullable integers": (pd.array([1, 2, 3, 4, 5, 6], dtype="Int64"), [1, 2, 3, 4, 5, 6]),
    "small nullable integers": (pd.array([1, 2, 3, 4, 5, 6], dtype="UInt8"), [1, 2, 3, 4, 5, 6]),
    "nullable integers with a gap": (pd.array([1, None, 3, 4, 5, 6], dtype="Int64"), [1, NAN, 3, 4, 5, 6]),
    "nullable floats": (pd.array([1.5, None, 3, 4, 5, 6], dtype="Float64"), [1.5, NAN, 3, 4, 5, 6]),
    "nullable truth": (pd.array([True, False] * 3, dtype="boolean"), [1, 0] * 3),
    "nullable truth with a gap": (pd.array([True, None] * 3, dtype="boolean"), [1, NAN] * 3),
    "NA among objects": (pd.Series([1, pd.NA, 3, 4, 5, 6], dtype=object), [1, NAN, 3, 4, 5, 6]),
    "decimals": (pd.Series([decimal.Decimal("1.5")] * ROWS), [1.5] * ROWS),
    "categories of texts": (pd.Categorical([*"abcabc"]), [b"a", b"b", b"c"] * 2),
    "categories with a gap": (pd.Categorical([*"abcab", None]), [b"a", b"b", b"c", b"a", b"b", b""]),
    "categories of numbers": (pd.Categorical([3, 4, 3, 4, 3, 4]), [3, 4] * 3),
    "nullable texts": (pd.array([*"abcdef"], dtype="string"), [*map(str.encode, "abcdef")]),
    "dates": (DATES, SECONDS),
    "dates in UTC": (DATES.tz_localize("UTC"), SECONDS),
    "dates of a zone": (DATES.tz_localize("UTC").tz_convert("Europe/Berlin"), SECONDS),
    "dates with a gap": (pd.Series([*DATES[:5], pd.NaT]), [*SECONDS[:5], NAN]),
    "dates of another unit": (DATES.as_unit("ms"), SECONDS),
    "dates as objects": (pd.Series(list(DATES.to_pydatetime()), dtype=object), SECONDS),
    "dates of an offset as objects": (
        pd.Series(
            [datetime.datetime(2026, 1, 1, 2, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))] * ROWS,
            dtype=object,
        ),
        [SECONDS[0]] * ROWS,
    ),
    "timestamps as objects": (pd.Series(list(DATES), dtype=object), SECONDS),
    "days": (pd.Series([datetime.date(2026, 1, 1)] * ROWS, dtype=object), [SECONDS[0]] * ROWS),
    "spans of time": (pd.to_timedelta(np.arange(ROWS), unit="s"), np.arange(ROWS)),
    "dates as categories": (pd.Categorical([*DATES[:5], pd.NaT]), [*SECONDS[:5], NAN]),
    "categories of a range": (pd.Categorical.from_codes([0, 1, 2, 0, 1, -1], pd.RangeIndex(3)), [0, 1, 2, 0, 1, NAN]),
}


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("name", KEPT)
def test_a_column_beside_good_ones_is_kept(tmp_path, name, protocol):
    column, expected = KEPT[name]
    frame = make_frame(ROWS, 1)
    write(tmp_path / "a.pkl.gz", frame.assign(extra=column), protocol)
    result = prepare([tmp_path], tmp_path / "out.hdf5")
    assert_holds(tmp_path / "out.hdf5", frame)
    stored = open_records(tmp_path / "out.hdf5").scalar("extra")
    np.testing.assert_array_equal(stored, np.array(expected))
    told = [note for note in result.notes if "column extra" in note]
    assert bool(told) == ("dates" in name or name in ("days", "timestamps as objects", "spans of time"))
    assert all("kept as seconds" in note for note in told)


LEFT_OUT = {
    "periods": pd.period_range("2026-01", periods=ROWS, freq="M"),
    "intervals": pd.interval_range(0, ROWS),
    "sparse numbers": pd.arrays.SparseArray([0, 0, 1, 0, 0, 1]),
    "times of day": pd.Series([datetime.time(12)] * ROWS, dtype=object),
    "dates among other things": pd.Series([DATES[0], 1.0] * 3, dtype=object),
    "nothing": pd.Series([None] * ROWS, dtype=object),
    "cells of type dict": pd.Series([{"run": 1}] * ROWS),
    "lists of texts": pd.Series([["a", "b"]] * ROWS),
    "categories of intervals": pd.cut(np.arange(ROWS), 2),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_no_column_can_be_is_left_out_by_name(tmp_path, name):
    frame = make_frame(ROWS, 1)
    write(tmp_path / "a.pkl.gz", frame.assign(extra=LEFT_OUT[name]))
    result = prepare([tmp_path], tmp_path / "out.hdf5")
    assert_holds(tmp_path / "out.hdf5", frame)
    assert "extra" not in open_records(tmp_path / "out.hdf5").columns
    assert f"column extra holds {name}: left out" in result.notes[0]
    assert str(tmp_path / "a.pkl.gz") in result.notes[0]


def test_an_id_that_is_missing_is_named(tmp_path):
    frame = make_frame(ROWS, 1).assign(event_id=pd.array([1, None, 3, 4, 5, 6], dtype="Int64"))
    write(tmp_path / "a.pkl.gz", frame)
    with pytest.raises(UserError, match="row 1, column event_id: is nan, which is no int64"):
        prepare([tmp_path], tmp_path / "out.hdf5")


def test_all_columns_converted_at_once(tmp_path):
    frame = make_frame(ROWS, 1)
    write(tmp_path / "a.pkl.gz", frame.convert_dtypes())
    prepare([tmp_path], tmp_path / "out.hdf5")
    assert_holds(tmp_path / "out.hdf5", frame)


LABELS = {
    "named, in a row": lambda f: f.set_index(schema.EVENT_ID),
    "named, in any order": lambda f: f.iloc[::-1].set_index(schema.EVENT_ID),
    "two levels": lambda f: f.assign(run=7).set_index(["run", schema.EVENT_ID]),
    "two levels, one a range": lambda f: f.assign(run=7).set_index(
        pd.MultiIndex.from_arrays([[7] * ROWS, range(500, 500 + ROWS)], names=["run", schema.EVENT_ID])
    ),
    "two levels, one of periods": lambda f: f.set_index(
        pd.MultiIndex.from_arrays([pd.period_range("2026", periods=ROWS), f[schema.EVENT_ID]])
    ),
    "two levels, one of dates": lambda f: f.set_index(
        pd.MultiIndex.from_arrays([DATES, f[schema.EVENT_ID]], names=["when", schema.EVENT_ID])
    ),
    "nullable": lambda f: f.astype({schema.EVENT_ID: "Int64"}).set_index(schema.EVENT_ID),
}


@pytest.mark.parametrize("name", LABELS)
def test_ids_as_row_labels_are_ids(tmp_path, name):
    frame = make_frame(ROWS, 1, first_event=500)
    write(tmp_path / "a.pkl.gz", LABELS[name](frame))
    prepare([tmp_path], tmp_path / "out.hdf5")
    records = open_records(tmp_path / "out.hdf5")
    assert sorted(records.event_ids) == list(range(500, 500 + ROWS))
    energies = dict(zip(records.event_ids, records.scalar(schema.ENERGY), strict=True))
    assert [energies[event] for event in frame[schema.EVENT_ID]] == list(frame[schema.ENERGY])
    if name in ("two levels", "two levels, one a range"):
        assert set(records.scalar("run")) == {7}
    if name == "two levels, one of dates":
        assert list(records.scalar("when")) == list(SECONDS)


@pytest.mark.parametrize(
    "labels", [DATES, pd.Index([*"abcdef"]), pd.Index([9, 7, 5, 3, 1, 0]), pd.CategoricalIndex([*"aabbcc"])]
)
def test_labels_without_a_name_are_no_column(tmp_path, labels):
    frame = make_frame(ROWS, 1)
    write(tmp_path / "a.pkl.gz", frame.set_index(labels))
    prepare([tmp_path], tmp_path / "out.hdf5")
    assert_holds(tmp_path / "out.hdf5", frame.reset_index(drop=True))


def arrays(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    return {name: np.stack(list(frame[name])) for name in frame}


def test_scalars_beside_arrays_in_a_dict(tmp_path):
    frame = make_frame(ROWS, 1).drop(columns=schema.ENERGY)
    value = arrays(frame) | {
        "sampling_rate_hz": 200e6,
        "lo_frequency_hz": np.float64(25.9e9),
        "seed": 5,
        schema.ENERGY: np.array(18600.0),
        "temperature_K": 4,
        "trap": "bathtub",
    }
    write(tmp_path / "a.pkl.gz", value)
    result = prepare([tmp_path], tmp_path / "out.hdf5")
    assert result.notes == ()
    records = open_records(tmp_path / "out.hdf5")
    assert (records.sampling_rate_hz, records.lo_frequency_hz) == (200e6, 25.9e9)
    assert records.files[0].attributes["seed"] == 5
    assert set(records.scalar(schema.ENERGY)) == {18600.0}
    assert set(records.scalar("temperature_K")) == {4}
    assert set(records.scalar("trap")) == {b"bathtub"}


def test_dates_and_what_is_no_array_beside_arrays_in_a_dict(tmp_path):
    frame = make_frame(ROWS, 1)
    value = arrays(frame) | {"when": pd.Timestamp("2026-01-01"), "notes": {"run": 7}, "nothing": None}
    write(tmp_path / "a.pkl.gz", value)
    result = prepare([tmp_path], tmp_path / "out.hdf5")
    assert_holds(tmp_path / "out.hdf5", frame)
    records = open_records(tmp_path / "out.hdf5")
    assert set(records.scalar("when")) == {SECONDS[0]}
    assert not {"notes", "nothing"} & set(records.columns)
    told = " ".join(result.notes)
    assert "column when holds a date or a span of time: kept as seconds" in told
    assert "column notes holds a dict, and no array: left out" in told
    assert "column nothing holds nothing, and no array: left out" in told


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_series_are_columns_and_cells(tmp_path, protocol):
    frame = make_frame(ROWS, 1)
    write(tmp_path / "a.pkl.gz", {name: frame[name] for name in frame}, protocol)
    prepare([tmp_path], tmp_path / "out.hdf5")
    assert_holds(tmp_path / "out.hdf5", frame)
    write(tmp_path / "a.pkl.gz", frame.assign(output_ts_I=[pd.Series(v) for v in frame.output_ts_I]), protocol)
    prepare([tmp_path], tmp_path / "out.hdf5")
    assert_holds(tmp_path / "out.hdf5", frame)
    write(tmp_path / "a.pkl.gz", frame.energy_eV, protocol)
    with pytest.raises(UserError, match="neither a DataFrame nor a dict of arrays"):
        prepare([tmp_path], tmp_path / "out.hdf5")


def test_a_name_that_two_columns_have_is_told(tmp_path):
    frame = make_frame(ROWS, 1)
    write(tmp_path / "a.pkl.gz", pd.concat([frame, frame[[schema.ENERGY]]], axis=1))
    with pytest.raises(UserError, match="two of its columns have one name, energy_eV"):
        prepare([tmp_path], tmp_path / "out.hdf5")


def test_a_column_of_ours_with_cells_of_another_kind_is_refused_and_not_left_out(tmp_path):
    write(tmp_path / "a.pkl.gz", make_frame(ROWS, 1).assign(energy_eV=[{"eV": 18600.0}] * ROWS))
    with pytest.raises(UserError, match="in column energy_eV in row 0 it holds a cell of type dict"):
        prepare([tmp_path], tmp_path / "out.hdf5")


# Compressions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["gzip", "xz", "bz2", "zip", None])
@pytest.mark.parametrize("right_name", [True, False])
def test_every_compression_is_read_whatever_the_name(tmp_path, compression, right_name):
    frame = make_frame(ROWS, 1)
    ending = {"gzip": ".gz", "xz": ".xz", "bz2": ".bz2", "zip": ".zip", None: ""}[compression]
    path = tmp_path / ("a.pkl" + (ending if right_name else ""))
    frame.to_pickle(path, compression=compression)
    prepare([tmp_path], tmp_path / "out.hdf5")
    assert_holds(tmp_path / "out.hdf5", frame)


@pytest.mark.parametrize("ending", ["xz", "bz2", "zip"])
def test_damage_is_found_and_named(tmp_path, ending):
    """Single bits, at places all over the file: refused, or without consequence (a date in a zip's header)."""
    frame = make_frame(3, 1)
    path = tmp_path / f"a.pkl.{ending}"
    frame.to_pickle(path)
    whole = path.read_bytes()
    refused, told = 0, []
    places = range(0, len(whole), max(1, len(whole) // 60))
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 4
        path.write_bytes(damaged)
        try:
            columns = read_source(path).columns.cells
        except UserError as error:
            refused += 1
            told.append(str(error))
        else:
            np.testing.assert_array_equal(
                np.stack(list(columns[schema.SERIES_I])), np.stack(list(frame[schema.SERIES_I]))
            )
    assert refused > 0.8 * len(places)
    assert all(str(path) in sentence and "\n" not in sentence for sentence in told)
    for cut in (5, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(UserError, match=r"damaged|no (xz|bz2|zip) file"):
            read_source(path)


def zipped(content: bytes, names: tuple[str, ...] = ("a",)) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return stream.getvalue()


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress, zipped])
def test_a_small_file_that_unpacks_to_much_is_refused(tmp_path, pack):
    path = tmp_path / "a.pkl"
    path.write_bytes(pack(pickle.dumps({"a": np.zeros(9_000_000)})))
    with pytest.raises(UserError, match="unpacks to more than 64 times"):
        read_source(path)


def test_archives_of_many_files_and_unknown_compressions_are_named(tmp_path):
    (tmp_path / "a.pkl").write_bytes(zipped(b"N.", ("a", "b")))
    with pytest.raises(UserError, match="zip archive of 2 files; unpack it"):
        read_source(tmp_path / "a.pkl")
    make_frame(2, 1).to_pickle(tmp_path / "a.pkl.tar.gz")
    with pytest.raises(UserError, match="tar archive; unpack it"):
        read_source(tmp_path / "a.pkl.tar.gz")
    (tmp_path / "b.pkl.zst").write_bytes(b"(\xb5/\xfd1234")
    with pytest.raises(UserError, match="zstd, which is not read here"):
        read_source(tmp_path / "b.pkl.zst")


# Records that are alike, counts for volts ---------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_empty_records_of_different_ids_are_different(tmp_path, value):
    frame = make_frame(ROWS, 1)
    for name in schema.SERIES_COLUMNS:
        frame[name] = [np.full(64, value, np.float32) if row % 2 else volts for row, volts in enumerate(frame[name])]
    write(tmp_path / "a.pkl.gz", frame)
    assert prepare([tmp_path], tmp_path / "out.hdf5").rows == ROWS
    assert check(tmp_path / "out.hdf5").rows == ROWS
    write(tmp_path / "a.pkl.gz", frame.drop(columns=schema.EVENT_ID))
    with pytest.raises(UserError, match="has the event_id of"):
        prepare([tmp_path], tmp_path / "out.hdf5")


def test_records_that_hold_something_are_still_duplicates(tmp_path):
    frame = make_frame(ROWS, 1)
    write(tmp_path / "a.pkl.gz", pd.concat([frame, frame.assign(event_id=frame.event_id + 100)], ignore_index=True))
    with pytest.raises(UserError, match="is the same electron as"):
        prepare([tmp_path], tmp_path / "out.hdf5")


def counts(kind: str) -> pd.DataFrame:
    middle = 2 ** (8 * np.dtype(kind).itemsize - 1) if np.dtype(kind).kind == "u" else 0
    frame = make_frame(ROWS, 1)
    return frame.assign(
        **{name: [np.rint(20 * v + middle).astype(kind) for v in frame[name]] for name in schema.SERIES_COLUMNS}
    )


@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "i8"])
def test_counts_are_named_and_converted_on_request(tmp_path, kind):
    frame = counts(kind)
    write(tmp_path / "a.pkl.gz", frame)
    with pytest.raises(
        UserError, match=r"column output_ts_I: holds whole numbers .*ADC counts, no volts.*--volts-per-count"
    ):
        prepare([tmp_path], tmp_path / "out.hdf5")
    prepare([tmp_path], tmp_path / "out.hdf5", settings=StagingSettings(volts_per_count=1e-3))
    volts = open_records(tmp_path / "out.hdf5").read(np.arange(ROWS), [schema.SERIES_I])[schema.SERIES_I]
    true = np.stack(list(make_frame(ROWS, 1)[schema.SERIES_I]))
    np.testing.assert_allclose(volts, np.rint(20 * true) * 1e-3, atol=1e-7)


def test_counts_that_are_floats_are_counts(tmp_path):
    frame = counts("i2")
    write(
        tmp_path / "a.pkl.gz",
        frame.assign(**{name: [v.astype("f4") for v in frame[name]] for name in schema.SERIES_COLUMNS}),
    )
    with pytest.raises(UserError, match="holds whole numbers only: these are ADC counts"):
        prepare([tmp_path], tmp_path / "out.hdf5")


# Other versions of pandas ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.pkl.gz")), ids=lambda path: path.name)
def test_columns_of_other_versions_are_read_alike(tmp_path, path):
    """Made by pandas 1.5 to 3.1, with and without pyarrow: see `make.py` beside them."""
    result = prepare([path], tmp_path / "out.hdf5")
    records = open_records(tmp_path / "out.hdf5")
    assert records.event_ids.tolist() == [7, 8, 9]
    assert records.scalar(schema.ENERGY).tolist() == [18500.25, 18600.5, 18699.75]
    assert records.scalar("trap").tolist() == [b"a", b"b", b"a"]
    assert records.scalar("comment").tolist() == [b"x", "é".encode(), b"z"]
    assert records.scalar("good").tolist() == [1, 0, 1]
    np.testing.assert_array_equal(records.scalar("hits"), [1, NAN, 3])
    for name in ("when", "when_there", "stamp"):
        assert records.scalar(name).tolist() == SECONDS[:3].tolist()
    assert records.scalar("span").tolist() == [1.0, 2.0, 3.0]
    assert [note for note in result.notes if "month" in note and "left out" in note]


def test_all_versions_are_here():
    assert len(list(FOLDER.glob("*.pkl.gz"))) == 8


# Equal ids ---------------------------------------------------------------------------------------------------------


def test_two_files_with_equal_ids_are_refused_on_opening(tmp_path):
    write_frames(tmp_path / "raw", files=1)
    for number in range(2):
        write(tmp_path / f"{number}.pkl.gz", make_frame(ROWS, number))
        prepare([tmp_path / f"{number}.pkl.gz"], tmp_path / "data" / f"{number}.hdf5")
    with pytest.raises(
        UserError, match=r"0\.hdf5 row 0 and .*1\.hdf5 row 0 have one event_id \(and 5 more\); they are diff"
    ):
        open_records(tmp_path / "data")
    assert len(open_records(tmp_path / "data" / "0.hdf5")) == ROWS
