"""What every encoder is: a series of any length and channel number in, one feature vector a record out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from reconstruction.models.encoders.pooling import Pooling
from reconstruction.shapes import Features, Lengths, Series


class Sequence(NamedTuple):
    """An encoder's features before pooling."""

    values: Tensor
    """(batch, position, width); positions at and beyond `lengths` are zero."""
    lengths: Tensor | None
    """(batch,) positions that belong to the record, or None when all do."""


class Encoded(NamedTuple):
    """Pooled features, and the weights that pooled them."""

    features: Tensor
    """(batch, output_width)"""
    attention: Tensor | None
    """(batch, position) weights that sum to one, for attention pooling; None otherwise."""
    log_attention: Tensor | None
    """Logarithm of the weights, for a stable cross-entropy; −inf at padding."""
    stride: int
    """Samples a position: position i stands for the samples i · stride … (i + 1) · stride − 1."""


class Encoder(nn.Module, ABC):
    """Abstract encoder: (batch, time, channel) to (batch, output_width).

    `lengths` (batch,) says how many samples of each record are real; what lies behind never changes the features.
    Subclasses call `__init__(in_channels, sequence_width, stride, pooling)` and write `sequence` and `layers`.
    """

    def __init__(self, in_channels: int, sequence_width: int, stride: int, pooling: Pooling) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.sequence_width = sequence_width
        self.stride = stride
        self.pooling = pooling
        self.output_width = pooling.output_width

    @property
    @abstractmethod
    def layers(self) -> tuple[nn.Module, ...]:
        """The layers from input to output: what fine-tuning freezes or trains.

        What stands behind the last of them, a norm and the pooling, learns with it.
        """

    @abstractmethod
    def sequence(self, series: Series, lengths: Lengths | None = None) -> Sequence:
        """Return the features of each position, before pooling."""

    def encode(self, series: Series, lengths: Lengths | None = None) -> Encoded:
        """Return the pooled features with the attention weights."""
        check_series(series, lengths, self.in_channels)
        values, position_lengths = self.sequence(series, lengths)
        pooled = self.pooling(values, position_lengths)
        return Encoded(pooled.features, pooled.attention, pooled.log_attention, self.stride)

    def forward(self, series: Series, lengths: Lengths | None = None) -> Features:
        """Return the pooled features."""
        return self.encode(series, lengths).features


def check_series(series: Tensor, lengths: Tensor | None, in_channels: int) -> None:
    """Raise ValueError where a wrong shape would broadcast or fail far from its cause."""
    if series.ndim != 3 or series.shape[-1] != in_channels:
        raise ValueError(f"series has shape {tuple(series.shape)}, expected (batch, time, {in_channels})")
    if series.shape[1] < 1:
        raise ValueError("series has no samples")
    if lengths is not None and lengths.shape != (series.shape[0],):
        raise ValueError(f"lengths has shape {tuple(lengths.shape)}, expected ({series.shape[0]},)")
