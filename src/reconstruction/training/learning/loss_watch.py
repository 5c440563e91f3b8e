"""The losses of several steps looked at together, since every look waits for the device.

A loss that is not finite is refused with the place of the first of them: at the next look, before a checkpoint is
written and before a validation, so that what came after it is never kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed
from torch import Tensor

from reconstruction.errors import UserError


class NonFiniteLoss(UserError):
    """The loss was NaN or infinite."""


class NonFiniteStep(NamedTuple):
    """The first step since the last look whose loss was not finite."""

    loss: float
    epoch: int
    batch_idx: int
    events: list[int]
    """Of the batch."""
    broken: list[int]
    """Those of them whose records hold values that are not finite."""

    def explained(self, saved: Path) -> str:
        """Say where and why, and which state is left: `saved`, if it is there."""
        cause = (
            f"the records of event_id {self.broken[:10]} hold values that are not finite: prepare the data again"
            if self.broken
            else "the records are finite, so the training diverged: lower model.optimiser.lr, or set "
            "trainer.gradient_clip_val"
        )
        kept = f"; the last good state is {saved}" if saved.exists() else ""
        # counted from 1, as the lines of the epochs are
        where = f"epoch {self.epoch + 1}, batch {self.batch_idx + 1} (event_id {', '.join(map(str, self.events[:8]))}"
        where += f" and {len(self.events) - 8} more)" if len(self.events) > 8 else ")"
        return f"the loss is {self.loss} in {where}: {cause}{kept}"


class _Step(NamedTuple):
    loss: Tensor
    peaks: Tensor
    """(batch,) largest modulus of each record: finite where the record is."""
    events: Tensor
    epoch: int
    batch_idx: int


class LossWatch:
    """Notes what a step leaves on its device, and looks at it when asked."""

    def __init__(self) -> None:
        self._steps: list[_Step] = []

    def note(self, loss: Tensor, batch: Mapping[str, Any], epoch: int, batch_idx: int) -> None:
        """Keep the loss of a step and what tells broken records; waits for nothing."""
        norms = [torch.linalg.vector_norm(values.flatten(1), torch.inf, dim=1) for values in batch["inputs"].values()]
        peaks = norms[0] if len(norms) == 1 else torch.stack(norms).amax(dim=0)
        self._steps.append(_Step(loss.detach(), peaks, batch["event_id"], epoch, batch_idx))

    def look(self) -> tuple[float | None, NonFiniteStep | None]:
        """Return the newest loss, and the first since the last look that was not finite, and forget the steps."""
        steps, self._steps = self._steps, []
        if not steps:
            return None, None
        losses = torch.stack([step.loss.float() for step in steps]).cpu()
        bad = torch.isfinite(losses).logical_not().nonzero()
        return float(losses[-1]), _described(steps[int(bad[0])]) if len(bad) else None


def _described(step: _Step) -> NonFiniteStep:
    events = step.events.tolist()
    finite = torch.isfinite(step.peaks).tolist()
    broken = [event for event, good in zip(events, finite, strict=True) if not good]
    return NonFiniteStep(float(step.loss), step.epoch, step.batch_idx, events, broken)


def first_of_all(mine: NonFiniteStep | None, world_size: int) -> NonFiniteStep | None:
    """Return the first such step of any process, so that all of them stop for the same reason."""
    if world_size == 1:
        return mine
    everyone: list[NonFiniteStep | None] = [None] * world_size
    torch.distributed.all_gather_object(everyone, mine)
    found = [step for step in everyone if step is not None]
    return min(found, key=lambda step: (step.epoch, step.batch_idx), default=None)
