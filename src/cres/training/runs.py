"""A run's folder: `runs/NAME/` with config.yaml, environment.json, metrics.csv, checkpoints/, figures/, predictions."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import lightning
import lightning.pytorch as pl
import torch

from cres.errors import UserError
from cres.provenance import ancestry
from cres.training.loggers import CsvMetrics

PREDICTIONS = "predictions.hdf5"


def default_folder(config_files: list[Path]) -> Path:
    """Return runs/<name of the last config file>; a run's own config.yaml names the folder that it is in."""
    if not config_files:
        return Path("runs") / "unnamed"
    last = config_files[-1]
    return last.parent if last.name == "config.yaml" else Path("runs") / last.stem


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
    """Write what ran and on what into the run's folder; a resumed run adds to the files of the one before it."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write the environment at the start of a training."""
        if stage != "fit" or not trainer.is_global_zero:
            return
        file = Path(trainer.default_root_dir) / "environment.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        starts = json.loads(file.read_text()) if file.exists() else []
        file.write_text(json.dumps([*starts, describe_environment()], indent=2) + "\n")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let the metrics of a resumed run follow those before its checkpoint."""
        for logger in trainer.loggers:
            if isinstance(logger, CsvMetrics) and trainer.is_global_zero and trainer.global_step > 0:
                logger.continue_from(trainer.global_step)
