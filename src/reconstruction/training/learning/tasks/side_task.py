"""What a network may learn beside its targets, or in their place: rebuild what a record hides or lacks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from reconstruction.errors import UserError
from reconstruction.random.keyed import KeyedRandom
from reconstruction.records.batch import Batch
from reconstruction.training.network.reconstructor import Reconstructor


class SideTask(nn.Module, ABC):
    """A loss on the encoders of a reconstructor, which stay its own; what it adds to them is part of the checkpoint.

    alone: nothing else is learned, and head, fusion and pooling are left for a fine-tuning.
    """

    name: ClassVar[str]
    """Of its options in `model`."""
    reads_clean: ClassVar[bool] = True
    """Whether it looks at batches without their noise."""
    alone: bool

    def refuse_strangers(self, reconstructor: Reconstructor) -> None:
        """Raise UserError where what the encoders read for the targets is not what they read for the task."""
        if reconstructor.condition is not None:
            raise UserError(f"model.{self.name} reads views without settings: leave it or model.condition out")
        if reconstructor.front is not None:
            raise UserError(f"model.{self.name} reads views that nobody denoised: leave it or model.denoise_first out")

    @abstractmethod
    def let_learn(self) -> None:
        """Let learn what the task needs, without what only the targets need."""

    @abstractmethod
    def objective(self, reconstructor: Reconstructor, noisy: Batch, clean: Batch, random: KeyedRandom) -> Tensor:
        """Return the weighted mean loss of a batch with its noise, and without."""

    @abstractmethod
    def of_nothing(
        self, reconstructor: Reconstructor, noisy: Batch, clean: Batch, random: KeyedRandom
    ) -> Tensor | None:
        """Return the same loss for who rebuilds nothing, the floor to compare with; None where there is none."""

    def fit(
        self, reconstructor: Reconstructor, batches: Callable[[], Iterable[Batch]], truths: Callable[[], Tensor]
    ) -> None:
        """Fit what is not known on noisy batches of the training split and on all its targets; nothing for most."""


@runtime_checkable
class SideTaskOptions(Protocol):
    """Options of what is learned beside the targets: a system may have its own for any of them."""

    def task(self, reconstructor: Reconstructor) -> SideTask:
        """Return what learns it."""
        ...


def cost_of_nothing(
    tasks: Sequence[SideTask], reconstructor: Reconstructor, noisy: Batch, clean: Batch, random: KeyedRandom
) -> Tensor | None:
    """Return what tasks cost together who rebuilds nothing; None where none of them says so."""
    floors = [task.of_nothing(reconstructor, noisy, clean, random) for task in tasks]
    known = [floor for floor in floors if floor is not None]
    return torch.stack(known).sum() if known else None
