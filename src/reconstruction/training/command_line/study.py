"""One point of an adaptive sweep: its validations go to the study, and the study may end it before its last epoch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_warn

from reconstruction import studies
from reconstruction.errors import UserError
from reconstruction.judging.sweeps.runs import PRUNED
from reconstruction.training.learning.checkpoints import Checkpoints
from reconstruction.training.learning.loss_watch import NonFiniteLoss

if TYPE_CHECKING:
    import optuna


class Pruned(Exception):
    """The point is worse than the others were at this epoch; its best checkpoint stays."""


class StudyPoint(pl.Callback):
    """Report every epoch of a sweep's point to its study, and end a point that the others have left behind.

    Args:
        journal: The study of an adaptive sweep; None reports nothing. `method: adaptive` sets it.
        point: Number of the point in the sweep.
        prune: End a training that is worse than the median of the others at the same epoch.
        startup_points: How many points must be finished before one is ended.
        warmup_epochs: How many epochs every point has.

    """

    def __init__(
        self,
        journal: str | None = None,
        point: int = 0,
        prune: bool = True,
        startup_points: int = 4,
        warmup_epochs: int = 3,
    ) -> None:
        self.journal, self.point, self.prune = journal, point, prune
        self.startup_points, self.warmup_epochs = startup_points, warmup_epochs
        self._trial: optuna.Trial | None = None
        self._score: float | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the trial. Raises UserError where the study is missing or knows no such point."""
        if self.journal is None or not trainer.is_global_zero:
            return
        study = studies.load(Path(self.journal))
        if not studies.knows(study, self.point):
            raise UserError(
                f"{self.journal} knows no point {self.point}: the sweep asks for it, `bash submit.sh SWEEP`"
            )
        study.pruner = studies.pruner(self.startup_points, self.warmup_epochs)
        self._trial = studies.trial_of(study, self.point)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the score of the checkpoints' metric."""
        score = trainer.callback_metrics.get(_monitor(trainer))
        self._score = None if score is None or trainer.sanity_checking else float(score)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the epoch; on every process alike, go on or raise Pruned."""
        if self.journal is None:
            return
        epoch = trainer.current_epoch + 1
        behind = self._report(epoch) if trainer.is_global_zero else False
        if not trainer.strategy.broadcast(behind):
            return
        said = (
            f"pruned after epoch {epoch} of {trainer.max_epochs}: {_monitor(trainer)} stayed above the median of the "
            "sweep's other points"
        )
        if trainer.is_global_zero:
            self._tell("pruned")
            (Path(trainer.default_root_dir) / PRUNED).write_text(f"{said}\n")
        raise Pruned(said)

    def _report(self, epoch: int) -> bool:
        """Report the newest score, once an epoch, and return whether the point is to end."""
        if self._trial is None or self._score is None:
            return False
        trial, score, self._score = self._trial, self._score, None
        try:
            reported = trial.study.trials[trial.number].intermediate_values
            if epoch not in reported:
                trial.report(score if math.isfinite(score) else math.inf, epoch)
            return self.prune and bool(trial.should_prune())
        except OSError as error:  # a training does not end because its study is out of reach
            rank_zero_warn(f"epoch {epoch} is not reported to {self.journal} ({error.strerror or error})")
            return False

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tell the best score of all epochs."""
        if self._trial is not None:
            self._tell("complete")

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Tell that the values diverge; a point that was interrupted goes on later."""
        if self._trial is not None and isinstance(exception, NonFiniteLoss):
            self._tell("failed")

    def _tell(self, outcome: str) -> None:
        if self._trial is None:
            return
        trial, self._trial = self._trial, None
        try:
            studies.tell(trial, outcome)
        except OSError as error:
            rank_zero_warn(f"{self.journal} was not told that point {self.point} is {outcome} ({error})")


def _monitor(trainer: pl.Trainer) -> str:
    """Return the metric of the checkpoints, smaller is better."""
    found = [callback for callback in trainer.callbacks if isinstance(callback, Checkpoints)]  # type: ignore[attr-defined]
    return found[0].monitor if found else "val/loss"
