"""A transformer over the layers of a calorimeter."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from reconstruction.errors import UserError
from reconstruction.models.conditioning.context import ContextVector
from reconstruction.models.encoders.base import Encoder, Sequence
from reconstruction.models.encoders.conformer import FeedForward, RotaryAttention
from reconstruction.models.encoders.pooling import PoolingName, make_pooling
from reconstruction.models.encoders.positions import valid_positions
from reconstruction.shapes import Bool, Float, Lengths, Series


class TransformerBlock(nn.Module):
    """Attention and feed-forward, each after a norm and around a residual path."""

    def __init__(self, width: int, heads: int, expansion: int, dropout: float) -> None:
        super().__init__()
        self.attention = RotaryAttention(width, heads, dropout)
        self.change = FeedForward(width, expansion, dropout)

    def forward(
        self, values: Float[Tensor, "batch position width"], valid: Bool[Tensor, "batch position"] | None
    ) -> Float[Tensor, "batch position width"]:
        """Return the features of the next block."""
        values = values + self.attention(values, valid)
        return values + self.change(values)


class LayerTransformerEncoder(Encoder):
    """Attention between layers, which know how deep they are (Vaswani et al. 2017, arXiv:1706.03762).

    Args:
        in_channels: channels of a layer.
        width: features of each layer.
        depth: number of blocks.
        heads: attention heads; the width is a multiple of twice their number.
        expansion: width of the feed-forward parts, in widths.
        dropout: dropout after each part of a block.
        pooling: "mean", "attention" or "last".

    """

    of_tokens = True

    def __init__(
        self,
        in_channels: int,
        width: int = 64,
        depth: int = 2,
        *,
        heads: int = 4,
        expansion: int = 2,
        dropout: float = 0.0,
        pooling: PoolingName = "mean",
    ) -> None:
        if width % (2 * heads):
            raise UserError(f"the width of a transformer is a multiple of twice its heads, {2 * heads}, not {width}")
        super().__init__(in_channels, width, 1, make_pooling(pooling, width))
        self.project = nn.Linear(in_channels, width)
        self.squares = nn.Linear(in_channels, width, bias=False)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, expansion, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    @property
    def layers(self) -> tuple[nn.Module, ...]:
        """Input projections and blocks."""
        return (nn.ModuleList([self.project, self.squares]), *self.blocks)

    def sequence(
        self, series: Series, lengths: Lengths | None = None, context: ContextVector | None = None
    ) -> Sequence:
        """Return (batch, layer, width) features, zero beyond each shower's layers."""
        # a record without samples attends to its first position: a softmax over nothing is not a number
        valid = None if lengths is None else valid_positions(lengths.clamp(min=1), series.shape[1])
        if valid is not None:
            series = series * valid.unsqueeze(-1).to(series.dtype)
        # views hold roots of energies; energies themselves add up
        values = self.project(series) + self.squares(series * series.abs())
        values = values + depths(series.shape[1], self.sequence_width, values)
        values = self.modulated(values, 0, context, lengths)
        for layer, block in enumerate(self.blocks, 1):
            values = self.modulated(block(values, valid), layer, context, lengths)
        values = self.norm(values)
        return Sequence(values if valid is None else values * valid.unsqueeze(-1).to(values.dtype), lengths)


def depths(positions: int, width: int, like: Tensor) -> Float[Tensor, "position width"]:
    """Return sines and cosines of position · 1000^(−2i/width), by which layers know their place."""
    exact = torch.promote_types(like.dtype, torch.float32)
    place = torch.arange(positions, device=like.device, dtype=exact).unsqueeze(1)
    frequency = torch.exp(-math.log(1000.0) * torch.arange(0, width, 2, device=like.device, dtype=exact) / width)
    return torch.cat([(place * frequency).sin(), (place * frequency).cos()], dim=1).to(like.dtype)
