"""Run folders in one table and on one page."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from cres.errors import UserError
from cres.evaluation import PredictionTable
from reconstruction.judging.pictures import plots
from reconstruction.judging.pictures.plots import Curve
from reconstruction.judging.sweeps.runs import differences, read_history, read_runs, short_names
from reconstruction.judging.sweeps.runs_page import write_summary
from reconstruction.judging.sweeps.runs_plots import _apart, training_curves
from reconstruction.judging.sweeps.runs_summary import Summary, metric_label, summarise_runs

LOSSES = {"000": [3.0, 2.0, 2.5], "001": [3.0, 1.5, 1.0], "002": [2.0, 4.0]}


def write_run(folder: Path, losses: list[float], table: PredictionTable | None = None, **config: object) -> Path:
    """Write what a training leaves behind."""
    folder.mkdir(parents=True)
    whole = {"trainer": {"max_epochs": 3}, "checkpoint": {"monitor": "val/loss"}, "run": str(folder), **config}
    (folder / "config.yaml").write_text("# lightning.pytorch==2.6.6\n" + yaml.safe_dump(whole))
    lines = ["step,epoch,train/loss_step,val/loss,val/energy_sigma68_eV,val/coverage"]
    for epoch, loss in enumerate(losses):
        lines += [f"{10 * epoch + 4},{epoch},9.0,,,", f"{10 * epoch + 9},{epoch},,{loss},{10 * loss},0.68"]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    if table is not None:
        table.write(folder / "predictions.hdf5")
    return folder


@pytest.fixture
def runs(tmp_path: Path, draw_table: Callable[..., PredictionTable]) -> Path:
    """A sweep of four points: two complete, one on its way, one not begun."""
    for place, (name, losses) in enumerate(LOSSES.items()):
        table = draw_table(300, worse=1.0 + place) if len(losses) == 3 else None
        write_run(tmp_path / name, losses, table, model={"optimiser": {"lr": 10.0**-place}, "ema_decay": 0.0})
    (tmp_path / "points").write_text("4\n")
    return tmp_path


@pytest.fixture
def result(runs: Path) -> Summary:
    return summarise_runs(runs, resamples=20)


def test_runs_are_ranked_by_validation_at_their_best_checkpoint(result: Summary) -> None:
    assert [run.name for run in result.runs] == ["001", "000", "002", "003"]
    assert [run.best_epoch for run in result.runs] == [3, 2, 1, None]
    assert result.best is result.runs[0]
    assert result.by == "val/loss"


def test_only_settings_that_differ_are_shown(result: Summary) -> None:
    assert result.keys == ["model.optimiser.lr"]
    assert [column.heading for column in result.columns()][:3] == ["run", "lr", "status"]
    assert [run.status for run in result.runs] == ["complete", "complete", "epoch 2 of 3", "not begun"]
    assert any("2 of 4 runs are not complete: 002 (epoch 2 of 3), 003 (not begun)" in note for note in result.notes)


def test_figures_are_those_of_the_evaluation(result: Summary) -> None:
    figures = {run.name: result.figure(run, "energy_ev", "all", "sigma68") for run in result.runs}
    assert figures["003"] is None
    assert figures["000"] is not None
    assert figures["001"] is not None
    assert figures["001"].value == pytest.approx(2 * figures["000"].value)


def test_the_bound_gives_a_column(runs: Path, draw_table: Callable[..., PredictionTable], tmp_path: Path) -> None:
    draw_table(300, kind="bound").write(tmp_path / "bound.hdf5")
    with_bound = summarise_runs(runs, bound=tmp_path / "bound.hdf5", resamples=20)
    ratio = with_bound.figure(with_bound.runs[0], "energy_ev", "all", "bound_ratio")
    assert ratio is not None
    assert ratio.value == pytest.approx(2.0, rel=0.15)


def test_tables_hold_every_run(result: Summary) -> None:
    rows = list(csv.DictReader(io.StringIO(result.comma_separated())))
    assert [row["run"] for row in rows] == ["001", "000", "002", "003"]
    assert [row["model.optimiser.lr"] for row in rows] == ["0.1", "1.0", "0.01", ""]
    assert float(rows[0]["validation loss"]) == 1.0
    lines = result.markdown().splitlines()
    assert len(lines) == 6
    assert len({line.count(" | ") for line in lines}) == 1


def test_the_page_is_one_file(result: Summary, tmp_path: Path) -> None:
    page = write_summary(result, tmp_path / "out").read_text()
    for text in (
        "The runs of",
        "001",
        "model.optimiser.lr",
        "best first by validation loss",
        "summary.csv",
        "coverage",
    ):
        assert text in page
    assert 'src="http' not in page
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "summary.html",
        "summary.md",
        "summary.csv",
        "figures",
    }


def test_runs_with_other_losses_are_ranked_by_resolution(runs: Path) -> None:
    write_run(runs / "004", [0.1], model={"loss": {"class_path": "reconstruction.models.MSE"}})
    result = summarise_runs(runs, resamples=20)
    assert result.by == "val/energy_sigma68_eV"
    assert any("what their loss means" in note for note in result.notes)
    assert summarise_runs(runs, by="val/loss", resamples=20).best is not None


def test_a_damaged_table_and_a_torn_line_stop_nothing(runs: Path) -> None:
    (runs / "000" / "predictions.hdf5").write_bytes(b"damaged")
    with (runs / "001" / "metrics.csv").open("a") as stream:
        stream.write("39,3")
    result = summarise_runs(runs, resamples=20)
    assert any("000" in note and "predictions.hdf5" in note for note in result.notes)
    assert result.runs[0].epochs == 3


def test_an_epoch_that_was_done_again_counts_once(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,epoch,val/loss\n1,0,5\n2,1,4\n2,1,3\n")
    epochs, values = read_history(tmp_path / "metrics.csv")["val/loss"]
    assert epochs.tolist() == [1, 2]
    assert values.tolist() == [5, 3]


def test_mistakes_are_one_sentence(tmp_path: Path, runs: Path) -> None:
    for folder, words in ((tmp_path / "none", "there is no folder"), (runs / "000", "there is no run in")):
        with pytest.raises(UserError, match=words):
            summarise_runs(folder)
    with pytest.raises(UserError, match="did you mean 'val/loss'"):
        summarise_runs(runs, by="val/los")


def test_names_are_as_short_as_they_can_be() -> None:
    keys = ["model.encoders.a.init_args.width", "model.encoders.b.init_args.width", "model.optimiser.lr"]
    assert list(short_names(keys).values()) == ["a.width", "b.width", "lr"]
    assert metric_label("val/pitch_angle_sigma68_deg") == "validation pitch angle σ68 (deg)"
    assert metric_label("train/loss_epoch") == "training loss"


def test_folders_of_the_runs_are_no_difference(runs: Path) -> None:
    assert differences(read_runs(runs)) == ["model.optimiser.lr"]


@pytest.mark.parametrize(
    ("count", "label"), [(6, "003"), (7, "network {}"), (5, "a network with a rather long name {}")]
)
def test_a_legend_of_many_stays_within_the_picture(count: int, label: str) -> None:
    curves = [
        Curve(label.format(i), np.random.default_rng(i).normal(size=200), np.ones(200), place=i) for i in range(count)
    ]
    figure = plots.survival(curves, "energy_ev")
    figure.draw_without_rendering()
    legend = figure.axes[0].get_legend()
    assert legend is not None
    box = legend.get_window_extent()
    assert len(legend.get_texts()) == count
    assert box.x1 <= figure.bbox.x1
    assert box.y1 <= figure.bbox.y1


def test_the_curves_show_what_comes_after_the_first_steps(tmp_path: Path) -> None:
    losses = [30 * 0.6**epoch - 1 for epoch in range(20)]
    run = read_runs(write_run(tmp_path / "000", losses).parent)[0]
    low, high = training_curves([run], "val/loss").axes[0].get_ylim()
    assert low < min(losses)
    assert high < 5


def test_values_are_labels_only_where_they_have_room() -> None:
    assert _apart(np.array([1.0]))
    assert _apart(np.log([1e-3, 3e-3, 1e-2]))
    assert not _apart(np.log([1.257e-4, 1.752e-4, 7.811e-3, 8.06e-3]))
    assert not _apart(np.linspace(0, 1, 12))
