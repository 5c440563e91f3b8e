"""A run's folder: `runs/NAME/` with config.yaml, environment.json, metrics.csv, checkpoints/, figures/, predictions."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import h5py
import lightning
import lightning.pytorch as pl
import torch

from reconstruction.errors import UserError
from reconstruction.judging.sweeps.runs import CONFIG, PRUNED, WANDB_ID
from reconstruction.provenance import package_ancestry as ancestry
from reconstruction.training.watching.loggers import CsvMetrics

PREDICTIONS = "predictions.hdf5"


EARLIER = "earlier"
"""Folders in a run's folder that keep what an earlier training left: earlier.1, earlier.2 …"""

_OF_A_TRAINING = (
    "checkpoints",
    "figures",
    "config.yaml",
    "environment.json",
    "metrics.csv",
    WANDB_ID,
    "wandb",
    PRUNED,
    "windows.json",
    "model.pt2",
    "model.md",
)


def default_folder(config_files: list[Path], wanted: str | None = None) -> Path:
    """Return the folder of a run that the command line does not name: `wanted` by a configuration, or runs/<its name>.

    A run's own config.yaml names the folder that it is in, wherever that was copied to.
    """
    last = config_files[-1] if config_files else None
    if last is not None and last.name == CONFIG and (wanted is None or _is_run(last.parent)):
        return last.parent
    if wanted is not None:
        return Path(wanted)
    return Path("runs") / ("unnamed" if last is None else last.stem)


def _is_run(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("environment.json", "checkpoints", "metrics.csv"))


def set_aside(folder: Path) -> Path | None:
    """Move what an earlier training left in a run's folder, tables of predictions included, into a folder in it.

    Returns where it is now, if there was any. Data, and what submit.sh notes, stay.
    """
    there = [folder / name for name in _OF_A_TRAINING if (folder / name).exists()]
    there += [path for path in folder.glob("*.hdf5") if _is_prediction_table(path)]
    if not any(path.name in ("checkpoints", "metrics.csv", "environment.json") for path in there):
        return None
    number = 1
    while (kept := folder / f"{EARLIER}.{number}").exists():
        number += 1
    kept.mkdir()
    for path in there:
        path.rename(kept / path.name)
    return kept


def _is_prediction_table(path: Path) -> bool:
    try:
        with h5py.File(path, "r", locking=False) as file:
            return "estimator" in file.attrs
    except OSError:
        return False


def require_writable(folder: Path) -> None:
    """Try the folder, or where it would be made, and leave nothing behind. Raises UserError if it cannot be written."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise UserError(
            f"the run's folder {folder} cannot be written ({error.strerror}): choose another one with --run"
        ) from error


def describe_environment() -> dict[str, Any]:
    """Return what this process runs on: versions, device, threads, command line, git state."""
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "lightning": lightning.__version__,
        "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] or ["cpu"],
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        **{name: value for name, value in ancestry().items() if name in ("created_by", "git_commit")},
    }


class RunRecord(pl.Callback):
    """Write what runs and on what into the run's folder, when training really starts.

    A new training keeps all of an earlier one aside; a resumed one adds to the files of the one before it.

    """

    def __init__(self) -> None:
        self.config = ""
        """The text of config.yaml."""
        self.resumed = False
        """Whether this training goes on with an earlier one."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the record: everything that can be refused has been by now."""
        if trainer.is_global_zero:
            self._write(Path(trainer.default_root_dir))
            for logger in trainer.loggers:
                if isinstance(logger, CsvMetrics) and self.resumed:
                    logger.continue_from(trainer.global_step)
        trainer.strategy.barrier()

    def _write(self, folder: Path) -> None:
        kept = None if self.resumed else set_aside(folder)
        if kept is not None:
            print(f"{folder} held an earlier training: all of it is in {kept} now", file=sys.stderr)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG).write_text(self.config)
        file = folder / "environment.json"
        starts = _starts(file)
        file.write_text(json.dumps([*starts, describe_environment()], indent=2) + "\n")


def _starts(file: Path) -> list[Any]:
    """Return what earlier starts of a run wrote of their environment; what cannot be read is kept beside it."""
    if not file.exists():
        return []
    try:
        return list(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        kept = file.replace(file.with_suffix(".damaged.json"))
        warnings.warn(f"{file} was damaged and is {kept} now", stacklevel=2)
        return []
