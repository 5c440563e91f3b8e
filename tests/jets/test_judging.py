"""Figures of tables of jets: against loops, and able to tell a good one from a bad one."""

from __future__ import annotations

import contextvars
import json
import sys

import h5py
import made_jets
import numpy as np
import pytest

from collider.jets.command import main
from collider.jets.judging import trees
from collider.jets.judging.classes import class_figures, rejections
from collider.jets.judging.mass import SUM, mass_figures, regression_figures
from collider.jets.judging.report import judge
from collider.jets.judging.trees import QUANTITIES, quantities, tree_table
from collider.jets.learning.data import JetDataModule
from collider.jets.making.classes import KINDS, LABELS
from collider.jets.system import SYSTEM
from reconstruction import schema
from reconstruction.errors import UserError
from reconstruction.judging.pictures.plots import column_label, residual_label
from reconstruction.judging.tables.columns import CLASSES
from reconstruction.judging.tables.judged import judge_as
from reconstruction.judging.tables.table import PredictionTable

CODES = {kind.name: kind.code for kind in KINDS}


def class_table(count=2000, sharpness=3.0, seed=0, estimator="network"):
    """Probabilities that favour the true class, more the larger the sharpness."""
    random = np.random.default_rng(seed)
    code = np.arange(count) % 10
    logits = random.normal(size=(count, 10))
    logits[np.arange(count), code] += sharpness
    stated = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    table = PredictionTable.from_estimates(
        np.arange(count), {"jet_class": stated.argmax(1)}, estimator=estimator, truth={"jet_class": code}, system=SYSTEM
    )
    columns = {schema.probability_name(name): stated[:, place] for place, name in enumerate(CODES)}
    return table.with_columns(columns).with_attributes({CLASSES: dict(CODES)})


def test_figures_are_those_of_a_loop():
    table = class_table(400)
    stated, truth = table.probabilities(), table.truth("jet_class").astype(int)
    found = class_figures(table, resamples=40)
    said = [max(range(10), key=lambda place: row[place]) for row in stated]
    assert found["accuracy"].value == pytest.approx(np.mean([a == b for a, b in zip(said, truth, strict=True)]))
    top = [b in sorted(range(10), key=lambda place: -row[place])[:3] for row, b in zip(stated, truth, strict=True)]
    assert found["top3"].value == pytest.approx(np.mean(top))
    scores = []
    for place in range(10):
        right = sum(a == b == place for a, b in zip(said, truth, strict=True))
        precision, recall = right / max(said.count(place), 1), right / (truth == place).sum()
        scores.append(2 * precision * recall / max(precision + recall, 1e-9))
    assert found["macro_f1"].value == pytest.approx(np.mean(scores))
    assert found["accuracy"].low < found["accuracy"].value < found["accuracy"].high


def test_a_better_table_has_better_figures():
    good, bad, none = (class_figures(class_table(sharpness=s), resamples=2) for s in (3.0, 1.0, 0.0))
    for name in ("accuracy", "top3", "macro_f1", "auc"):
        assert good[name].value > bad[name].value > none[name].value
    assert none["auc"].value == pytest.approx(0.5, abs=0.03)
    assert none["top3"].value == pytest.approx(0.3, abs=0.04)


def test_a_rejection_is_that_of_a_loop():
    table = class_table(3000)
    stated, truth = table.probabilities(), table.truth("jet_class").astype(int)
    found = {(one.name, one.efficiency): one for one in rejections(table)}
    assert len(found) == 18
    score = stated[:, 1] / (stated[:, 1] + stated[:, 0])
    for efficiency in (0.5, 0.3):
        signal = sorted(score[truth == 1], reverse=True)
        threshold = signal[int(efficiency * len(signal)) - 1]
        passed = int((score[truth == 0] > threshold).sum())
        one = found["Hbb", efficiency]
        assert abs(one.passed - passed) <= 1
        assert one.value == pytest.approx(300 / max(one.passed, 1))
    assert str(rejections(class_table(3000, 9.0))[0]) == "> 300"
    assert rejections(class_table(100)) == []  # ten jets of each class say nothing


def mass_table(width=0.08, bias=0.0, stated=0.08, count=3000):
    random = np.random.default_rng(1)
    truth = random.uniform(20, 200, count)
    mass = truth * (1 + bias + width * random.normal(size=count))
    plain = truth * (0.95 + 0.12 * random.normal(size=count))
    return PredictionTable.from_estimates(
        np.arange(count),
        {"jet_genmass": mass},
        std={"jet_genmass": stated * mass},
        estimator="network",
        truth={"jet_genmass": truth},
        observables={"jet_mass": plain, "jet_pt": random.uniform(500, 1000, count)},
        system=SYSTEM,
    )


def test_columns_are_drawn_with_the_unit_that_the_system_gives_them(tmp_path):
    """JetClass's names end with no unit."""

    def labels() -> tuple[str, ...]:
        judge_as(SYSTEM)
        return column_label("jet_pt"), column_label("jet_nparticles"), residual_label("jet_genmass")

    said = contextvars.copy_context().run(labels)
    assert said == ("jet pT (GeV)", "constituents", "jet mass: estimate − truth (GeV)")
    mass_table().write(tmp_path / "masses.hdf5")
    with h5py.File(tmp_path / "masses.hdf5") as file:
        assert file["jet_pt"].attrs["units"] == "GeV"


def test_masses_are_judged_beside_the_plain_sum():
    found = mass_figures(mass_table(), bins=2)
    assert [one.name for one in found] == ["network", SUM] * 3
    network, plain = found[:2]
    assert network.response.value == pytest.approx(1, abs=0.01)
    assert network.width.value == pytest.approx(0.08, rel=0.06)
    assert network.coverage is not None
    assert network.coverage.value == pytest.approx(0.683, abs=0.03)
    assert plain.response.value == pytest.approx(0.95, abs=0.01)
    assert plain.width.value == pytest.approx(0.12 / 0.95, rel=0.06)
    assert plain.coverage is None
    assert found[2].jets + found[4].jets >= found[0].jets


@pytest.mark.parametrize(("options", "covered"), [({"stated": 0.05}, (0.4, 0.6)), ({"stated": 0.12}, (0.8, 0.95)),
                                                  ({"bias": 0.1}, (0.2, 0.5))])  # fmt: skip
def test_wrong_error_bars_are_noticed(options, covered):
    coverage = mass_figures(mass_table(**options), bins=1)[0].coverage
    assert coverage is not None
    assert covered[0] < coverage.value < covered[1]


def test_trees_learn_what_the_quantities_say(tmp_path, monkeypatch, capsys):
    """A mass that names the class; their table is judged as a network's is."""
    pytest.importorskip("sklearn")
    monkeypatch.setattr(trees, "ROUNDS", 15)
    code = np.arange(600) % 10
    path = made_jets.write(tmp_path / "jets.hdf5", 600, jet_sdmass=10.0 * code + np.random.default_rng(0).random(600))
    module = JetDataModule(str(path), particles=1)
    table = tree_table(module)
    assert len(table) == 60
    np.testing.assert_array_equal(table.event_id, module.records.event_ids[module.split.test])
    assert class_figures(table, 2)["accuracy"].value > 0.95
    monkeypatch.setattr(sys, "argv", ["jets.py", "--trees", str(path), "--output", str(tmp_path)])
    assert main() == 0
    tables = [str(tmp_path / "trees.hdf5")]
    monkeypatch.setattr(sys, "argv", ["jets.py", "--judge", *tables, "--output", str(tmp_path)])
    assert main() == 0
    assert "boosted trees" in capsys.readouterr().out
    assert json.loads((tmp_path / "jets.json").read_text())["classification"]["boosted trees"]["jets"] == 60


def test_quantities_have_their_ratios(jets):
    records = JetDataModule(str(jets)).records
    found = quantities(records, QUANTITIES)
    np.testing.assert_allclose(found[:, -3], records.scalar("jet_tau2") / records.scalar("jet_tau1"))


def test_tables_side_by_side(tmp_path):
    said = judge([class_table(), class_table(sharpness=1.0, estimator="trees"), mass_table()], tmp_path)
    for text in ("accuracy", "top 3", "macro F1", "rejection of QCD at 30 %", "Tbl", "plain sum", "R²", "within 1 σ"):
        assert text in said
    kept = json.loads((tmp_path / "jets.json").read_text())
    assert {head: set(figures) for head, figures in kept.items()} == {
        "classification": {"network", "trees"}, "mass": {"network"},
    }  # fmt: skip
    assert kept["classification"]["network"]["accuracy"]["error"] > 0
    assert (tmp_path / "jets.png").read_bytes().startswith(b"\x89PNG")


def test_masses_as_others_state_them_are_those_of_a_loop():
    table = mass_table(bias=0.05, count=400)
    truth, mass = table.truth("jet_genmass").tolist(), table.mean("jet_genmass").tolist()
    found = regression_figures(table)["network"]
    middle, count = sum(truth) / 400, 400
    squares = sum((m - t) ** 2 for m, t in zip(mass, truth, strict=True))
    assert found["mse_gev2"].value == pytest.approx(squares / count)
    assert found["mae_gev"].value == pytest.approx(sum(abs(m - t) for m, t in zip(mass, truth, strict=True)) / count)
    assert found["r2"].value == pytest.approx(1 - squares / sum((t - middle) ** 2 for t in truth))
    ratios = [m / t for m, t in zip(mass, truth, strict=True)]
    assert found["relative_resolution"].value == pytest.approx(np.std(ratios))
    assert found["r2"].low < found["r2"].value < found["r2"].high


def test_bins_of_pt_are_as_many_as_their_jets_allow():
    few, many = (mass_figures(mass_table(count=count))[2::2] for count in (200, 500))
    assert (len(few), len(many)) == (0, 3)
    assert all(abs(one.jets - many[0].jets) <= 2 for one in many)
    # a mass that is not a number is no jet less that is known badly: it is left out
    table = mass_table(count=200)
    failed = np.where(np.arange(200) < 20, np.nan, table.mean("jet_genmass"))
    assert mass_figures(table.with_columns({"jet_genmass": failed}))[0].jets == 180


def test_a_run_is_judged_by_its_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["jets.py", "--judge", str(tmp_path / "none"), "--output", str(tmp_path)])
    with pytest.raises(UserError, match="none"):
        main()
    class_table(300).write(tmp_path / "tables" / "a.hdf5")
    monkeypatch.setattr(sys, "argv", ["jets.py", "--judge", str(tmp_path / "tables"), "--output", str(tmp_path)])
    assert main() == 0
    assert "network" in capsys.readouterr().out


def test_tables_of_one_name_are_all_kept(tmp_path):
    said = judge([class_table(300), class_table(300, 1.0), mass_table(), mass_table(bias=0.1)], tmp_path)
    kept = json.loads((tmp_path / "jets.json").read_text())
    assert [set(kept[head]) for head in ("classification", "mass")] == [{"network (1)", "network (2)"}] * 2
    assert "network (2)" in said


def test_trees_of_too_few_jets_are_told(tmp_path):
    for count, fractions in ((3, (1.0, 0.0, 0.0)), (40, (1.0, 0.0, 0.0))):
        path = made_jets.write(tmp_path / f"{count}.hdf5", count)
        with pytest.raises(UserError, match="jets of two classes to train on and some to test"):
            tree_table(JetDataModule(str(path), fractions=fractions))
    one = {name: np.zeros(40, np.int8) for name in LABELS} | {"label_Hbb": np.ones(40, np.int8)}
    with pytest.raises(UserError, match="has 1 in its training split"):
        tree_table(JetDataModule(str(made_jets.write(tmp_path / "one.hdf5", 40, **one))))


def test_tables_that_are_neither_are_told():
    with pytest.raises(UserError, match="tells no classes of jets apart"):
        class_figures(mass_table())
    with pytest.raises(UserError, match="has no masses of jets with their truth"):
        mass_figures(class_table())
    with pytest.raises(UserError, match=r"jets of 10 GeV or more are too few"):
        mass_figures(mass_table(count=20))
