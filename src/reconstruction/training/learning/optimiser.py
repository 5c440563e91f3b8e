"""AdamW with groups by what a parameter is, one step for each group, and the schedule over the whole training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Timer
from torch import nn

from reconstruction.errors import UserError
from reconstruction.models import optimizer_groups
from reconstruction.training.schedules import Clock, Schedule


@dataclass(frozen=True)
class Optimiser:
    """AdamW, with the dynamics of state-space layers (Δ and A) in a group of their own, without decay.

    Args:
        lr: Peak learning rate.
        ssm_lr: Peak learning rate of Δ and A.
        weight_decay: Decay of matrices; vectors and dynamics have none.
        betas: Memory of the two moments.

    """

    lr: float = 2e-3
    ssm_lr: float = 1e-3
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)

    def make(self, module: nn.Module) -> torch.optim.AdamW:
        """Return the optimiser with groups from the layers' types, at the peak rates."""
        groups = optimizer_groups(module, self.lr, self.weight_decay, self.ssm_lr)
        optimiser = torch.optim.AdamW(groups, lr=self.lr, betas=self.betas, **_one_kernel(groups))
        # or Lightning would refuse to clip gradients in mixed precision: a scaler, where there is one, unscales before
        optimiser._step_supports_amp_scaling = False
        return optimiser


def with_schedule(optimiser: torch.optim.Optimizer, schedule: Schedule, trainer: pl.Trainer) -> dict[str, Any]:
    """Return optimiser and schedule as Lightning wants them.

    A training that ends with `trainer.max_time` has gone through the whole schedule by then, if it is of one process.
    Raises UserError for a schedule that needs to know the end of a training that has none.
    """
    trainer.fit_loop.setup_data()  # an open end is estimated without looking at the data
    steps = trainer.estimated_stepping_batches
    batches = max(1, int(trainer.num_training_batches))
    clock = _clock(trainer)
    if math.isinf(steps) and schedule.needs_an_end and clock is None:
        raise UserError(
            f"model.schedule is {type(schedule).__name__}, whose shape needs to know the end of the training: "
            "give trainer.max_epochs or trainer.max_steps (of one process trainer.max_time will do), or take Constant, "
            "Plateau or Exponential"
        )
    total = 0 if math.isinf(steps) else int(steps)
    return {"optimizer": optimiser, "lr_scheduler": schedule.build(optimiser, total, batches, clock)}


def _clock(trainer: pl.Trainer) -> Clock | None:
    """Return what says how much of `trainer.max_time` is over; None without, and for several processes.

    Theirs are several clocks, and weights that are stepped at unequal rates drift apart.
    """
    timer = next((callback for callback in trainer.callbacks if isinstance(callback, Timer)), None)  # type: ignore[attr-defined]
    if timer is None or timer.time_remaining() is None or trainer.world_size > 1:
        return None

    def share() -> float:
        elapsed = timer.time_elapsed()
        return min(1.0, elapsed / (elapsed + max(0.0, timer.time_remaining() or 0.0)))

    return share


def _one_kernel(groups: list[dict[str, Any]]) -> dict[str, bool]:
    """Return the options that step a whole group of parameters at once, where the device knows how."""
    devices = {parameter.device.type for group in groups for parameter in group["params"]}
    return {"fused": True} if devices <= {"cpu", "cuda"} else {"foreach": True}
