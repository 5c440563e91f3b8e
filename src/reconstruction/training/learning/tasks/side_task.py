"""What a network may learn beside its targets, or in their place: rebuild what a record hides or lacks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from reconstruction.random.keyed import KeyedRandom
from reconstruction.records.batch import Batch
from reconstruction.training.network.reconstructor import Reconstructor


class SideTask(nn.Module, ABC):
    """A loss on the encoders of a reconstructor, which stay its own; what it adds to them is part of the checkpoint.

    alone: nothing else is learned, and head, fusion and pooling are left for a fine-tuning.
    """

    name: ClassVar[str]
    """Of its options in `model`."""
    alone: bool

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

    def fit(self, reconstructor: Reconstructor, batches: Callable[[], Iterable[Batch]]) -> None:
        """Fit on noisy batches of the training split what is not known yet; nothing for most."""


def cost_of_nothing(
    tasks: Sequence[SideTask], reconstructor: Reconstructor, noisy: Batch, clean: Batch, random: KeyedRandom
) -> Tensor | None:
    """Return what tasks cost together who rebuilds nothing; None where none of them says so."""
    floors = [task.of_nothing(reconstructor, noisy, clean, random) for task in tasks]
    known = [floor for floor in floors if floor is not None]
    return torch.stack(known).sum() if known else None
