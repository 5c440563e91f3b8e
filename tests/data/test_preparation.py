"""Preparation: what goes in comes out, in every layout."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from frames import assert_holds, make_frame, run_script
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cres import schema
from cres.data.prepare.checking import check
from cres.data.prepare.merging import merge
from cres.data.prepare.preparation import prepare
from cres.data.records import open_records
from cres.data.settings import Assembly, StagingSettings
from cres.errors import UserError

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "data_prep.py"
INDEPENDENT = ROOT.parent / "shared" / "data" / "independent_simulation.pkl.gz"
SKIP = StagingSettings(skip_bad=True)


@pytest.mark.parametrize(
    "assembly",
    [
        Assembly(),
        Assembly(compression="gzip"),
        Assembly(compression="lzf"),
        Assembly(shard_rows=0),
        Assembly(shard_rows=7),
        Assembly(shard_rows=1000),
    ],
    ids=str,
)
def test_every_layout_holds_the_same_electrons(tmp_path, raw, assembly):
    result = prepare([tmp_path / "raw"], tmp_path / "out" / "cres.hdf5", assembly=assembly)
    assert result.rows == 33
    assert_holds(result.outputs[-1], raw)
    assert_holds(tmp_path / "out", raw)
    assert_holds(tmp_path / "out" / "cres.hdf5", raw)
    assert check(result.outputs[-1]).rows == 33
    assert all(path.stat().st_size < 200_000 for path in result.outputs)  # what was reserved is given back
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_the_plain_layout_is_contiguous_and_has_no_attributes(tmp_path, raw):
    result = prepare([tmp_path / "raw"], tmp_path / "cres.hdf5", assembly=Assembly(plain=True))
    with h5py.File(result.outputs[0], "r") as file:
        assert set(file) == set(raw.columns)
        assert not file.attrs
        assert all(not dataset.attrs and dataset.chunks is None for dataset in file.values())
    with pytest.warns(UserWarning, match="does not say how it was recorded"):
        assert_holds(result.outputs[0], raw)


def test_attributes_say_where_the_file_comes_from(tmp_path):
    frame = make_frame(4, 1)
    frame.attrs.update(sampling_rate_hz=200e6, lo_frequency_hz=25.9e9, seed=5, config='{"a": 1}')
    frame.to_pickle(tmp_path / "a.pkl.gz")
    prepare([tmp_path / "a.pkl.gz"], tmp_path / "cres.hdf5")
    with h5py.File(tmp_path / "cres.hdf5", "r") as file:
        assert set(schema.ATTRIBUTES) <= set(file.attrs)
        assert file.attrs["sampling_rate_hz"] == 200e6
        assert file.attrs["seed"] == 5
        assert file.attrs["config"] == b'{"a": 1}'
        assert [Path(name).name for name in json.loads(file.attrs["sources"])] == ["a.pkl.gz"]
        for name, dataset in file.items():
            assert dataset.fletcher32
            assert dataset.attrs["units"].decode() == schema.COLUMNS[name].unit
    records = open_records(tmp_path / "cres.hdf5")
    assert (records.sampling_rate_hz, records.lo_frequency_hz) == (200e6, 25.9e9)


def test_many_rows_and_sources_fit_in_the_attributes(tmp_path):
    """HDF5 keeps attributes under 64 kB unless it is told otherwise."""
    frame = make_frame(2500, 1, samples=2)
    frame.loc[1:1000, schema.ENERGY] = np.nan
    frame.to_pickle(tmp_path / "a.pkl")
    result = prepare([tmp_path / "a.pkl"], tmp_path / "cres.hdf5", settings=SKIP)
    assert result.rows == 1500
    assert len("\n".join(result.skipped)) > 1 << 16
    with h5py.File(tmp_path / "cres.hdf5", "r") as file:
        assert len(json.loads(file.attrs["skipped"])) == 1000


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_frame_of_the_schema_survives_bit_for_bit(tmp_path, data):
    rows, samples = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 9))
    volts = st.floats(-1e6, 1e6, width=32)
    columns = {
        name: data.draw(hnp.arrays(np.float32, (rows, samples), elements=volts, unique=True))
        for name in schema.SERIES_COLUMNS
        if rows * samples
    }
    for name, column in schema.COLUMNS.items():
        if column.dtype == "float64":
            within = st.floats(column.minimum, column.maximum)
            columns[name] = data.draw(hnp.arrays(np.float64, rows, elements=within))
    columns[schema.EVENT_ID] = data.draw(
        hnp.arrays(np.int64, rows, elements=st.integers(-(2**63), 2**63 - 1), unique=True)
    )
    columns["extra"] = data.draw(hnp.arrays(np.float64, rows, elements=st.floats()))
    columns["count"] = data.draw(hnp.arrays(np.int32, rows))
    columns["vector"] = data.draw(hnp.arrays(np.float32, (rows, 3), elements=st.floats(width=32)))
    frame = pd.DataFrame({name: list(values) if values.ndim > 1 else values for name, values in columns.items()})
    frame.to_pickle(tmp_path / "a.pkl.gz")
    prepare([tmp_path / "a.pkl.gz"], tmp_path / "cres.hdf5")
    stored = open_records(tmp_path / "cres.hdf5").read(np.arange(rows), columns)
    for name, values in columns.items():
        np.testing.assert_array_equal(stored[name], values)
        assert stored[name].dtype == (np.int64 if name == "count" else values.dtype)


def test_event_ids_come_from_the_content_where_they_are_absent(tmp_path):
    frame = make_frame(5, 3).drop(columns=schema.EVENT_ID)
    frame.to_pickle(tmp_path / "a.pkl.gz")
    frame.astype({schema.ENERGY: "float32"}).iloc[::-1].to_pickle(tmp_path / "b.pkl.gz")
    first = prepare([tmp_path / "a.pkl.gz"], tmp_path / "a.hdf5")
    second = prepare([tmp_path / "b.pkl.gz"], tmp_path / "b.hdf5")
    ids = [open_records(result.outputs[0]).event_ids for result in (first, second)]
    assert len(set(ids[0])) == 5
    np.testing.assert_array_equal(ids[0], ids[1][::-1])


# Merging and checking ----------------------------------------------------------------------------------------------


def test_merging_ours_and_plain_files(tmp_path, raw):
    sources = sorted((tmp_path / "raw").iterdir())
    outputs = []
    for number, source in enumerate(sources):
        outputs.append(tmp_path / f"{number}.hdf5")
        prepare([source], outputs[-1], assembly=Assembly(plain=number == 1))
    result = merge(outputs, tmp_path / "all.hdf5")
    assert_holds(result.outputs[0], raw)
    check(result.outputs[0])
    with pytest.raises(UserError, match=r"row 0 has the event_id of|is the same electron as"):
        merge([*outputs, result.outputs[0]], tmp_path / "twice.hdf5")
    again = merge([*outputs, result.outputs[0]], tmp_path / "once.hdf5", skip_bad=True)
    assert (again.rows, len(again.skipped)) == (33, 33)


def test_merging_checks_foreign_rows(tmp_path, raw):
    prepare([tmp_path / "raw"], tmp_path / "plain.hdf5", assembly=Assembly(plain=True))
    with h5py.File(tmp_path / "plain.hdf5", "a") as file:
        file[schema.ENERGY][7] = 18.6
    with pytest.raises(UserError, match=r"plain.hdf5, row 7, column energy_eV: is 18.6 eV"):
        merge([tmp_path / "plain.hdf5"], tmp_path / "all.hdf5")
    merge([tmp_path / "plain.hdf5"], tmp_path / "all.hdf5", skip_bad=True)
    assert_holds(tmp_path / "all.hdf5", raw.drop(index=7))


def test_check_finds_damage_by_file_row_and_column(tmp_path, raw):
    path = tmp_path / "cres.hdf5"
    prepare([tmp_path / "raw"], path)
    with h5py.File(path, "r") as file:
        position = file[schema.SERIES_I].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[position + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"cres.hdf5 is damaged in column output_ts_I, rows 0 to 32"):
        check(path)


@pytest.mark.parametrize(
    ("column", "row", "value", "words"),
    [
        (schema.ENERGY, 3, np.nan, "row 3, column energy_eV: holds NaN"),
        (schema.PITCH_ANGLE, 3, 400.0, "row 3, column pitch_angle_deg: is 400 deg"),
        (schema.SERIES_I, 3, 0.0, "row 3: the series is not the one that was prepared"),
        (schema.EVENT_ID, 3, 2, "row 2 and .* row 3 have one event_id"),
    ],
)
def test_check_finds_values_that_were_changed(tmp_path, raw, column, row, value, words):
    prepare([tmp_path / "raw"], tmp_path / "cres.hdf5")
    with h5py.File(tmp_path / "cres.hdf5", "a") as file:
        file[column][row] = value
    with pytest.raises(UserError, match=words):
        check(tmp_path / "cres.hdf5")


# The command line --------------------------------------------------------------------------------------------------


def test_the_script_prepares_checks_and_explains(tmp_path, raw):
    output = tmp_path / "cres.hdf5"
    result = run_script("--input", tmp_path / "raw", "--output", output, "--workers", 2)
    assert (result.returncode, result.stdout) == (0, f"33 electrons in {output}\n")
    result = run_script("--check", output)
    assert result.returncode == 0
    assert result.stdout.startswith("33 electrons of 64 samples in 1 file(s), 403 MHz, oscillator 25.9702 GHz\n")
    (tmp_path / "empty").mkdir()
    for words, expected in [
        (("--input", tmp_path / "missing"), "scripts/simulate.py"),
        (("--input", tmp_path / "empty"), "holds no .pkl.gz"),
        (("--input", tmp_path / "raw", "--output", "/proc/cres.hdf5"), "cannot be written"),
        (("--check", tmp_path / "missing.hdf5"), "scripts/data_prep.py"),
        (("--check", SCRIPT), "cannot be read as HDF5"),
    ]:
        result = run_script(*words, *(() if "--output" in words else ("--output", output)))
        assert result.returncode == 2
        assert expected in result.stderr
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
    assert_holds(output, raw)


def test_skipping_is_reported_by_the_script(tmp_path, raw):
    (tmp_path / "raw" / "bad.pkl.gz").write_bytes(b"")
    output = tmp_path / "cres.hdf5"
    result = run_script("--input", tmp_path / "raw", "--output", output, "--skip-bad")
    assert result.returncode == 0
    assert "left out 1 files or rows, listed in" in result.stdout
    assert "bad.pkl.gz is empty" in (tmp_path / "cres.hdf5.skipped.txt").read_text()


@pytest.mark.skipif(not INDEPENDENT.exists(), reason="the independent simulation is not here")
def test_an_independent_simulation_goes_through(tmp_path):
    frame = pd.read_pickle(INDEPENDENT)
    prepare([INDEPENDENT], tmp_path / "cres.hdf5")
    assert_holds(tmp_path / "cres.hdf5", frame)
    assert check(tmp_path / "cres.hdf5").samples == 8192
