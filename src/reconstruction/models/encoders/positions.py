"""From samples to positions: which belong to a record, merging neighbours, averaging neighbours."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reconstruction.shapes import Bool, Float, Lengths, Series


def valid_positions(lengths: Lengths, positions: int) -> Bool[Tensor, "batch position"]:
    """Return True where a position belongs to its record."""
    return torch.arange(positions, device=lengths.device) < lengths.unsqueeze(1)


def strided_lengths(lengths: Lengths | None, stride: int) -> Lengths | None:
    """Positions that `lengths` samples fill at `stride` samples a position."""
    if lengths is None or stride == 1:
        return lengths
    return torch.div(lengths + stride - 1, stride, rounding_mode="floor")


def position_mask(values: Tensor, lengths: Lengths | None) -> Float[Tensor, "batch 1 position"] | None:
    """Ones where a position of (batch, channel, position) belongs to its record, zeros beyond; None when all do."""
    if lengths is None:
        return None
    return valid_positions(lengths, values.shape[-1]).unsqueeze(1).to(values.dtype)


def masked(values: Tensor, mask: Tensor | None) -> Tensor:
    """Zero what the mask leaves out."""
    return values if mask is None else values * mask


def patches(series: Series, size: int, lengths: Lengths | None = None) -> Float[Tensor, "batch features position"]:
    """Merge `size` neighbouring samples of all channels into the features of one position.

    Samples beyond a record's length, and those missing in the last patch, are zero.
    """
    if lengths is not None:
        series = series * valid_positions(lengths, series.shape[1]).unsqueeze(-1).to(series.dtype)
    if size > 1:
        series = nn.functional.pad(series, (0, 0, 0, -series.shape[1] % size))
        series = series.reshape(series.shape[0], series.shape[1] // size, -1)
    return series.transpose(1, 2).contiguous()


def average_neighbours(
    values: Float[Tensor, "batch channel position"], factor: int
) -> Float[Tensor, "batch channel coarse"]:
    """Mean of `factor` neighbouring positions; positions that do not exist count as zero."""
    return nn.functional.avg_pool1d(nn.functional.pad(values, (0, -values.shape[-1] % factor)), factor)
