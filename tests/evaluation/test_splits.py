"""Who was trained on is not judged, unless told; every table says which split it holds, or that it does not know."""

from __future__ import annotations

import h5py
import numpy as np
import pandas as pd
import pytest

from cres import schema
from cres.endpoint.analysis import Options, analyse
from cres.endpoint.examples import example_tables
from cres.errors import UserError
from cres.evaluation import PredictionTable, compare
from reconstruction.judging.tables.splits import LEARNED, rows_in, trained_on


def with_split(table: PredictionTable, part: str, rows: slice = slice(None)) -> PredictionTable:
    codes = table.columns.get(schema.SPLIT, np.full(len(table), schema.SPLITS["test"])).copy()
    codes[rows] = schema.SPLITS[part]
    return table.with_columns({schema.SPLIT: codes})


def without_split(table: PredictionTable) -> PredictionTable:
    columns = {name: values for name, values in table.columns.items() if name != schema.SPLIT}
    return PredictionTable(columns, {k: v for k, v in table.attributes.items() if k != schema.SPLIT})


def test_a_table_says_its_split_in_words_and_electron_by_electron(draw_table, tmp_path):
    table = with_split(draw_table(30), "train", slice(0, 20))
    path = table.write(tmp_path / "t.hdf5")
    read = PredictionTable.read(path)
    assert read.attributes["split"] == "20 train, 10 test"
    assert read.select(rows_in(read, "train")).attributes["split"] == "train"
    assert rows_in(read, "train").tolist() == [True] * 20 + [False] * 10
    with h5py.File(path) as file:  # who reads it without this program finds what the codes mean
        assert h5py.check_enum_dtype(file["split"].dtype)["train"] == schema.SPLITS["train"]
    assert set(pd.read_csv(table.to_csv(tmp_path / "t.csv"))["split"]) == {"train", "test"}


def test_training_electrons_are_refused_unless_told(draw_table):
    table = with_split(draw_table(200), "train", slice(0, 5))
    with pytest.raises(UserError, match=r"5 of its 200 electrons are training electrons.*--allow-training") as error:
        compare([table])
    assert "\n" not in str(error.value)
    notes = compare([table], allow_training=True).notes
    assert any("5 of 200 electrons are training electrons" in note for note in notes)
    # what is common with another table counts, and a likelihood has nothing to be trained on
    tested = draw_table(200, estimator="other").select(np.arange(5, 200))
    assert len(compare([table, tested])) == 195
    assert len(compare([table.with_attributes({LEARNED: False})])) == 200
    assert not trained_on(table.with_attributes({LEARNED: False})).any()


def test_validation_electrons_and_old_tables_are_said(draw_table):
    assert not any("split" in note for note in compare([draw_table(200)]).notes)
    assert any("validation split" in note for note in compare([with_split(draw_table(200), "validation")]).notes)
    notes = compare([without_split(draw_table(200))]).notes
    assert any("does not say which split 200 of its 200 electrons" in note for note in notes)


def test_codes_of_nothing_are_refused(draw_table):
    with pytest.raises(UserError, match="split"):
        draw_table(5).with_columns({schema.SPLIT: np.full(5, 9)})


def test_the_endpoint_is_not_calibrated_on_training_electrons():
    data, calibration = example_tables(800, 400, 18_575.0, 1)
    quick = {"systematics": False, "limit": False}
    assert analyse(data, calibration, Options(**quick)).notes == ()
    trained = with_split(calibration, "train", slice(0, 100))
    with pytest.raises(UserError, match="not used as calibration: 100 of its 800"):
        analyse(data, trained, Options(**quick))
    allowed = analyse(data, trained, Options(**quick, allow_training=True))
    assert any("100 of 800 electrons are training electrons" in note for note in allowed.notes)
    assert any("100 of 800" in note for note in allowed.to_dict()["notes"])
