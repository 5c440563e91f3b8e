"""The seam: a system of a hundred lines goes the whole way through the real command line."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from programs import plain_environment, run_program
from undrawn import leave_undrawn

from cres.commands.evaluate import main as evaluate
from cres.errors import UserError
from cres.evaluation import PredictionTable
from reconstruction.judging.measures.comparison import compare, summarise
from reconstruction.judging.report.page import write_comparison
from reconstruction.training.command_line.cli import CommandLine, main
from reconstruction.training.learning.checkpoints import read_checkpoint
from reconstruction.training.learning.learner import CARD
from reconstruction.training.runs.loading import load_module
from reconstruction.training.watching.quiet import QUIET

HERE = Path(__file__).parent
pytestmark = [pytest.mark.filterwarnings(f"ignore:{text}") for text in QUIET]

CONFIG = """
system: straight_lines
seed_everything: 1
trainer: {max_epochs: 8, accelerator: cpu, enable_progress_bar: false}
model:
  encoders:
    points:
      class_path: reconstruction.models.ConvNetEncoder
      init_args: {width: 48, kernel_size: 1, stride: 1, downsample: [1, 1]}
  head: {class_path: reconstruction.models.GaussianHead, init_args: {hidden_width: 32}}
  optimiser: {lr: 1.0e-2}
curriculum: {noise_scale: {shape: linear, start: 0.2}}
figures: {every_epochs: 0}
"""


@pytest.fixture(scope="module", autouse=True)
def lines():
    """The module of the system, as a user has his on PYTHONPATH."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        yield importlib.import_module("straight_lines")


@pytest.fixture(scope="module")
def folder(lines, tmp_path_factory) -> Path:
    """Data, configuration and two runs, the second one in a process of its own."""
    folder = tmp_path_factory.mktemp("lines")
    lines.write(folder / "lines.hdf5")
    (folder / "lines.yaml").write_text(CONFIG)
    options = ["-c", str(folder / "lines.yaml"), f"--data.data={folder / 'lines.hdf5'}"]
    main(["fit", *options, f"--run={folder / 'a'}", "--figures.every_epochs=8"])
    command = [sys.executable, HERE.parents[1] / "cli.py", "fit", *options, f"--run={folder / 'b'}"]
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    more = ["--seed_everything=2", "--trainer.max_epochs=4"]
    done = run_program([*command, *more], folder, plain_environment(PYTHONPATH=path))
    assert done.code == 0, done.said
    for run in "ab":
        main(["test", f"--run={folder / run}"])
    return folder


def test_it_learns_and_its_error_bars_hold(folder):
    table = PredictionTable.read(folder / "a" / "predictions.hdf5")
    assert table.targets == ("offset_mm", "slope")
    assert table.attributes["system"] == "straight_lines"
    assert table.attributes["split"] == "test"
    assert np.median(np.abs(table.residual("offset_mm"))) < 0.2
    inside = np.abs(table.residual("slope")) < table.std("slope")
    assert 0.58 < inside.mean() < 0.78
    assert (folder / "a" / "figures" / "validation_0008.png").exists()


def test_what_a_checkpoint_knows_is_the_systems(folder):
    card = read_checkpoint(folder / "a" / "checkpoints" / "best.ckpt")[CARD]
    assert card["system"] == "straight_lines"
    assert card["model"]["error_mm"] == card["data"]["error_mm"] == 0.2
    assert set(card["signature"]) == {"height_mm"}
    assert "sampling_rate_hz" not in card["model"]


def test_padding_changes_nothing_and_lengths_reach_the_encoder(folder, lines, monkeypatch):
    model = load_module(folder / "a" / "checkpoints" / "best.ckpt")
    points = torch.randn(3, 12, 2)
    mask = torch.arange(12) < torch.tensor([[5], [12], [9]])
    padded = model({"points": points}, {"points": mask}).estimate
    spoiled = torch.where(mask.unsqueeze(-1), points, torch.full_like(points, 1e3))
    torch.testing.assert_close(model({"points": spoiled}, {"points": mask}).estimate, padded)
    torch.testing.assert_close(model(points[:1, :5]).estimate, padded[:1], rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(lines.PointsView, "lengths", lambda self, lengths, samples, positions: None)
    assert not torch.allclose(model({"points": spoiled}, {"points": mask}).estimate, padded)


def test_a_training_goes_on_as_if_nothing_had_been(folder, lines, tmp_path):
    few = lines.write(tmp_path / "few.hdf5", 300, seed=3)
    options = ["-c", str(folder / "lines.yaml"), f"--data.data={few}", f"--run={tmp_path}"]
    options += [
        "--model.schedule=reconstruction.training.schedules.Constant",
        "--curriculum.noise_scale.epochs=4",
    ]
    whole = ["fit", *options[:-3], f"--run={tmp_path / 'whole'}", *options[-2:], "--trainer.max_epochs=4"]
    main(whole)
    main(["fit", *options, "--trainer.max_epochs=2"])
    main(["fit", f"--run={tmp_path}", "--resume", "--trainer.max_epochs=4"])
    first, second = (read_checkpoint(run / "checkpoints" / "last.ckpt") for run in (tmp_path / "whole", tmp_path))
    assert first["global_step"] == second["global_step"]
    for name, value in first["state_dict"].items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, second["state_dict"][name]), name


def test_records_of_another_apparatus_are_told_and_of_another_read_out_refused(folder, lines, tmp_path):
    tall = lines.write(tmp_path / "tall.hdf5", 200, seed=1, height=2.0)
    table = tmp_path / "tall_predicted.hdf5"
    with pytest.warns(UserWarning, match=r"heights of .* in training.*train a model for this chamber"):
        main(["predict", f"--run={folder / 'a'}", f"--data.data={tall}", f"--predictions={table}"])
    assert "heights" in PredictionTable.read(table).attributes["apparatus_warning"]
    other = lines.write(tmp_path / "other.hdf5", 200, seed=2, error_mm=0.5)
    with pytest.raises(UserError, match=r"error of a point is 0\.5 mm, but the model was trained at 0\.2 mm"):
        main(["predict", f"--run={folder / 'a'}", f"--data.data={other}"])


def test_several_runs_are_compared_and_reported_in_its_own_words(folder, capsys, monkeypatch):
    tables = [str(folder / run / "predictions.hdf5") for run in "ab"]
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *tables, "--output", str(folder / "report")])
    evaluate()
    page = (folder / "report" / "report.html").read_text()
    said = capsys.readouterr().out
    for text in ("long (", "within 0.5 mm", "300 lines"):
        assert text in said, text
    assert "How well are the lines reconstructed?" in page
    assert "Long are lines with a track of 8 points or more" in page
    for stranger in ("electron", "sideband", "pitch angle", " eV"):
        assert stranger not in page, stranger


def test_a_comparison_keeps_its_own_words_whatever_is_compared_after_it(folder, monkeypatch):
    from cres.evaluation.examples import example_table

    tables = [PredictionTable.read(folder / run / "predictions.hdf5") for run in "ab"]
    lines = compare(tables)
    compare([example_table(200)])  # electrons, between the comparison and its report
    # the pictures are those of the report above: none is drawn again
    leave_undrawn(monkeypatch)
    page = write_comparison(lines, summarise(lines), folder / "between").read_text()
    assert "How well are the lines reconstructed?" in page
    assert "resolved" not in page


def test_an_ensemble_of_it_is_one_model(folder, tmp_path):
    files = ",".join(str(folder / run / "checkpoints" / "best.ckpt") for run in "ab")
    table = tmp_path / "both.hdf5"
    main(["test", f"--run={folder / 'a'}", f"--ckpt_path=[{files}]", f"--predictions={table}"])
    both, *alone = (
        PredictionTable.read(path) for path in (table, *(folder / run / "predictions.hdf5" for run in "ab"))
    )
    assert np.std(both.residual("slope")) < max(np.std(one.residual("slope")) for one in alone)
    assert both.attributes["checkpoint_hash"] == "+".join(one.attributes["checkpoint_hash"] for one in alone)


def test_systems_do_not_mix(folder, tmp_path):
    from cres.evaluation.examples import example_table

    line = PredictionTable.read(folder / "a" / "predictions.hdf5")
    with pytest.raises(UserError, match="cannot be compared"):
        compare([line, example_table(50)])
    with pytest.raises(UserError, match=r"there is no system 'round_lines'.*PYTHONPATH"):
        CommandLine("fit", ["-c", str(folder / "lines.yaml"), "--system=round_lines"])
    checkpoint = folder / "a" / "checkpoints" / "best.ckpt"
    with pytest.raises(UserError, match=r"a model of the system straight_lines.*--system=straight_lines"):
        CommandLine("test", [f"--ckpt_path={checkpoint}", f"--run={tmp_path}", "--data.data=none.hdf5"])


def test_its_options_are_its_own(capsys):
    with pytest.raises(SystemExit):
        CommandLine("predict", ["--system=straight_lines", "--help-all"])
    own = capsys.readouterr().out
    assert "--windows" not in own
    assert "--data.band_hz" not in own
    assert "--data.fractions" in own
