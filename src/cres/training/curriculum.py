"""A curriculum: one number of the training (the noise scale) moves from an easy to the nominal value.

Validation, test and prediction never see it: they stay at the nominal value, or else the easiest epoch would be the
best checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import lightning.pytorch as pl

from cres.errors import UserError

Shape = Literal["none", "linear", "root", "quadratic", "cosine", "step", "competence"]

_CURVES: dict[str, Callable[[float], float]] = {
    "linear": lambda progress: progress,
    "root": math.sqrt,
    "quadratic": lambda progress: progress**2,
    "cosine": lambda progress: 0.5 * (1 - math.cos(math.pi * progress)),
}


def curve(shape: Shape, progress: float, steps: int = 4) -> float:
    """Return how far the curriculum is, 0 at its start and exactly 1 at its end, `progress` clipped to [0, 1]."""
    progress = min(1.0, max(0.0, progress))
    if progress == 1.0 or shape == "none":
        return 1.0
    if shape in ("step", "competence"):
        return math.floor(progress * steps) / steps
    return _CURVES[shape](progress)


class Curriculum(pl.Callback):
    """Move the noise scale of the training from `start` to `end` (power, in units of the nominal density).

    Args:
        shape: none (always the end value), linear, root, quadratic, cosine, step (equal jumps), or competence (one of
            `steps` equal jumps whenever the validation loss has not improved for `patience` validations).
        start: Noise scale in the first step.
        end: Noise scale from the end of the curriculum on.
        over: Share of the whole training after which the end value is reached; shapes competence: it is reached then
            at the latest.
        epochs: The same in epochs; overrides `over`.
        steps: Number of jumps of the shapes step and competence.
        patience: Validations without improvement before a jump of the shape competence.
        threshold: Improvements of the validation loss smaller than this do not count.
        monitor: What competence watches; smaller is better.

    """

    def __init__(
        self,
        shape: Shape = "none",
        start: float = 0.1,
        end: float = 1.0,
        over: float = 0.5,
        epochs: float | None = None,
        steps: int = 4,
        patience: int = 2,
        threshold: float = 1e-2,
        monitor: str = "val/loss",
    ) -> None:
        if start < 0 or end < 0 or steps < 1 or not 0 <= over <= 1:
            raise UserError("curriculum: start and end must not be negative, steps at least 1, over between 0 and 1")
        self.shape, self.start, self.end, self.over, self.epochs = shape, start, end, over, epochs
        self.steps, self.patience, self.threshold, self.monitor = steps, patience, threshold, monitor
        self.level = 0
        self.best = math.inf
        self.waited = 0

    def progress(self, step: int, total_steps: int, steps_per_epoch: float) -> float:
        """Return the share of the curriculum that is over at an optimiser step."""
        end = self.over * total_steps if self.epochs is None else self.epochs * steps_per_epoch
        return 1.0 if step >= end else step / end

    def value(self, step: int, total_steps: int, steps_per_epoch: float) -> float:
        """Return the noise scale at an optimiser step."""
        progress = self.progress(step, total_steps, steps_per_epoch)
        done = curve(self.shape, progress, self.steps)
        if self.shape == "competence" and progress < 1:
            done = self.level / self.steps
        return self.start + (self.end - self.start) * done

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Hand the noise scale of this step to the module."""
        total = trainer.estimated_stepping_batches
        per_epoch = total / trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else total
        scale = self.value(trainer.global_step, int(total), per_epoch)
        pl_module.noise_scale = scale  # type: ignore[assignment]
        pl_module.log("train/noise_scale", scale)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Advance one level when the validation loss has stopped improving (shape competence)."""
        fitting = trainer.state.fn == "fit" and not trainer.sanity_checking
        if self.shape != "competence" or not fitting or self.monitor not in trainer.callback_metrics:
            return
        self.observe(float(trainer.callback_metrics[self.monitor]))

    def observe(self, loss: float) -> None:
        """Take one validation loss into account."""
        if loss < self.best - self.threshold:
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited >= self.patience and self.level < self.steps:
            self.level, self.waited, self.best = self.level + 1, 0, math.inf

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training continues from."""
        return {"level": self.level, "best": self.best, "waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.level, self.best, self.waited = state_dict["level"], state_dict["best"], state_dict["waited"]
