"""Residual 1-D convolutional encoder."""

from __future__ import annotations

import math
from collections.abc import Sequence as Many

from torch import Tensor, nn

from reconstruction.errors import UserError
from reconstruction.models.conditioning.context import ContextVector
from reconstruction.models.encoders.base import Encoder, Sequence
from reconstruction.models.encoders.channel_norm import ChannelNorm
from reconstruction.models.encoders.pooling import PoolingName, make_pooling
from reconstruction.models.encoders.positions import average_neighbours, masked, patches, position_mask, strided_lengths
from reconstruction.shapes import Float, Lengths, Series


class ConvNetBlock(nn.Module):
    """Two convolutions around a residual path, each after norm and activation; padding is zeroed before each."""

    def __init__(self, width: int, kernel_size: int, dropout: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(ChannelNorm(width) for _ in range(2))
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, width, kernel_size, padding=kernel_size // 2) for _ in range(2)
        )
        self.dropout = nn.Dropout1d(dropout)

    def forward(
        self, values: Float[Tensor, "batch width position"], mask: Float[Tensor, "batch 1 position"] | None
    ) -> Float[Tensor, "batch width position"]:
        """Return values plus their convolved change."""
        change = values
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            change = convolution(masked(nn.functional.gelu(norm(change)), mask))
        return values + self.dropout(change)


class ConvNetEncoder(Encoder):
    """Residual blocks of convolutions, positions averaged between them.

    Args:
        in_channels: channels of the series.
        width: features of each position.
        kernel_size: positions that one convolution sees (odd).
        dropout: share of channels dropped in training.
        stride: samples that the input projection merges into one position.
        downsample: for each block, the factor by which positions are averaged after it; as many blocks as factors.
        pooling: "mean", "attention" or "last".

    """

    def __init__(
        self,
        in_channels: int,
        width: int = 64,
        *,
        kernel_size: int = 9,
        dropout: float = 0.0,
        stride: int = 2,
        downsample: Many[int] = (2, 2, 2, 2, 2, 2),
        pooling: PoolingName = "mean",
    ) -> None:
        if kernel_size % 2 == 0 or stride < 1 or min(downsample, default=0) < 1:
            raise UserError(
                "a convnet needs an odd kernel size, a stride and downsample factors of at least 1 (one a block), "
                f"not kernel size {kernel_size}, stride {stride}, downsample {list(downsample)}"
            )
        super().__init__(in_channels, width, stride * math.prod(downsample), make_pooling(pooling, width))
        self.patch = stride
        self.factors = tuple(downsample)
        self.project = nn.Conv1d(in_channels * stride, width, 1)
        self.blocks = nn.ModuleList(ConvNetBlock(width, kernel_size, dropout) for _ in self.factors)
        self.norm = ChannelNorm(width)

    @property
    def layers(self) -> tuple[nn.Module, ...]:
        """Input projection and blocks."""
        return (self.project, *self.blocks)

    def sequence(
        self, series: Series, lengths: Lengths | None = None, context: ContextVector | None = None
    ) -> Sequence:
        """Return (batch, position, width) features, zero beyond each record."""
        values = self.project(patches(series, self.patch, lengths))
        lengths = strided_lengths(lengths, self.patch)
        values = self.channels_modulated(values, 0, context, lengths)
        for place, (block, factor) in enumerate(zip(self.blocks, self.factors, strict=True), 1):
            mask = position_mask(values, lengths)
            values = self.channels_modulated(block(values, mask), place, context, lengths)
            values = average_neighbours(masked(values, mask), factor)
            lengths = strided_lengths(lengths, factor)
        values = masked(self.norm(values), position_mask(values, lengths))
        return Sequence(values.transpose(1, 2), lengths)
