"""What a batch is: named inputs with masks, targets, observables, and who each row is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

Batch = dict[str, Any]
"""inputs {name: (batch, position, channel)}, float32; masks {name: (batch, position)}, bool, of the inputs that are
padded: true for what is real, from the start; an input without a mask is real throughout. event_id int64 (batch,);
targets float64 (batch, target), absent for unlabelled rows; observables {column: float64 (batch,)}; repeat int64
(batch,), where a row is drawn more than once in an epoch, how often before."""

SETTINGS = "settings"
"""Input of a model that is told the apparatus: (batch, 1, setting), float64, NaN where it is not known. It stays as
it is where inputs are corrupted, masked or cast."""
STRENGTH = "strength"
"""Of a batch whose rows are of several apparatus: power of the corruption of each row (batch,), or of each row by
frequency (batch, point), in what unit a model's `nominal_strength` is."""

Inputs = Mapping[str, Tensor]
Masks = Mapping[str, Tensor]


def masks_of(batch: Batch) -> Masks:
    """Return the masks of a batch; none where nothing is padded."""
    masks: Masks = batch.get("masks", {})
    return masks


def mask_from(lengths: Tensor, positions: int) -> Tensor:
    """Return the mask (batch, position) of inputs of which so many positions are real (batch,)."""
    return torch.arange(positions, device=lengths.device) < lengths.unsqueeze(1)


def masks_from(name: str, lengths: Tensor, positions: int) -> dict[str, Tensor]:
    """Return the mask of one input by its name; nothing where all of its positions are real."""
    return {} if bool((lengths == positions).all()) else {name: mask_from(lengths, positions)}


def lengths_from(mask: Tensor | None) -> Tensor | None:
    """Return how many positions are real, (batch,), None where all are."""
    return None if mask is None else mask.sum(dim=1)


def within(values: Tensor, mask: Tensor | None) -> Tensor:
    """Return inputs (batch, position, channel) with zeros where nothing is real."""
    return values if mask is None else values * mask.unsqueeze(-1)
