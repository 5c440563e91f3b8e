"""Columns of a batch beside its targets: what a model is told of each row, and what a part of it follows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from reconstruction.errors import UserError, nearest
from reconstruction.records.batch import Batch


def settings_of(batch: Batch, names: Sequence[str]) -> Tensor:
    """Return settings of a batch, (batch, 1, setting) float64. Raises UserError where it lacks one."""
    columns = batch["observables"]
    for name in names:
        if name not in columns:
            raise UserError(
                f"the data have no column {name!r}, which model.condition names{nearest(name, columns)}: give them "
                "one, with NaN where it is not known"
            )
    return torch.stack([columns[name].double() for name in names], dim=1).unsqueeze(1)


def followed(batch: Batch, column: str, option: str) -> Tensor:
    """Return the column (batch,) that an option follows. Raises UserError where the batch lacks it."""
    if column not in batch["observables"]:
        raise UserError(
            f"the data have no column {column!r}, which {option} follows{nearest(column, batch['observables'])}: name "
            f"another one, or set {option} to null"
        )
    values: Tensor = batch["observables"][column]
    return values
