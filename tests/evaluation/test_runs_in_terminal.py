"""The table of a sweep in a terminal: whole words and numbers in 80 columns, the most important first."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from reconstruction.judging.sweeps.runs import PRUNED, read_run
from reconstruction.judging.sweeps.runs_summary import summarise_runs

ENCODERS = (
    "reconstruction.models.S4DEncoder",
    "reconstruction.models.ConvNetEncoder",
    "reconstruction.models.LSTMEncoder",
)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three runs that differ in many settings with long names and values."""
    for place, encoder in enumerate(ENCODERS):
        folder = tmp_path / f"{place:03d}"
        folder.mkdir()
        options = {"class_path": encoder, "init_args": {"width": 32 + place, "pooling": "attention", "depth": 3}}
        model = {
            "encoders": json.dumps(options),
            "optimiser": {"lr": 1e-3 * (place + 1), "ssm_lr": 1e-4 * (place + 1), "weight_decay": 0.1 + place},
            "schedule": f"reconstruction.training.schedules.Kind{place}",
            "ema_decay": 0.9 + place / 100,
        }
        config = {"model": model, "seed_everything": place, "trainer": {"max_epochs": 3}}
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        lines = ["step,epoch,val/loss,val/energy_sigma68_eV"]
        lines += [f"{epoch},{epoch},{3 - epoch + place},{10 - epoch}" for epoch in range(3 - place)]
        (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "002" / PRUNED).write_text("pruned after epoch 1\n")
    return tmp_path


@pytest.mark.parametrize("width", [60, 80, 200])
def test_it_fits_and_cuts_nothing_that_is_shown(runs: Path, width: int) -> None:
    text = io.StringIO()
    console = Console(file=text, width=width, highlight=False)
    console.print(summarise_runs(runs).terminal(width))
    lines = text.getvalue().splitlines()
    assert max(len(line.rstrip()) for line in lines) <= width
    assert "…" not in text.getvalue()
    rows = [line.split() for line in lines if line.strip()[:3] in ("000", "001", "002")]
    assert len(rows) == 3
    # what ranks the runs is there however little room there is
    assert "validation" in text.getvalue()
    assert rows[0][0] == "000"
    assert ("summary.csv" in text.getvalue()) == (width < 200 or "more columns" in text.getvalue())
    assert ("S4DEncoder" in text.getvalue()) or width == 60


def test_a_point_that_was_ended_early_is_over_and_told(runs: Path) -> None:
    summary = summarise_runs(runs)
    assert read_run(runs / "002").status == "pruned at 1"
    assert any("1 of 3 runs were ended early" in note for note in summary.notes)
    assert any("2 of 3 runs are not complete: 000 (trained, not tested)" in note for note in summary.notes)
