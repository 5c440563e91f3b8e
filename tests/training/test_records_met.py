"""What a table knows of its records: which were trained on, and of which apparatus they are."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch

from cres import schema
from cres.data.module import CresDataModule
from cres.errors import UserError
from cres.evaluation import PredictionTable, compare
from cres.evaluation.signature import signature_of
from cres.training.module import CARD
from reconstruction.judging.tables.apparatus import WARNING
from reconstruction.judging.tables.splits import rows_in, trained_on
from reconstruction.training.command_line.cli import main
from reconstruction.training.learning.checkpoints import read_checkpoint
from reconstruction.training.learning.rows_met import ELECTRONS, split_codes, together
from reconstruction.training.runs.origin import SIGNATURE


def parts(data: CresDataModule) -> dict[str, set[int]]:
    events = data.records.event_ids
    return {name: set(events[getattr(data.split, name)].tolist()) for name in ("train", "validation", "test")}


def test_predict_keeps_away_from_the_test_table_and_says_what_it_reads(trained, records, capsys):
    main(["test", f"--run={trained}"])
    tested = (trained / "predictions.hdf5").read_bytes()
    assert "19 electrons, the test split (test), none of them trained on" in capsys.readouterr().out
    main(["predict", f"--run={trained}"])
    printed = capsys.readouterr().out
    assert f"reading {records}: 192 electrons, all of them (154 train, 19 validation, 19 test), 154 of them" in printed
    assert (trained / "predictions.hdf5").read_bytes() == tested
    table = PredictionTable.read(trained / "predicted_records.hdf5")
    assert table.attributes["split"] == "154 train, 19 validation, 19 test"
    assert str(trained / "checkpoints" / "best.ckpt") in table.attributes["checkpoint"]
    for name, events in parts(CresDataModule(str(records))).items():
        assert set(table.event_id[rows_in(table, name)].tolist()) == events
    with pytest.raises(UserError, match="154 of its 192 electrons are training electrons"):
        compare([table])
    assert len(compare([table, PredictionTable.read(trained / "predictions.hdf5")])) == 19


def test_predict_never_writes_over_other_tables(trained, make_records, tmp_path):
    with pytest.raises(UserError, match="the run's table of test electrons"):
        main(["predict", f"--run={trained}", f"--predictions={trained / 'predictions.hdf5'}"])
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        make_records(tmp_path / folder / "same.hdf5", 40, seed=8)
    main(["predict", f"--run={trained}", f"--data.data={tmp_path / 'a' / 'same.hdf5'}"])
    main(["predict", f"--run={trained}", f"--data.data={tmp_path / 'a' / 'same.hdf5'}"])
    with pytest.raises(UserError, match="holds predictions of other records"):
        main(["predict", f"--run={trained}", f"--data.data={tmp_path / 'b' / 'same.hdf5'}"])


def test_the_test_table_is_not_lost_to_other_electrons(trained, records, make_records, tmp_path):
    main(["test", f"--run={trained}"])
    tested = (trained / "predictions.hdf5").read_bytes()
    make_records(tmp_path / "others.hdf5", 80, seed=9)
    for other in (f"--data.data={tmp_path / 'others.hdf5'}", "--data.split_seed=5"):
        with pytest.raises(UserError, match=r"kept aside for its test, and these are others: name a file"):
            main(["test", f"--run={trained}", other])
        assert (trained / "predictions.hdf5").read_bytes() == tested
    main(
        ["test", f"--run={trained}", f"--data.data={tmp_path / 'others.hdf5'}", f"--predictions={tmp_path / 'o.hdf5'}"]
    )
    assert len(PredictionTable.read(tmp_path / "o.hdf5")) == 8
    main(["test", f"--run={trained}", f"--data.data={records}"])


def test_a_model_keeps_its_targets(trained, records):
    with pytest.raises(UserError, match=r"data.targets is \[radius_m\], but the model regresses \[energy_eV, pitch"):
        main(["predict", f"--run={trained}", "--data.targets=[radius_m]"])


def test_an_electron_is_known_by_its_content_in_any_file(trained, records, make_records, tmp_path):
    """Numbers of events begin anew in every simulation, and a part of a file is another file."""
    trained_rows = CresDataModule(str(records)).split.train[:30]
    again = tmp_path / "again.hdf5"
    with h5py.File(records, locking=False) as source, h5py.File(again, "w") as copy:
        for name, values in source.items():
            copy[name] = values[...][trained_rows]
        copy["event_id"][...] = np.arange(30) + 5_000_000
        copy.attrs.update(source.attrs)
    fresh = make_records(tmp_path / "fresh.hdf5", 40, seed=4)
    with h5py.File(fresh, "r+") as file:
        file["event_id"][...] = np.arange(40)  # those of the training's electrons
    for path, part in ((again, "train"), (fresh, "new")):
        out = tmp_path / f"{part}.h5"
        main(["predict", f"--run={trained}", f"--data.data={path}", f"--predictions={out}"])
        assert PredictionTable.read(out).attributes["split"] == part
    assert trained_on(PredictionTable.read(tmp_path / "train.h5")).all()


def test_a_test_on_other_data_counts_what_was_trained_on(trained, tmp_path):
    with pytest.warns(UserWarning, match="not the one that the training kept aside: .* of its 77 electrons were"):
        main(["test", f"--run={trained}", "--data.fractions=[0.5,0.1,0.4]", f"--predictions={tmp_path / 'p.h5'}"])
    assert trained_on(PredictionTable.read(tmp_path / "p.h5")).any()


def test_of_several_models_each_electron_that_one_was_trained_on_counts():
    one, other = ({part: torch.tensor(ids) for part, ids in card.items()} for card in (
        {"train": [1, 2], "validation": [3], "test": [4]}, {"train": [4, 2], "validation": [1], "test": [3]},
    ))  # fmt: skip
    all_of_them = together([{ELECTRONS: one}, {ELECTRONS: other}])
    assert all_of_them["train"].tolist() == [1, 2, 4]
    assert together([{ELECTRONS: one}, {}]) is None


def test_a_fine_tuned_model_was_trained_on_what_its_parent_was(fit, trained, make_records, tmp_path):
    fresh = make_records(tmp_path / "fresh.hdf5", 96, seed=9)
    fit(tmp_path / "run", f"--data.data={fresh}", "--trainer.max_epochs=1",
        f"--fine_tune.checkpoint={trained / 'checkpoints' / 'best.ckpt'}")  # fmt: skip
    card = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")[CARD]
    parent = read_checkpoint(trained / "checkpoints" / "best.ckpt")[CARD]
    assert len(card[ELECTRONS]["train"]) == 77 + 154
    assert set(parent[ELECTRONS]["train"].tolist()) <= set(card[ELECTRONS]["train"].tolist())


def test_an_old_checkpoint_knows_its_electrons_only_in_its_own_split(trained, records, make_records, tmp_path):
    card = {"data": read_checkpoint(trained / "checkpoints" / "best.ckpt")[CARD]["data"]}
    codes = split_codes(card, CresDataModule(str(records)))
    assert np.bincount(codes, minlength=4).tolist() == [154, 19, 19, 0]
    other = split_codes(card, CresDataModule(str(make_records(tmp_path / "o.hdf5", 30, seed=5))))
    assert set(other.tolist()) == {schema.SPLITS["unknown"]}


def other_apparatus(path, make_records, **change):
    """Write records of an apparatus with another noise, field, coupling or trap."""
    make_records(path, 60, seed=6)
    with h5py.File(path, "r+") as file:
        series = file["output_ts_I"][...] + 1j * file["output_ts_Q"][...]
        series *= change.get("strength", 1.0)
        series *= np.exp(2j * np.pi * change.get("shift_hz", 0.0) * np.arange(series.shape[1]) / 403e6)
        file["output_ts_I"][...], file["output_ts_Q"][...] = series.real, series.imag
        file["avg_axial_frequency_Hz"][...] *= change.get("axial", 1.0)
    return path


@pytest.mark.parametrize(
    ("change", "option", "words"),
    [
        ({"shift_hz": -15e6}, [], ["carriers after mixing at", "in training"]),
        ({"axial": 2.0}, [], ["axial frequencies at"]),
        ({"strength": 2.0, "axial": 2.0}, [], ["strongest lines of", "axial frequencies"]),
        ({}, ["--noise_scale=4"], ["noise of 0.09"]),
    ],
)
def test_another_apparatus_is_one_warning_that_the_table_carries(
    trained, make_records, tmp_path, recwarn, change, option, words
):
    path, out = other_apparatus(tmp_path / "other.hdf5", make_records, **change), tmp_path / "p.h5"
    main(["predict", f"--run={trained}", f"--data.data={path}", f"--predictions={out}", *option])
    said = [str(one.message) for one in recwarn if "not like those" in str(one.message)]
    assert len(said) == 1
    assert all(word in said[0] for word in words)
    table = PredictionTable.read(out)
    assert table.attributes[WARNING] == said[0]
    assert any(said[0] in note for note in compare([table]).notes)


def test_records_of_the_same_apparatus_pass_without_a_word(trained, make_records, tmp_path):
    out = tmp_path / "p.h5"
    data = make_records(tmp_path / "same.hdf5", 60, seed=7)
    main(["predict", f"--run={trained}", f"--data.data={data}", f"--predictions={out}"])  # a warning is an error here
    table = PredictionTable.read(out)
    assert table.attributes[WARNING] == ""
    assert signature_of(table).noise_volt == pytest.approx(0.0471, rel=0.05)


def test_an_old_checkpoint_says_that_nothing_is_compared(trained, records, tmp_path):
    checkpoint = read_checkpoint(trained / "checkpoints" / "best.ckpt")
    del checkpoint[CARD][SIGNATURE]
    torch.save(checkpoint, tmp_path / "old.ckpt")
    options = [f"--run={trained}", f"--ckpt_path={tmp_path / 'old.ckpt'}", f"--predictions={tmp_path / 'p.h5'}"]
    with pytest.warns(UserWarning, match="of an earlier version and does not say what its records looked like"):
        main(["test", *options])
    assert WARNING not in PredictionTable.read(tmp_path / "p.h5").attributes
