"""What estimates of several rows or columns must obey together: terms of the loss beside that of the targets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

from torch import Tensor

from reconstruction.exact_buffers import ExactBuffers
from reconstruction.models import PredictiveDistribution
from reconstruction.records.batch import Batch


class Law(ExactBuffers, ABC):
    """Abstract law: how far what is said of a batch is from obeying it, as one number that the loss grows by.

    What it must know of the data, such as how large deviations usually are, it keeps in buffers. A system's module adds
    its laws to `Learner.laws`.
    """

    fitted: bool = False
    """Whether what `fit` fits is there."""

    @abstractmethod
    def fit(self, batches: Callable[[], Iterable[Batch]]) -> None:
        """Take from labelled batches of the training split what it must know of the data."""

    @abstractmethod
    def forward(self, said: PredictiveDistribution, batch: Batch) -> Tensor:
        """Return the weighted penalty of a batch: said in the units of the targets, before calibration."""

    def get_extra_state(self) -> dict[str, bool]:
        """Return what a checkpoint holds beside the buffers."""
        return {"fitted": self.fitted}

    def set_extra_state(self, state: dict[str, bool]) -> None:
        """Take what a checkpoint holds beside the buffers."""
        self.fitted = state["fitted"]
