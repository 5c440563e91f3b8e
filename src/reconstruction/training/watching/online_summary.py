"""The summary of a sweep on Weights & Biases: table, page and figures as one run, never fatal."""

from __future__ import annotations

import base64
import math
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reconstruction.judging.report.page import FIGURES
from reconstruction.judging.sweeps.runs_page import CSV, MARKDOWN
from reconstruction.judging.sweeps.runs_summary import Summary, as_text
from reconstruction.training.watching.loggers import TIMEOUT_S, wandb_run_id, wandb_wanted, within

UPLOAD_TIMEOUT_S = 120.0
"""How long pages and pictures may take, beside the start."""
DEFAULT_PROJECT = "cres"


def send_summary(result: Summary, runs: Path, page: Path, timeout_s: float = UPLOAD_TIMEOUT_S) -> bool:
    """Send a summary that `write_summary` wrote to Weights & Biases; returns whether it arrived.

    `runs` is the sweep's folder: the run's identity is kept there, so that a later summary replaces this one. Whatever
    goes wrong costs one sentence on stderr, and at most `timeout_s` and the time of the start.
    """
    # Weights & Biases asks on the terminal for a key that it does not have
    if not wandb_wanted():
        _tell("log in with `wandb login` first, or set WANDB_MODE=offline")
        return False
    try:
        within(lambda: _send(result, runs, page), timeout_s + TIMEOUT_S)
    except Exception as error:  # whatever it is, the page is written
        _tell((str(error).splitlines() or [type(error).__name__])[0])
        return False
    return True


def columns_and_rows(result: Summary) -> tuple[list[str | int], list[Iterable[Any]]]:
    """Return the table for programs: headings, settings under their full keys, and one row a run, best first."""
    columns = result.columns(all_keys=True)
    return [*result.headings()], [[_plain(column.raw(run)) for column in columns] for run in result.runs]


def _send(result: Summary, runs: Path, page: Path) -> None:
    import wandb

    settings = wandb.Settings(init_timeout=TIMEOUT_S, login_timeout=TIMEOUT_S, silent=True)
    run = wandb.init(
        project=_project(result),
        name=f"{result.title} summary",
        id=wandb_run_id(runs),
        group=os.environ.get("WANDB_RUN_GROUP") or result.title,
        job_type="summary",
        dir=str(runs),
        resume="allow",
        settings=settings,
    )
    headings, rows = columns_and_rows(result)
    pictures = {f"figures/{path.stem}": wandb.Image(str(path)) for path in _pictures(page)}
    # the page has pictures and downloads of its own: W&B is not to add its style
    shown = {"runs": wandb.Table(headings, rows, allow_mixed_types=True), "page": wandb.Html(str(page), inject=False)}
    run.log({**shown, **pictures})
    run.summary.update(_best(result))
    files = wandb.Artifact(f"{result.title}-summary", type="summary")
    for path in (page, page.with_name(MARKDOWN), page.with_name(CSV)):
        files.add_file(str(path))
    run.log_artifact(files)
    run.finish()


def _pictures(page: Path) -> list[Path]:
    """Return the pictures beside a page that it shows: earlier summaries may have left others."""
    text = page.read_text()
    found = sorted((page.parent / FIGURES).glob("*.png"))
    return [path for path in found if base64.b64encode(path.read_bytes()).decode() in text]


def _best(result: Summary) -> dict[str, Any]:
    best = result.best
    if best is None:
        return {}
    return {
        "best_run": best.name,
        f"best_{result.by}": best.at_best(result.by),
        "best_checkpoint": str(best.checkpoint),
    }


def _project(result: Summary) -> str:
    names = [str(run.config["wandb_project"]) for run in result.runs if run.config.get("wandb_project")]
    return names[0] if names else DEFAULT_PROJECT


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return as_text(value) if not isinstance(value, Path) else str(value)


def _tell(reason: str) -> None:
    print(f"Weights & Biases is left out ({reason}); the page has everything", file=sys.stderr)
