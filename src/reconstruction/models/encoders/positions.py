"""From samples to positions: which belong to a record, merging and averaging neighbours, leaving padding out."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from reconstruction.models.conditioning.context import ContextVector
from reconstruction.shapes import Bool, Float, Lengths, Series

FEWEST = 32
"""Rows that are worth a pass of their own."""
MOST_PASSES = 4
Pooled = tuple[Tensor, Tensor | None, Tensor | None]
"""Features, attention and its logarithm."""


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


def on_a_processor(series: Series) -> bool:
    """Whether a host computes this batch, and may look at its lengths.

    A GPU replays what it has captured for one shape, and what is compiled or exported is for all lengths.
    """
    traced = torch.compiler.is_compiling() or torch.compiler.is_exporting() or torch.jit.is_tracing()  # type: ignore[attr-defined]
    return series.device.type == "cpu" and not traced


def by_length(
    encode: Callable[[Series, Lengths, ContextVector | None], Pooled],
    series: Series,
    lengths: Lengths,
    context: ContextVector | None = None,
) -> Pooled:
    """Return what `encode` makes of all rows, of passes over rows of like length without the padding behind them.

    On a processor a position of padding costs what a token does, and a batch is as wide as any row may be: half of a
    detector's candidates have 13 tokens, one in a hundred 40, of 102.
    """
    order = lengths.argsort(stable=True)
    features: list[Tensor] = []
    attention: list[Tensor] = []
    log_attention: list[Tensor] = []
    for rows in order.tensor_split(min(MOST_PASSES, max(1, len(series) // FEWEST))):
        longest = max(1, int(lengths[rows].max()))
        told = None if context is None else context[rows]
        found, weights, log_weights = encode(series[rows, :longest], lengths[rows], told)
        features.append(found)
        behind = 0, series.shape[1] - longest
        if weights is not None:
            attention.append(pad(weights, behind))
        if log_weights is not None:
            log_attention.append(pad(log_weights, behind, value=-math.inf))
    back = order.argsort()
    return torch.cat(features)[back], _joined(attention, back), _joined(log_attention, back)


def _joined(parts: list[Tensor], back: Tensor) -> Tensor | None:
    return torch.cat(parts)[back] if parts else None
