from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cres import schema
from cres.errors import UserError
from cres.evaluation import PredictionTable
from cres.evaluation.examples import example_table
from reconstruction.judging.measures.metrics import table_metrics


def _table(ids=(3, 1, 2), estimator: str = "a", **more) -> PredictionTable:
    ids = np.asarray(ids, dtype=np.int64)
    covariance = np.tile(np.array([[0.04, 0.001], [0.001, 0.0001]]), (len(ids), 1, 1))
    return PredictionTable.from_estimates(
        ids,
        {"energy_eV": 18600.0 + ids, "pitch_angle_deg": 89.0 + 0.01 * ids},
        covariance=covariance,
        truth={"energy_eV": 18600.5 + ids},
        observables={"pitch_angle_deg": 89.0 + 0 * ids, "radius_m": 0.001 * ids, "avg_axial_frequency_Hz": 8e6 + ids},
        estimator=estimator,
        **more,
    )


def _own_id(ids: list[int]) -> PredictionTable:
    values = np.array(ids, dtype=np.float64)
    return PredictionTable({"event_id": np.array(ids), "energy_ev": values, "true_energy_ev": values})


def test_names_follow_the_schema_and_std_comes_from_the_covariance():
    table = _table(seconds_per_electron=0.1, seed=3)
    assert table.targets == ("energy_ev", "pitch_angle_deg")
    assert {"true_energy_ev", "true_pitch_angle_deg", "true_radius_m", "avg_axial_frequency_hz"} <= set(table.columns)
    np.testing.assert_allclose(table.std("energy_eV"), 0.2)
    np.testing.assert_allclose(table.residual("energy_eV"), -0.5)
    assert table.attributes["created_by"].startswith("cres ")


def test_written_and_read_is_the_same(tmp_path: Path):
    table = _table(seconds_per_electron=0.1, checkpoint_hash="abc", config={"a": 1})
    back = PredictionTable.read(table.write(tmp_path / "deep" / "predictions.hdf5"))
    assert list(tmp_path.joinpath("deep").iterdir()) == [tmp_path / "deep" / "predictions.hdf5"]
    assert back.attributes == table.attributes
    for name, values in table.columns.items():
        np.testing.assert_array_equal(back.columns[name], values)
    with h5py.File(tmp_path / "deep" / "predictions.hdf5") as file:
        assert file["energy_std_ev"].attrs["units"] == "eV"


def test_an_empty_table_can_be_stored(tmp_path: Path):
    assert len(PredictionTable.read(_table(()).write(tmp_path / "p.hdf5"))) == 0


def test_csv_keeps_all_digits_and_the_covariance(tmp_path: Path):
    table = _table()
    frame = pd.read_csv(table.to_csv(tmp_path / "p.csv"))
    np.testing.assert_allclose(frame["energy_ev"], table.mean("energy_ev"), rtol=1e-15)
    np.testing.assert_array_equal(frame["covariance_energy_ev_pitch_angle_deg"], 0.001)


def test_a_failed_write_leaves_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = _table().write(tmp_path / "p.hdf5")

    def full(*_args: object, **_more: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(h5py.File, "create_dataset", full)
    with pytest.raises(OSError, match="disk full"):
        _table((7, 8)).write(path)
    monkeypatch.undo()
    assert len(PredictionTable.read(path)) == 3
    assert list(tmp_path.iterdir()) == [path]


@settings(max_examples=25, deadline=None)
@given(st.sets(st.integers(-(2**62), 2**62), min_size=1, max_size=20), st.randoms())
def test_join_aligns_rows_whatever_their_order(ids, random):
    first, second = list(ids), [*ids, 2**62 + 1]
    random.shuffle(first)
    random.shuffle(second)
    a, b = _own_id(first).join(_own_id(second))
    np.testing.assert_array_equal(a.event_id, np.sort(list(ids)))
    np.testing.assert_array_equal(a.event_id, b.event_id)
    np.testing.assert_array_equal(a.mean("energy_ev"), b.mean("energy_ev"))


def test_join_refuses_strangers_and_two_truths():
    with pytest.raises(UserError, match="no electron in common"):
        _table((1, 2)).join(_table((3, 4)))
    other = _table()
    other.columns["true_energy_ev"][0] += 1
    with pytest.raises(UserError, match="different simulations"):
        _table().join(other)


def test_a_wrong_name_suggests_the_nearest():
    with pytest.raises(UserError, match="did you mean 'true_radius_m'"):
        _table().column("true_radiusm")


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"energy_ev": np.ones(2)}, "needs the column 'event_id'"),
        ({"event_id": np.array([1, 1]), "energy_ev": np.ones(2), "energy_std_ev": np.ones(2)}, "occurs twice"),
        ({"event_id": np.array([1, 2]), "energy_ev": np.ones(3)}, "has shape"),
        ({"event_id": np.array([1, 2])}, "no column an estimate"),
        ({"event_id": np.array([1.5, 2.0]), "energy_ev": np.ones(2)}, "one integer a row"),
        ({"event_id": np.array([1, 2]), "energy_ev": np.array(["a", "b"])}, "numbers and flags only"),
    ],
)
def test_columns_that_do_not_fit_together(columns, sentence):
    with pytest.raises(UserError, match=sentence):
        PredictionTable(columns)


def test_unreadable_files_give_one_sentence(tmp_path: Path):
    with pytest.raises(UserError, match="does not exist"):
        PredictionTable.read(tmp_path / "none.hdf5")
    with pytest.raises(UserError, match="is a folder"):
        PredictionTable.read(tmp_path)
    (tmp_path / "text.hdf5").write_text("hello")
    with pytest.raises(UserError, match="cannot be read as a predictions table"):
        PredictionTable.read(tmp_path / "text.hdf5")
    with h5py.File(tmp_path / "records.hdf5", "w") as file:
        file["output_ts_I"] = np.zeros((2, 4))
    with pytest.raises(UserError, match="holds records"):
        PredictionTable.read(tmp_path / "records.hdf5")


def test_a_file_that_lost_its_rows_is_refused(tmp_path: Path):
    path = _table().write(tmp_path / "p.hdf5")
    with h5py.File(path, "r+") as file:
        file.attrs["rows"] = 9
    with pytest.raises(UserError, match="says 9: it is damaged"):
        PredictionTable.read(path)


def test_an_output_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        _table().write(tmp_path / "file" / "p.hdf5")


def test_the_95_percent_interval_is_the_stated_one_or_two_error_bars() -> None:
    table = example_table(200)
    low, high = table.interval95("energy_ev")
    np.testing.assert_allclose(high - low, 4 * table.std("energy_ev"))
    stated = dict(zip(schema.interval95_names("energy_eV"), (table.mean("energy_ev") - 5, low + 9), strict=True))
    np.testing.assert_array_equal(table.with_columns(stated).interval95("energy_ev")[1], low + 9)


def test_coverage_at_two_sigma_is_that_of_the_stated_interval() -> None:
    table = example_table(2000)
    ends = schema.interval95_names("energy_ev")
    truth = table.truth("energy_ev")
    holding = table.with_columns({ends[0]: truth - 1e-6, ends[1]: truth + 1e-6})
    missing = table.with_columns({ends[0]: truth + 1e-6, ends[1]: table.mean("energy_ev") + 1e9})
    assert table_metrics(holding, "energy_ev", resamples=0)["coverage2"].value == pytest.approx(1.0)
    assert table_metrics(missing, "energy_ev", resamples=0)["coverage2"].value < 0.6
    assert table_metrics(table, "energy_ev", resamples=0)["coverage2"].value == pytest.approx(0.954, abs=0.02)


def test_nll_is_that_of_the_stated_density_or_of_a_gaussian() -> None:
    table = example_table(500)
    residual, std = table.residual("energy_ev"), table.std("energy_ev")
    gaussian = np.mean(0.5 * (residual / std) ** 2 + np.log(std) + 0.5 * np.log(2 * np.pi))
    assert table_metrics(table, "energy_ev", resamples=0)["nll"].value == pytest.approx(gaussian)
    stated = table.with_columns({schema.log_density_name("energy_eV"): np.full(500, -3.25)})
    assert table_metrics(stated, "energy_ev", resamples=0)["nll"].value == pytest.approx(3.25)
