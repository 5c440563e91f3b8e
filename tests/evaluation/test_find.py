"""Which table is meant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cres.errors import UserError
from cres.evaluation.examples import example_table
from reconstruction.judging.tables.find import newest_table, read_table, same_estimator
from reconstruction.judging.tables.table import PredictionTable


def made_by(checkpoint: str, name: str) -> PredictionTable:
    table = example_table(50, seed=1)
    return PredictionTable(table.columns, {**table.attributes, "checkpoint_hash": checkpoint}).renamed(name)


def test_the_estimator_is_known_by_its_checkpoint_whatever_it_is_called() -> None:
    tables = [made_by("a", "carrier alone"), made_by("b", "S4D network")]
    assert same_estimator(made_by("b", "demo"), tables) is tables[1]


def test_without_its_estimator_among_the_tables_there_is_one_sentence() -> None:
    with pytest.raises(UserError, match="no table among 'one' was made by the estimator of 'other'"):
        same_estimator(made_by("c", "other"), [made_by("a", "one")])


def test_without_any_table_the_command_that_makes_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cli\.py test"):
        newest_table(tmp_path)


def test_a_folder_of_tables_is_one_table(tmp_path: Path) -> None:
    whole = example_table(60, seed=1)
    for place in range(3):
        whole.select(np.arange(place, 60, 3)).write(tmp_path / f"{place}.hdf5")
    one = read_table(tmp_path)
    joined = whole.join(one)
    assert len(one) == 60
    assert one.estimator == whole.estimator
    for name in whole.columns:
        np.testing.assert_array_equal(joined[0].columns[name], joined[1].columns[name])
    whole.select(np.arange(2)).write(tmp_path / "again.hdf5")
    with pytest.raises(UserError, match="twice"):
        read_table(tmp_path)
    whole.select(np.arange(2)).renamed("another").write(tmp_path / "again.hdf5")
    with pytest.raises(UserError, match="different estimators"):
        read_table(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no predictions"):
        read_table(tmp_path / "empty")
