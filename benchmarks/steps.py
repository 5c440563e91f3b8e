"""What benchmarks of many steps share: commands that are run once, options of trainings, figures over seeds, tables."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reconstruction.errors import UserError
from reconstruction.files import write_whole

ROOT = Path(__file__).parents[1]


def made(command: Sequence[str], there: Path) -> None:
    """Run a command of the program unless what it makes is there. Raises UserError where it fails."""
    if there.exists():
        return
    print("+ python", *command, flush=True)
    code = subprocess.run([sys.executable, *command], cwd=ROOT, check=False).returncode
    if code:
        raise UserError(f"python {' '.join(command)} ended with code {code}: mend it and run this again")


def data_of(given: Path | None, folder: Path, manifest: str, command: Sequence[str]) -> Path:
    """Return the folder of data that is given, else one that the command makes, with --output added.

    Raises UserError where a folder is given that does not hold the manifest: nothing is made in it.
    """
    data = (given or folder / "data").resolve()
    if given is None:
        made([*command, "--output", str(data)], data / manifest)
    elif not (data / manifest).exists():
        raise UserError(f"{given} holds no {manifest}: name data that {command[0]} made, or leave --data out")
    return data


def require_options(others: Sequence[str]) -> None:
    """Raise UserError for options that no training has, before hours of events and trainings: theirs have parts."""
    unknown = next((one for one in others if one.startswith("--") and "." not in one.partition("=")[0]), None)
    if unknown is not None:
        raise UserError(f"{unknown} is no option of this benchmark, nor of a training, such as --trainer.max_epochs=5")


def over_seeds(values: Iterable[float | None]) -> tuple[float | None, float | None]:
    """Return mean and standard deviation over seeds; None for what is not known, of one seed the deviation."""
    known = [math.nan if value is None else value for value in values]
    found = float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else math.nan
    mean, deviation = (value if math.isfinite(value) else None for value in found)
    return mean, deviation


def said(pair: tuple[float | None, float | None] | None, digits: int, of_events: float | None = None) -> str:
    """Return mean ± scatter of seeds, and ± what the judged events leave open, as far as they are known."""
    if pair is None or pair[0] is None:
        return ""
    return " ± ".join(f"{value:.{digits}f}" for value in (*pair, of_events) if value is not None)


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as Markdown."""
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def write_results(folder: Path, summary: Any, table: str) -> None:
    """Write summary.json and table.md, and print the table."""
    write_whole(folder / "summary.json", (json.dumps(summary, indent=1) + "\n").encode())
    write_whole(folder / "table.md", table.encode())
    print(table)
