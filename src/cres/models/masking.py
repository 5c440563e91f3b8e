"""Which positions belong to a record."""

from __future__ import annotations

import torch
from jaxtyping import Bool
from torch import Tensor

from cres.shapes import Lengths


def valid_positions(lengths: Lengths, positions: int) -> Bool[Tensor, "batch position"]:
    """Return True where a position belongs to its record."""
    return torch.arange(positions, device=lengths.device) < lengths.unsqueeze(1)


def strided_lengths(lengths: Lengths | None, stride: int) -> Lengths | None:
    """Positions that `lengths` samples fill at `stride` samples a position."""
    if lengths is None or stride == 1:
        return lengths
    return torch.div(lengths + stride - 1, stride, rounding_mode="floor")
