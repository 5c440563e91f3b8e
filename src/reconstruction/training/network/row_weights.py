"""How much each row counts in the loss: a column of the data, such as a detection efficiency."""

from __future__ import annotations

import torch
from torch import Tensor

from reconstruction.errors import UserError, nearest
from reconstruction.exact_buffers import ExactBuffers
from reconstruction.records.batch import Batch
from reconstruction.shapes import PerRow


class RowWeights(ExactBuffers):
    """Weights of a batch's rows from one of its columns, over the column's mean on the training split.

    So their mean is one, and neither the loss nor the learning rate knows the column's unit. Buffer: `mean`.
    """

    mean: Tensor

    def __init__(self, column: str) -> None:
        super().__init__()
        self.column = column
        self.register_buffer("mean", torch.ones((), dtype=torch.float64))
        self.fitted = False

    @torch.no_grad()
    def fit(self, values: Tensor) -> None:
        """Take the mean of the training rows (rows,), none of them negative. Raises UserError where all are 0."""
        if not bool((values > 0).any()):
            raise UserError(
                f"model.weight_column is {self.column}, which is 0 in every row of the training: "
                "nothing would be learned"
            )
        self.mean.copy_(values.double().mean())
        self.fitted = True

    def forward(self, batch: Batch) -> PerRow:
        """Return the weights (batch,). Raises UserError where the data lack the column."""
        if self.column not in batch["observables"]:
            raise UserError(
                f"the data have no column {self.column!r}, by which model.weight_column weighs the loss"
                f"{nearest(self.column, batch['observables'])}: name another one, or leave it out"
            )
        weights: Tensor = batch["observables"][self.column] / self.mean
        return weights

    def get_extra_state(self) -> dict[str, bool]:
        """Return what a checkpoint holds beside the buffer."""
        return {"fitted": self.fitted}

    def set_extra_state(self, state: dict[str, bool]) -> None:
        """Take what a checkpoint holds beside the buffer."""
        self.fitted = state["fitted"]
