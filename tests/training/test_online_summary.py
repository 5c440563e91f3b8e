"""What of a sweep's summary goes to Weights & Biases; test_wandb_server.py has the servers that fail."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconstruction.judging.sweeps.runs_page import write_summary
from reconstruction.judging.sweeps.runs_summary import Summary, summarise_runs
from reconstruction.training.watching.online_summary import columns_and_rows, send_summary

ROOT = Path(__file__).parents[2]


def write_run(folder: Path, rate: float, losses: list[float]) -> None:
    folder.mkdir(parents=True)
    config = {
        "trainer": {"max_epochs": 2}, "checkpoint": {"monitor": "val/loss"}, "wandb_project": "mine",
        "model": {"optimiser": {"lr": rate}},
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    lines = [f"{place},{place},{loss + 1},{loss}" for place, loss in enumerate(losses)]
    (folder / "metrics.csv").write_text("\n".join(["step,epoch,train/loss_epoch,val/loss", *lines]) + "\n")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name, rate, losses in (("000", 0.1, [2.0, 1.5]), ("001", 0.2, [1.0, float("nan")])):
        write_run(tmp_path / "sweep" / name, rate, losses)
    return tmp_path / "sweep"


@pytest.fixture
def result(runs: Path) -> Summary:
    return summarise_runs(runs)


class Wandb(types.SimpleNamespace):
    """Notes what it is given."""

    def __init__(self) -> None:
        self.logged: dict[str, Any] = {}
        self.files: list[str] = []
        self.begun: list[dict[str, Any]] = []
        self.finished = 0
        super().__init__(
            Settings=lambda **settings: settings,
            Image=lambda path: path,
            Html=lambda path, inject: Path(path).read_text(),
            Table=lambda headings, rows, allow_mixed_types: (headings, rows),
            Artifact=lambda name, type: self,
        )

    def init(self, **options: Any) -> Any:
        self.begun.append(options)
        self.summary: dict[str, Any] = {}
        return self

    def log(self, values: dict[str, Any]) -> None:
        self.logged |= values

    def add_file(self, path: str) -> None:
        self.files.append(Path(path).name)

    def log_artifact(self, artifact: Any) -> None:
        assert artifact is self

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Wandb:
    one = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", one)
    monkeypatch.setenv("WANDB_MODE", "offline")
    return one


def test_table_page_and_figures_are_one_run(result: Summary, runs: Path, wandb: Wandb) -> None:
    page = write_summary(result, runs)
    (runs / "figures" / "of_an_earlier_summary.png").write_bytes(b"picture")
    assert send_summary(result, runs, page)
    headings, rows = wandb.logged["runs"]
    assert "model.optimiser.lr" in headings
    assert [row[0] for row in rows] == ["001", "000"]
    assert wandb.logged["page"] == page.read_text()
    pictures = {name for name in wandb.logged if name.startswith("figures/")}
    assert len(pictures) == len(list((runs / "figures").glob("*.png"))) - 1 >= 3
    assert "figures/of_an_earlier_summary" not in pictures
    assert wandb.files == ["summary.html", "summary.md", "summary.csv"]
    assert (wandb.summary["best_run"], wandb.summary["best_val/loss"]) == ("001", 1.0)
    assert wandb.begun[0]["project"] == "mine"
    assert wandb.finished == 1
    assert send_summary(result, runs, page)
    assert wandb.begun[0]["id"] == wandb.begun[1]["id"]


def test_what_is_not_known_is_none_and_not_nan(result: Summary) -> None:
    headings, rows = columns_and_rows(result)
    assert all(len(row) == len(headings) for row in rows)
    assert all(value == value for row in rows for value in row)


def test_a_failure_costs_one_sentence(
    result: Summary, runs: Path, wandb: Wandb, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = write_summary(result, runs)
    monkeypatch.setattr(wandb, "log_artifact", lambda artifact: {}["quota exceeded"])
    assert not send_summary(result, runs, page)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert not send_summary(result, runs, page)
    said = [line for line in capsys.readouterr().err.splitlines() if "Drawing" not in line]
    assert len(said) == 2
    assert "quota exceeded" in said[0]
    assert "wandb login" in said[1]


def summarise(runs: Path, *options: str, **more: str) -> str:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    command = [sys.executable, str(ROOT / "scripts/sweep.py"), "summarise", str(runs), *options]
    environment = {**plain, "OMP_NUM_THREADS": "1", "COLUMNS": "160", **more}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "summary.html" in done.stdout
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_real_client_stores_it_offline_when_the_runs_were_online(runs: Path) -> None:
    assert "Biases" not in summarise(runs, WANDB_MODE="offline")
    (runs / "000" / "wandb_id").write_text("abcd1234")
    assert "Biases" not in summarise(runs, "--no-wandb", WANDB_MODE="offline")
    assert not (runs / "wandb").exists()
    assert "on Weights & Biases: the run sweep summary" in summarise(runs, WANDB_MODE="offline")
    stored = list((runs / "wandb").glob("offline-run-*/files/media/*/*"))
    assert {path.parent.name for path in stored} >= {"table", "html", "images"}
