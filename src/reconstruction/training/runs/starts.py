"""What is refused before anything is made, and trials, which leave a run's folder alone."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as pl
from jsonargparse import Namespace
from lightning.pytorch.utilities import rank_zero_warn

from reconstruction.errors import UserError
from reconstruction.records.rows import RowsDataModule

FEW_TO_TRAIN = 32
"""With fewer training rows a network learns them by heart."""
NOTHING_AT_ZERO = ("max_epochs", "max_steps", "limit_train_batches")


@dataclass(frozen=True)
class Trial:
    """A training that only shows whether it runs: a few batches (fast_dev_run), or one batch again and again.

    Its files go into a folder of its own, which is forgotten.
    """

    folder: Path
    overfit: int | float
    """Batches that are learned by heart, or which share of them; 0 where it is not about that."""

    @classmethod
    def of(cls, config: Namespace) -> Trial | None:
        """Return the trial that a configuration asks for, if it does; `limits` hands on what it asks for."""
        trainer = config.trainer
        if not (trainer.fast_dev_run or trainer.overfit_batches):
            return None
        if config.resume:
            raise UserError("a trial (trainer.fast_dev_run, trainer.overfit_batches) begins anew: leave --resume out")
        overfit = trainer.overfit_batches
        if overfit < 0:
            raise UserError(f"trainer.overfit_batches is {overfit}, but counts batches: 1 or more")
        trainer.overfit_batches = 0.0
        # a parser of int or float may make 1.0 of 1, which Lightning takes for all batches
        return cls(Path(tempfile.mkdtemp(prefix="cres-trial-")), int(overfit) if overfit >= 1 else overfit)

    def limits(self) -> dict[str, int | float]:
        """Return the trainer's limits that overfitting means: Lightning would make the loader anew, less knowing."""
        return dict.fromkeys(("limit_train_batches", "limit_val_batches"), self.overfit) if self.overfit else {}

    def forget(self) -> None:
        """Remove what the trial wrote."""
        shutil.rmtree(self.folder, ignore_errors=True)


def refuse_impossible(config: Namespace) -> None:
    """Raise UserError for options of the trainer that would leave nothing of a training."""
    if config.trainer.enable_checkpointing is False:
        raise UserError(
            "trainer.enable_checkpointing=false would lose the training: leave it out; trainer.fast_dev_run=true tries "
            "a training without keeping anything"
        )
    for name in NOTHING_AT_ZERO:
        if config.trainer[name] == 0:
            raise UserError(f"trainer.{name}=0 would train nothing: give it a larger number, or leave it out")


def check_enough(data: RowsDataModule, trainer: pl.Trainer) -> None:
    """Warn of too few rows. Raises UserError where there are fewer than processes."""
    if data.endless:
        return
    counts = {"training": len(data.split.train), "validation": len(data.split.validation)}
    for name, count in counts.items():
        if 0 < count < trainer.world_size or (count == 0 and name == "training"):
            raise UserError(
                f"{trainer.world_size} processes train (trainer.devices, trainer.num_nodes), but the {name} split has "
                f"{data.system.count(count)}: use fewer processes, or more data"
            )
    if counts["training"] < FEW_TO_TRAIN:
        rank_zero_warn(
            f"this trains on {data.system.count(counts['training'])} and validates on {counts['validation']}: a "
            "network learns so few by heart, and its uncertainties cannot be calibrated; thousands are usual",
            category=UserWarning,
        )
