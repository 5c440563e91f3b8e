"""Learning-rate schedules: a peak rate in the optimiser, a shape here, the number of steps from the trainer.

Each schedule builds one torch scheduler and says to Lightning when to step it. A plateau is stepped inside the last
batch of an epoch, after validation and before the checkpoint, so that a resumed training has not lost the step.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ExponentialLR, LambdaLR, LRScheduler, ReduceLROnPlateau

from reconstruction.errors import UserError

Clock = Callable[[], float]
"""Says which share of a training's time is over, 0 to 1."""

STEPS_OF_A_CLOCK = 1_000_000
"""Steps that a training is cut into which ends by the clock alone."""


class Schedule(ABC):
    """How the learning rates move; every optimiser group moves by the same factor."""

    needs_an_end = False
    """Whether its shape depends on how long the training is."""

    @abstractmethod
    def build(
        self, optimiser: Optimizer, total_steps: int, batches_per_epoch: int, clock: Clock | None = None
    ) -> dict[str, Any]:
        """Return Lightning's description of the scheduler.

        `total_steps` counts optimiser steps of the training, 0 for one without an end. A training that may end by a
        `clock` before them is where the farther of both says that it is, if the shape depends on the end at all.
        """


def _until_the_end(
    optimiser: Optimizer, shape: Callable[[float, int], float], total_steps: int, clock: Clock | None
) -> dict[str, Any]:
    """Return a scheduler of `shape(step, total_steps)`, whose steps are taken faster where the clock is ahead."""
    known = total_steps or STEPS_OF_A_CLOCK

    def factor(step: int) -> float:
        counted = float(step) if total_steps or clock is None else 0.0
        return shape(counted if clock is None else max(counted, clock() * known), known)

    return _per_step(LambdaLR(optimiser, factor))


def _per_step(scheduler: LRScheduler) -> dict[str, Any]:
    return {"scheduler": scheduler, "interval": "step", "frequency": 1}


class Constant(Schedule):
    """The learning rate stays as it is."""

    def build(
        self, optimiser: Optimizer, total_steps: int, batches_per_epoch: int, clock: Clock | None = None
    ) -> dict[str, Any]:
        """Return a factor of one."""
        return _per_step(LambdaLR(optimiser, lambda step: 1.0))


class Plateau(Schedule):
    """Lower the rate when the validation loss has stopped improving.

    Args:
        factor: The rate is multiplied by this at each plateau.
        patience: Validations without improvement before the rate falls.
        threshold: Improvements smaller than this (absolute, in units of the loss) do not count.
        minimum_lr: The rate falls no lower.
        monitor: The quantity that is watched; smaller is better.

    """

    def __init__(
        self,
        factor: float = 0.5,
        patience: int = 5,
        threshold: float = 1e-3,
        minimum_lr: float = 1e-6,
        monitor: str = "val/loss",
    ) -> None:
        if not 0 < factor < 1:
            raise UserError(f"Plateau: factor is {factor}, but must lie between 0 and 1")
        self.factor, self.patience, self.threshold = factor, patience, threshold
        self.minimum_lr, self.monitor = minimum_lr, monitor

    def build(
        self, optimiser: Optimizer, total_steps: int, batches_per_epoch: int, clock: Clock | None = None
    ) -> dict[str, Any]:
        """Return torch's plateau scheduler, stepped after the last batch of each epoch."""
        scheduler = ReduceLROnPlateau(
            optimiser,
            factor=self.factor,
            patience=self.patience,
            threshold=self.threshold,
            threshold_mode="abs",
            min_lr=self.minimum_lr,
        )
        return {
            "scheduler": scheduler,
            "interval": "step",
            "frequency": batches_per_epoch,
            "monitor": self.monitor,
            "reduce_on_plateau": True,
            "strict": False,
        }


class Exponential(Schedule):
    """Multiply the rate by a constant factor each epoch.

    Args:
        decay_per_epoch: Factor an epoch.

    """

    def __init__(self, decay_per_epoch: float = 0.95) -> None:
        if not 0 < decay_per_epoch <= 1:
            raise UserError(f"Exponential: decay_per_epoch is {decay_per_epoch}, but must lie in (0, 1]")
        self.decay_per_epoch = decay_per_epoch

    def build(
        self, optimiser: Optimizer, total_steps: int, batches_per_epoch: int, clock: Clock | None = None
    ) -> dict[str, Any]:
        """Return torch's exponential scheduler, stepped once an epoch."""
        return {"scheduler": ExponentialLR(optimiser, self.decay_per_epoch), "interval": "epoch", "frequency": 1}


class Cosine(Schedule):
    """Linear warm-up, then half a cosine down to a floor that is reached at the last step.

    Args:
        warmup: Share of all steps in which the rate rises from zero.
        floor: Final rate as a share of the peak.

    """

    needs_an_end = True

    def __init__(self, warmup: float = 0.05, floor: float = 0.01) -> None:
        if not (0 <= warmup < 1 and 0 <= floor <= 1):
            raise UserError(f"Cosine: warmup ({warmup}) must lie in [0, 1) and floor ({floor}) in [0, 1]")
        self.warmup, self.floor = warmup, floor

    def build(
        self, optimiser: Optimizer, total_steps: int, batches_per_epoch: int, clock: Clock | None = None
    ) -> dict[str, Any]:
        """Return the factor as a function of the step."""

        def factor(step: float, total: int) -> float:
            rise = self.warmup * total
            if step < rise:
                return (step + 1) / (rise + 1)
            done = min(1.0, (step - rise) / max(1.0, total - rise))
            return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * done))

        return _until_the_end(optimiser, factor, total_steps, clock)


class OneCycle(Schedule):
    """Rise to the peak and fall far below the start, both as half cosines (Smith and Topin, arXiv:1708.07120).

    Args:
        rise: Share of all steps in which the rate rises.
        start: First rate as a share of the peak.
        end: Last rate as a share of the peak.

    """

    needs_an_end = True

    def __init__(self, rise: float = 0.3, start: float = 0.04, end: float = 1e-4) -> None:
        if not 0 < rise < 1:
            raise UserError(f"OneCycle: rise is {rise}, but must lie between 0 and 1")
        self.rise, self.start, self.end = rise, start, end

    def build(
        self, optimiser: Optimizer, total_steps: int, batches_per_epoch: int, clock: Clock | None = None
    ) -> dict[str, Any]:
        """Return the factor as a function of the step."""

        def factor(step: float, total: int) -> float:
            top = self.rise * total
            if step < top:
                return _half_cosine(self.start, 1.0, step / top)
            return _half_cosine(1.0, self.end, min(1.0, (step - top) / max(1.0, total - top)))

        return _until_the_end(optimiser, factor, total_steps, clock)


def _half_cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))
