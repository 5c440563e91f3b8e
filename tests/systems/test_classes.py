"""Classes in the core: a system whose rows are of kinds goes the whole way through the real command line."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from cres.commands.evaluate import main as evaluate
from cres.errors import UserError
from cres.evaluation import PredictionTable
from reconstruction.judging.measures.comparison import compare, summarise
from reconstruction.judging.measures.separation import Told, calibration_error
from reconstruction.judging.sweeps.runs_summary import summarise_runs
from reconstruction.judging.tables.table_csv import read_table
from reconstruction.training.command_line.cli import main
from reconstruction.training.learning.checkpoints import read_checkpoint
from reconstruction.training.learning.learner import CARD
from reconstruction.training.runs.loading import load_ensemble, load_module
from reconstruction.training.watching.quiet import QUIET

HERE = Path(__file__).parent
pytestmark = [pytest.mark.filterwarnings(f"ignore:{text}") for text in QUIET]

CONFIG = """
system: marbles
seed_everything: 1
trainer: {max_epochs: 6, accelerator: cpu, enable_progress_bar: false}
data: {targets: [kind], fractions: [0.4, 0.2, 0.4]}
model:
  encoders:
    points:
      class_path: reconstruction.models.ConvNetEncoder
      init_args: {width: 24, kernel_size: 1, stride: 1, downsample: [1, 1]}
  head:
    class_path: reconstruction.models.CategoricalHead
    init_args: {classes: {glass: 7, Clay pot: 8, steel: 40}, hidden_width: 16}
  optimiser: {lr: 1.0e-2}
figures: {every_epochs: 6}
"""


@pytest.fixture(scope="module", autouse=True)
def marbles():
    """The module of the system, as a user has his on PYTHONPATH."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        yield importlib.import_module("marbles")


@pytest.fixture(scope="module")
def folder(marbles, tmp_path_factory) -> Path:
    """Data, configuration and two tested runs."""
    folder = tmp_path_factory.mktemp("marbles")
    marbles.write(folder / "marbles.hdf5")
    (folder / "marbles.yaml").write_text(CONFIG)
    for seed, run in enumerate("ab"):
        options = [f"--data.data={folder / 'marbles.hdf5'}", f"--run={folder / 'runs' / run}"]
        main(["fit", "-c", str(folder / "marbles.yaml"), *options, f"--seed_everything={seed}"])
        main(["test", f"--run={folder / 'runs' / run}"])
    return folder


@pytest.fixture(scope="module")
def table(folder) -> PredictionTable:
    return PredictionTable.read(folder / "runs" / "a" / "predictions.hdf5")


def test_it_learns_the_probabilities_that_are_right(folder, marbles, table):
    with h5py.File(folder / "marbles.hdf5") as file:
        points = np.column_stack([file["x_mm"][:, 0], file["y_mm"][:, 0]])
    right = marbles.right_probabilities(points)[table.event_id]
    assert len(table) == 960
    assert table.classes == {"glass": 7, "Clay pot": 8, "steel": 40}
    assert np.abs(table.probabilities() - right).mean() < 0.04
    best = np.array(list(marbles.PLACES))[right.argmax(1)]
    assert np.mean(table.mean("kind") == table.truth("kind")) > np.mean(best == table.truth("kind")) - 0.03
    np.testing.assert_allclose(table.column("kind_log_density"), np.log(Told.of_table(table, "kind").of_the_true))


def test_a_table_of_classes_states_no_widths_and_survives_files(table, tmp_path):
    assert not any(name.endswith(("_std", "_spread", "_low95")) or "covariance" in name for name in table.columns)
    assert {"probability_glass", "probability_clay_pot", "probability_steel"} <= set(table.columns)
    again = PredictionTable.read(table.write(tmp_path / "t.hdf5"))
    assert again.classes == table.classes
    np.testing.assert_array_equal(again.probabilities(), table.probabilities())
    assert "probability_steel" in read_table(table.to_csv(tmp_path / "t.csv")).columns


def test_figures_of_the_validation_are_those_of_classes(folder):
    lines = (folder / "runs" / "a" / "metrics.csv").read_text().splitlines()
    assert {"val/accuracy", "val/auc", "val/ece"} <= set(lines[0].split(","))
    assert "sigma68" not in lines[0]
    assert (folder / "runs" / "a" / "figures" / "validation_0006.png").exists()
    summary = summarise_runs(folder / "runs", resamples=20).markdown()
    assert "kind accuracy, all (%)" in summary
    assert "kind AUC, all" in summary


def test_the_report_judges_classes(folder, table, tmp_path, capsys, monkeypatch):
    guess = table.renamed("guess").with_columns(
        {name: np.full(len(table), 1 / 3) for name in table.columns if name.startswith("probability_")}
    )
    blind = guess.write(tmp_path / "blind.hdf5")
    words = ["evaluate.py", str(folder / "runs" / "a" / "predictions.hdf5"), str(blind)]
    monkeypatch.setattr(sys, "argv", [*words, "--output", str(tmp_path / "report")])
    evaluate()
    said = capsys.readouterr().out
    page = (tmp_path / "report" / "report.html").read_text()
    for text in ("kind of 960 marbles", "accuracy (%)", "AUC"):
        assert text in said, text
    for text in ("Separation.</b> The best is a", "Probabilities of the kind", "calibration error", "over-confidence"):
        assert text in page, text
    for stranger in ("σ68", "1σ", "Cramér", "sideband"):
        assert stranger not in page, stranger
    pictures = {path.stem for path in (tmp_path / "report" / "figures").glob("*.png")}
    assert {"kind_confusion_0", "kind_reliability_all", "kind_roc_all_steel", "kind_accuracy_weight_g"} <= pictures
    rows = {row.estimator: row for row in summarise(compare([table, guess]), resamples=50)}
    assert rows["guess"].figures["auc"].value == 0.5
    figures = rows["a"].figures
    assert figures["accuracy"].low < figures["accuracy"].value < figures["accuracy"].high
    assert 0.7 < figures["auc"].value < 1


@pytest.mark.parametrize(("power", "label"), [(1.0, "calibrated"), (3.0, "over-confident"), (0.4, "under-confident")])
def test_wrong_probabilities_are_told(marbles, power, label):
    """Right probabilities pass; p^power, normalised, is too sure or too modest, and one temperature mends it."""
    random = np.random.default_rng(3)
    points = np.concatenate([place + random.normal(size=(1500, 2)) for place in marbles.PLACES.values()])
    kinds = np.repeat(list(marbles.PLACES), 1500)
    stated = marbles.right_probabilities(points) ** power
    stated /= stated.sum(1, keepdims=True)
    names = {"glass": 7, "clay": 8, "steel": 40}
    table = PredictionTable.from_estimates(
        np.arange(4500), {"kind": np.array(list(names.values()))[stated.argmax(1)]}, estimator="e",
        truth={"kind": kinds}, system=marbles.SYSTEM,
        observables={f"probability_{name}": stated[:, i] for i, name in enumerate(names)},
    ).with_attributes({"classes": names})  # fmt: skip
    (row,) = summarise(compare([table]), resamples=30)
    assert row.verdict is not None
    assert row.verdict.label == label
    if power == 1:
        assert row.figures["ece"].value < 2.5 * row.figures["ece_chance"].value
    else:
        assert row.figures["ece"].value > 4 * row.figures["ece_chance"].value


def test_its_temperature_is_fitted_on_the_validation_split(folder, table, tmp_path):
    """An over-confident network becomes honest; what it takes for the most probable stays."""
    checkpoint = read_checkpoint(folder / "runs" / "a" / "checkpoints" / "best.ckpt")
    factor = checkpoint["state_dict"]["reconstructor.calibration.temperature.factor"]
    assert factor.shape == (8, 1)
    assert bool((factor == factor[0]).all())
    assert factor[0] != 1
    assert checkpoint[CARD]["classes"] == [["glass", 7], ["Clay pot", 8], ["steel", 40]]
    assert "ranges" not in checkpoint[CARD]
    told = Told.of_table(table, "kind")
    assert calibration_error(told.confidence, told.right.astype(float), np.ones((1, len(table))))[0] < 0.08


def test_an_ensemble_averages_probabilities(folder, table):
    files = [folder / "runs" / run / "checkpoints" / "best.ckpt" for run in "ab"]
    both, *alone = (
        load(one) for load, one in ((load_ensemble, files), (load_module, files[0]), (load_module, files[1]))
    )

    points = torch.randn(5, 1, 2)
    one, other = (module(points).probabilities for module in alone)
    torch.testing.assert_close(both(points).probabilities, (one + other) / 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data.targets=[kind,weight_g]"], "one target, the column that holds the class"),
        (["--model.head.init_args.classes={glass: 7, clay: 8}"], r"has 40 in kind, .* none of the classes .*clay: 8"),
        (["--model.head.init_args.classes={glass: 7, clay: 8, steel: 40, wood: 9}"], "train on is of the class wood"),
        (["--model.head.init_args.classes={glass: 7, Glass: 8, steel: 40}"], "have the same name"),
        (["--model.head.init_args.classes={glass: 7, clay: 7, steel: 40}"], "have the same code"),
        (["--model.head.init_args.classes={glass: 7}"], "at least two classes"),
        (["--model.loss=MSE"], "needs the CrossEntropy loss"),
        (["--model.loss=CRPS"], "needs the CrossEntropy loss"),
        (["--model.loss=CrossEntropy", "--model.loss.weights=[1, 2]"], "2 weights for 3 classes"),
    ],
)
def test_mistakes_are_one_sentence(folder, tmp_path, options, message):
    words = ["fit", "-c", str(folder / "marbles.yaml"), f"--data.data={folder / 'marbles.hdf5'}"]
    with pytest.raises(UserError, match=message):
        main([*words, f"--run={tmp_path / 'run'}", "--trainer.limit_train_batches=1", *options])
