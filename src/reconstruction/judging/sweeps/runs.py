"""The runs of a sweep as their folders tell them: configuration, metrics of each epoch, predictions."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from reconstruction.errors import UserError
from reconstruction.judging.measures.bootstrap import Array
from reconstruction.judging.tables.find import PREDICTIONS
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.yaml_files import read_yaml

CONFIG = "config.yaml"
METRICS_FILE = "metrics.csv"
POINTS = "points"
WANDB_ID = "wandb_id"
"""File in a run's folder with its identity on Weights & Biases, where it went there."""
PRUNED = "pruned"
"""File in a run's folder that says when and why its sweep ended it early."""
BEST_CHECKPOINT = Path("checkpoints") / "best.ckpt"
DEFAULT_MONITOR = "val/loss"
OF_THE_FOLDER = ("run", "resume", "trainer.default_root_dir", "study.journal", "study.point")
"""Keys that differ between any two runs and say nothing."""


@dataclass(frozen=True, eq=False)
class Run:
    """One run: `config` in dotted keys, `history` metric → (epochs, values), `table` of the test rows if any."""

    name: str
    folder: Path
    config: Mapping[str, Any] = field(default_factory=dict)
    history: Mapping[str, tuple[Array, Array]] = field(default_factory=dict)
    table: PredictionTable | None = None
    notes: tuple[str, ...] = ()

    @property
    def monitor(self) -> str:
        """The metric that its best checkpoint has the smallest value of."""
        return str(self.config.get("checkpoint.monitor", DEFAULT_MONITOR))

    @property
    def best_epoch(self) -> int | None:
        """The epoch of the best checkpoint, from 1."""
        epochs, values = self.history.get(self.monitor, (np.zeros(0), np.zeros(0)))
        finite = np.isfinite(values)
        return int(epochs[finite][np.argmin(values[finite])]) if finite.any() else None

    @property
    def epochs(self) -> int:
        """How many epochs were validated."""
        return len(self.history.get(self.monitor, ((), ()))[0])

    @property
    def status(self) -> str:
        """How far it is, in words."""
        planned = self.config.get("trainer.max_epochs")
        if self.table is not None:
            return "complete"
        if not self.config:
            return "not begun"
        if self.is_pruned:
            return f"pruned at {self.epochs}"
        if self.epochs and self.epochs == planned:
            return "trained, not tested"
        return f"epoch {self.epochs} of {planned}"

    @property
    def checkpoint(self) -> Path | None:
        """The best checkpoint's file, if it is there."""
        path = self.folder / BEST_CHECKPOINT
        return path if path.exists() else None

    @property
    def is_pruned(self) -> bool:
        """Whether an adaptive sweep ended it early."""
        return (self.folder / PRUNED).exists()

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do for it."""
        return self.table is not None or self.is_pruned

    @property
    def is_online(self) -> bool:
        """Whether it was sent to Weights & Biases."""
        return (self.folder / WANDB_ID).exists()

    def at_best(self, metric: str) -> float:
        """Return a metric at the epoch of the best checkpoint, NaN where it is not known."""
        epochs, values = self.history.get(metric, (np.zeros(0), np.zeros(0)))
        here = np.flatnonzero(epochs == self.best_epoch)
        return float(values[here[-1]]) if len(here) else math.nan


def read_runs(folder: Path) -> list[Run]:
    """Read every run below a folder, and those points of its sweep that have not begun. Raises UserError for none."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: `bash submit.sh configs/sweeps/NAME.yaml` makes runs/NAME")
    names = {path.parent.name for path in folder.glob(f"*/{CONFIG}")}
    if not names:
        raise UserError(f"there is no run in {folder}: name the folder that holds the runs' folders")
    planned = folder / POINTS
    if planned.exists():
        names |= {f"{index:03d}" for index in range(_points(planned))}
    return [read_run(folder / name) for name in sorted(names)]


def _points(planned: Path) -> int:
    text = planned.read_text(errors="replace").strip()
    if not (text.isascii() and text.isdigit()):
        raise UserError(f"{planned} holds {text[:40]!r} and no number of points: remove it, the next point writes it")
    return int(text)


def read_run(folder: Path) -> Run:
    """Read one run; what is not there yet is empty, what cannot be read becomes a note."""
    file, notes = folder / CONFIG, []
    if not file.exists():
        return Run(folder.name, folder)
    # the training's parser writes "1e-05" as a word; the first line names its class
    config: dict[str, Any] = {}
    try:
        content = read_yaml(file)
        config = flattened(content if isinstance(content, dict) else {})
    except UserError as error:
        notes.append(str(error))
    table = None
    if (folder / PREDICTIONS).exists():
        try:
            table = PredictionTable.read(folder / PREDICTIONS).renamed(folder.name)
        except UserError as error:
            notes.append(str(error))
    history = read_history(folder / METRICS_FILE) if (folder / METRICS_FILE).exists() else {}
    return Run(folder.name, folder, config, history, table, tuple(notes))


def read_history(path: Path) -> dict[str, tuple[Array, Array]]:
    """Return each metric's epochs, from 1 as a training prints them, and values; of one done again the later counts."""
    columns: dict[str, dict[float, float]] = {}
    with path.open(newline="", errors="replace") as stream:
        for row in csv.DictReader(stream):
            for name, text in row.items():
                # a training that was killed leaves a line in pieces
                if name and "/" in name and text and row.get("epoch"):
                    columns.setdefault(name, {})[_number(row["epoch"]) + 1] = _number(text)
    return {name: _ordered(values) for name, values in columns.items()}


def flattened(config: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return a nested configuration in dotted keys; lists stay whole."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flattened(value, f"{name}.")
        else:
            flat[name] = value
    return flat


def differences(runs: Sequence[Run]) -> list[str]:
    """Return the keys in which runs that have begun differ, in the order of the configuration."""
    begun = [run.config for run in runs if run.config]
    keys = dict.fromkeys(key for config in begun for key in config if key not in OF_THE_FOLDER)
    return [key for key in keys if len({json.dumps(config.get(key), default=str) for config in begun}) > 1]


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return for each dotted key its shortest ending that no other has."""
    parts = {key: [part for part in key.split(".") if part != "init_args"] for key in keys}
    short = {}
    for key, words in parts.items():
        ends = [".".join(words[-count:]) for count in range(1, len(words) + 1)]
        others = [".".join(other) for name, other in parts.items() if name != key]
        short[key] = next(
            (end for end in ends if not any(f".{other}".endswith(f".{end}") for other in others)), ends[-1]
        )
    return short


def _ordered(values: Mapping[float, float]) -> tuple[Array, Array]:
    epochs = sorted(values)
    return np.array(epochs), np.array([values[epoch] for epoch in epochs])


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
