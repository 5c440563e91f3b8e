"""Conformer encoder with rotary positions, blind to padding.

Gulati et al. 2020, arXiv:2005.08100, with two changes: the depthwise convolution is masked, and layer normalisation
takes the place of its batch normalisation, so that neither padding nor neighbours in the batch reach a record.
Positions are rotary (Su et al. 2021, arXiv:2104.09864): attention depends on distances only, at any length.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reconstruction.errors import UserError
from reconstruction.models.conditioning.context import ContextVector
from reconstruction.models.encoders.base import Encoder, Sequence
from reconstruction.models.encoders.pooling import PoolingName, make_pooling
from reconstruction.models.encoders.positions import patches, strided_lengths, valid_positions
from reconstruction.shapes import Bool, Float, Lengths, Series

Positions = Float[Tensor, "batch position width"]
Valid = Bool[Tensor, "batch position"]


class FeedForward(nn.Module):
    """Norm, expansion, swish, contraction."""

    def __init__(self, width: int, expansion: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, expansion * width),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(expansion * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, values: Positions) -> Positions:
        """Work position by position."""
        return self.layers(values)


class RotaryAttention(nn.Module):
    """Multi-head self-attention; queries and keys are turned by an angle proportional to their position."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        if width % (2 * heads):
            raise UserError(f"the width of a Conformer ({width}) must be a multiple of twice its heads ({heads})")
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.inputs = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, values: Positions, valid: Valid | None) -> Positions:
        """Attend to the valid positions."""
        projected = self.inputs(self.norm(values)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = projected.unbind(0)
        mask = None if valid is None else valid[:, None, None, :]
        attended = nn.functional.scaled_dot_product_attention(rotate(query), rotate(key), value, attn_mask=mask)
        return self.dropout(self.output(attended.transpose(1, 2).flatten(2)))


def rotate(values: Float[Tensor, "batch head position width"]) -> Float[Tensor, "batch head position width"]:
    """Turn the pairs (x_i, x_{i + width/2}) by position · 10000^(−2i/width), angles in float32 or better.

    bfloat16 counts positions exactly only to 256.
    """
    half = values.shape[-1] // 2
    exact = torch.promote_types(values.dtype, torch.float32)
    position = torch.arange(values.shape[-2], device=values.device, dtype=exact)
    frequency = 10_000.0 ** (-torch.arange(half, device=values.device, dtype=exact) / half)
    angle = position.unsqueeze(1) * frequency
    cosine, sine = angle.cos().to(values.dtype), angle.sin().to(values.dtype)
    first, second = values[..., :half], values[..., half:]
    return torch.cat((first * cosine - second * sine, first * sine + second * cosine), dim=-1)


class MaskedConvolution(nn.Module):
    """Norm, gated pointwise, depthwise convolution of zeroed padding, norm, swish, pointwise."""

    def __init__(self, width: int, kernel_size: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.gate = nn.Linear(width, 2 * width)
        self.depthwise = nn.Conv1d(width, width, kernel_size, padding=kernel_size // 2, groups=width)
        self.depthwise_norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, values: Positions, valid: Valid | None) -> Positions:
        """Convolve along the positions."""
        gated = nn.functional.glu(self.gate(self.norm(values)), dim=-1)
        if valid is not None:
            gated = gated * valid.unsqueeze(-1).to(gated.dtype)
        convolved = self.depthwise(gated.transpose(1, 2)).transpose(1, 2)
        return self.dropout(self.output(nn.functional.silu(self.depthwise_norm(convolved))))


class ConformerBlock(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward, norm."""

    def __init__(self, width: int, heads: int, kernel_size: int, expansion: int, dropout: float) -> None:
        super().__init__()
        self.before = FeedForward(width, expansion, dropout)
        self.attention = RotaryAttention(width, heads, dropout)
        self.convolution = MaskedConvolution(width, kernel_size, dropout)
        self.after = FeedForward(width, expansion, dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, values: Positions, valid: Valid | None) -> Positions:
        """Return the features of the next layer."""
        values = values + 0.5 * self.before(values)
        values = values + self.attention(values, valid)
        values = values + self.convolution(values, valid)
        return self.norm(values + 0.5 * self.after(values))


class ConformerEncoder(Encoder):
    """Stack of Conformer blocks over patches of the series.

    Args:
        in_channels: channels of the series.
        width: features of each position.
        depth: number of blocks.
        heads: attention heads; the width is a multiple of twice their number.
        kernel_size: positions that the depthwise convolution sees (odd).
        expansion: width of the feed-forward layers, in widths.
        dropout: dropout after each part of a block.
        stride: samples merged into one position; the cost of attention grows with the square of the positions.
        pooling: "mean", "attention" or "last".

    """

    def __init__(
        self,
        in_channels: int,
        width: int = 128,
        depth: int = 4,
        *,
        heads: int = 4,
        kernel_size: int = 15,
        expansion: int = 4,
        dropout: float = 0.0,
        stride: int = 16,
        pooling: PoolingName = "mean",
    ) -> None:
        if kernel_size % 2 == 0:
            raise UserError(f"the kernel size of a Conformer must be odd, not {kernel_size}")
        super().__init__(in_channels, width, stride, make_pooling(pooling, width))
        self.project = nn.Linear(in_channels * stride, width)
        self.blocks = nn.ModuleList(ConformerBlock(width, heads, kernel_size, expansion, dropout) for _ in range(depth))

    @property
    def layers(self) -> tuple[nn.Module, ...]:
        """Input projection and blocks."""
        return (self.project, *self.blocks)

    def sequence(
        self, series: Series, lengths: Lengths | None = None, context: ContextVector | None = None
    ) -> Sequence:
        """Return (batch, position, width) features, zero beyond each record."""
        values = self.project(patches(series, self.stride, lengths).transpose(1, 2))
        lengths = strided_lengths(lengths, self.stride)
        # A record without samples attends to its first position: a softmax over nothing is not a number.
        valid = None if lengths is None else valid_positions(lengths.clamp(min=1), values.shape[1])
        values = self.modulated(values, 0, context, lengths)
        for place, block in enumerate(self.blocks, 1):
            values = self.modulated(block(values, valid), place, context, lengths)
        return Sequence(values if valid is None else values * valid.unsqueeze(-1).to(values.dtype), lengths)
