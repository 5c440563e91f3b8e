"""Pickles of pandas 1.5 to 3 and numpy 1.26 to 2.4 are read alike, without pandas."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cres import schema
from cres.data.pickles.loading import safe_load
from cres.data.pickles.source import read_source
from cres.data.prepare.tables import checked_table
from cres.errors import UserError

FOLDER = Path(__file__).parents[1] / "fixtures" / "pickles"
FILES = sorted(FOLDER.glob("*.pkl.gz"))
RNG = np.random.default_rng(1)
SERIES = {name: np.array([RNG.normal(size=16).astype("f4") for _ in range(3)]) for name in schema.SERIES_COLUMNS}
EXPECTED = {
    schema.EVENT_ID: np.array([7, 8, 9]),
    schema.ENERGY: np.array([18500.25, 18600.5, 18699.75]),
    schema.PITCH_ANGLE: np.array([88.5, 89.0, 89.5]),
    schema.RADIUS: np.array([0.001, 0.002, 0.003], dtype="f4").astype(float),
    "hits": np.arange(4) + np.arange(3)[:, None],
    **SERIES,
}


def test_all_versions_are_here():
    assert len(FILES) == 25


@pytest.mark.parametrize("path", [path for path in FILES if "_cut" not in path.name], ids=lambda path: path.name)
def test_each_version_is_read_exactly(path):
    source = read_source(path)
    table = checked_table(source.columns.cells)
    assert table.problems == ()
    for name, values in EXPECTED.items():
        np.testing.assert_array_equal(table.columns[name], values)
    if "protocol" in path.name:
        assert [label.decode() for label in table.columns["label"]] == ["a", "bé", "c"]
        assert source.columns.attributes == {"sampling_rate_hz": 403e6}


@pytest.mark.parametrize("path", [path for path in FILES if "_cut" in path.name], ids=lambda path: path.name)
def test_a_frame_with_a_history_keeps_rows_and_columns_together(path):
    columns = checked_table(read_source(path).columns.cells).columns
    rows = columns[schema.EVENT_ID] - 7
    assert sorted(rows) == [0, 1, 2]
    for name, values in EXPECTED.items():
        np.testing.assert_array_equal(columns[name], values[rows])
    np.testing.assert_array_equal(columns["energy_again"], columns[schema.ENERGY][::-1])


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("packed", [True, False])
def test_every_protocol_packed_or_not(tmp_path, protocol, packed):
    frame = pd.DataFrame({name: values if values.ndim == 1 else list(values) for name, values in EXPECTED.items()})
    path = tmp_path / ("electrons.pkl.gz" if packed else "electrons.pkl")
    content = pickle.dumps(frame, protocol=protocol)
    path.write_bytes(gzip.compress(content) if packed else content)
    loaded = safe_load(path)
    assert isinstance(loaded, pd.DataFrame)
    for name, values in EXPECTED.items():
        np.testing.assert_array_equal(np.stack(list(loaded[name])), values)


def test_a_loaded_frame_can_be_changed(tmp_path):
    frame = pd.DataFrame(dict(list(EXPECTED.items())[:3]))
    frame.to_pickle(tmp_path / "a.pkl")
    loaded = safe_load(tmp_path / "a.pkl")
    assert isinstance(loaded, pd.DataFrame)
    loaded.loc[0, schema.ENERGY] = 1.0
    assert loaded[schema.ENERGY][0] == 1.0


def test_byte_orders_lists_and_python_numbers(tmp_path):
    columns = {
        "output_ts_I": [[1.5, 2], (3, 4.25)],
        "output_ts_Q": np.array([[1, 2], [3, 4]], dtype=">f8"),
        "energy_eV": np.array([18500, 18600], dtype=">i4"),
        "kinds": [np.float32(1.5), 2],
    }
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(columns))
    table = checked_table(read_source(tmp_path / "a.pkl").columns.cells)
    assert table.problems == ()
    np.testing.assert_array_equal(table.columns["output_ts_I"], np.array([[1.5, 2], [3, 4.25]], "f4"))
    np.testing.assert_array_equal(table.columns["output_ts_Q"], np.array([[1, 2], [3, 4]], "f4"))
    assert table.columns["energy_eV"].tolist() == [18500.0, 18600.0]
    assert table.columns["kinds"].tolist() == [1.5, 2.0]
    assert table.columns["output_ts_Q"].dtype == np.float32


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([1, 2], "neither a DataFrame nor a dict"),
        (pd.Series([1.0]), "neither a DataFrame nor a dict"),
        ({1: np.arange(3)}, "names a column 1"),
        ({"a": [[1, [2]]]}, "a list of something other than numbers"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two of its columns have one name"),
        ({"a": np.zeros(2, [("x", "f8")])}, "an array of records"),
    ],
)
def test_other_things_are_refused_in_one_sentence(tmp_path, value, words):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
    with pytest.raises(UserError, match=words) as raised:
        safe_load(tmp_path / "a.pkl")
    assert "\n" not in str(raised.value)
    assert "a.pkl" in str(raised.value)
