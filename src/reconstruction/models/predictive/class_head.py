"""From features to the probabilities of classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from reconstruction import schema
from reconstruction.errors import UserError
from reconstruction.models.predictive.categorical import Categorical
from reconstruction.models.predictive.heads import Head, Outputs
from reconstruction.shapes import Targets

LARGEST_CODE: Final = 2**24


class CategoricalHead(Head):
    """Probabilities of classes that exclude each other. The target is the column that holds each row's class.

    Args:
        in_width: features.
        targets: number of targets: one.
        classes: name of each class and the code that the column holds for it, such as {electron: 11, photon: 22}.
        hidden_width: width of the perceptron.
        dropout: dropout in the perceptron.

    """

    codes: Tensor

    def __init__(
        self,
        in_width: int,
        targets: int,
        *,
        classes: dict[str, int],
        hidden_width: int = 128,
        dropout: float = 0.0,
    ) -> None:
        if targets != 1:
            raise UserError(
                f"a head that classifies has one target, the column that holds the class, and data.targets names "
                f"{targets}: name that column alone"
            )
        _check_classes(classes)
        super().__init__(in_width, targets, len(classes), hidden_width, dropout)
        self._classes = dict(classes)
        # whole numbers: no precision of a training touches them
        self.register_buffer("codes", torch.tensor(list(classes.values()), dtype=torch.int64))

    @property
    def classes(self) -> dict[str, int]:
        """The code of each class by its name."""
        return dict(self._classes)

    def distribution(self, outputs: Outputs, anchor: Targets | None) -> Categorical:
        """Softmax of the outputs."""
        if anchor is not None:
            raise UserError("a head that classifies measures from no first guess: leave model.landmark out")
        return Categorical(self.codes.to(outputs.dtype), torch.log_softmax(outputs, dim=-1))


def _check_classes(classes: Mapping[str, int]) -> None:
    """Raise UserError unless there are two classes or more, which names and codes tell apart."""
    if len(classes) < 2:
        raise UserError(f"head.classes needs at least two classes, such as {{electron: 11, photon: 22}}, not {classes}")
    if max(map(abs, classes.values())) > LARGEST_CODE:
        raise UserError(f"head.classes has codes beyond {LARGEST_CODE}, which single precision rounds: {classes}")
    names = {schema.probability_name(name) for name in classes}
    for what, different in (("name", names), ("code", set(classes.values()))):
        if len(different) < len(classes):
            raise UserError(f"two of head.classes have the same {what}: {classes}")
