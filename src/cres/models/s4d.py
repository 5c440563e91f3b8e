"""S4D encoder: residual blocks of long convolutions and channel mixing, channel-first inside."""

from __future__ import annotations

from collections.abc import Sequence as Many
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cres.errors import UserError
from cres.models.base import Encoder, Sequence
from cres.models.masking import strided_lengths, valid_positions
from cres.models.pooling import PoolingName, make_pooling
from cres.models.s4d_layer import Initialisation, StateSpace
from cres.shapes import Lengths, Series

Mixing = Literal["glu", "linear"]


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of (batch, channel, position), position by position."""

    def __init__(self, channels: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.epsilon = epsilon

    def forward(self, values: Float[Tensor, "batch channel position"]) -> Float[Tensor, "batch channel position"]:
        """Normalise to mean 0 and variance 1, then scale and shift."""
        centred = values - values.mean(dim=1, keepdim=True)
        variance = centred.square().mean(dim=1, keepdim=True)
        normed = centred * torch.rsqrt(variance + self.epsilon)
        return torch.addcmul(self.bias.unsqueeze(-1), normed, self.weight.unsqueeze(-1))


class S4DBlock(nn.Module):
    """Norm, state space, activation, channel mixing, dropout, residual (pre-norm, or post-norm after the sum)."""

    def __init__(self, state_space: StateSpace, width: int, *, prenorm: bool, mixing: Mixing, dropout: float) -> None:
        super().__init__()
        self.norm = ChannelNorm(width)
        self.state_space = state_space
        self.prenorm = prenorm
        self.gated = mixing == "glu"
        self.mix = nn.Conv1d(width, 2 * width if self.gated else width, 1)
        self.dropout = nn.Dropout1d(dropout)

    def forward(
        self, values: Float[Tensor, "batch width position"], mask: Float[Tensor, "batch 1 position"] | None
    ) -> Float[Tensor, "batch width position"]:
        """Values beyond the record are zeroed before the convolution, so that padding cannot reach the record."""
        residual = self.norm(values) if self.prenorm else values
        if mask is not None:
            residual = residual * mask
        values = values + self.after_convolution(self.state_space(residual))
        return values if self.prenorm else self.norm(values)

    def after_convolution(self, convolved: Float[Tensor, "batch width position"]) -> Tensor:
        """Activation, dropout and channel mixing: all that works position by position."""
        mixed = self.mix(self.dropout(nn.functional.gelu(convolved)))
        return self.dropout(nn.functional.glu(mixed, dim=1) if self.gated else mixed)


class S4DEncoder(Encoder):
    """Diagonal state-space encoder (Gu et al. 2022, arXiv:2206.11893).

    Args:
        in_channels: channels of the series.
        width: features of each position.
        state: state size N of each channel (N/2 conjugate pairs).
        depth: number of blocks.
        bidirectional: convolve over past and future; false for a causal model, which can also stream.
        prenorm: normalise before each block's convolution, not after the residual sum.
        mixing: "glu" (gated, twice the products) or "linear" mixing of channels after the convolution.
        dropout: share of channels dropped in training, the same at all positions.
        initialisation: "lin", "inv" or "random" spectrum of A.
        dt_min: smallest initial time step, in positions⁻¹.
        dt_max: largest initial time step.
        stride: samples that the input projection merges into one position.
        downsample: for each block, the factor by which positions are averaged after it (empty: none).
        pooling: "mean", "attention" or "last".

    """

    def __init__(
        self,
        in_channels: int,
        width: int = 128,
        state: int = 64,
        depth: int = 6,
        *,
        bidirectional: bool = True,
        prenorm: bool = True,
        mixing: Mixing = "glu",
        dropout: float = 0.0,
        initialisation: Initialisation = "lin",
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
        stride: int = 1,
        downsample: Many[int] = (),
        pooling: PoolingName = "mean",
    ) -> None:
        factors = tuple(downsample) or (1,) * depth
        if len(factors) != depth or min(factors) < 1 or stride < 1:
            raise UserError(
                f"S4D needs stride ≥ 1 and one downsample factor ≥ 1 for each of its {depth} blocks, "
                f"not stride {stride} and downsample {list(downsample)}"
            )
        total_stride = stride
        for factor in factors:
            total_stride *= factor
        super().__init__(in_channels, width, total_stride, make_pooling(pooling, width))
        self.patch = stride
        self.factors = factors
        self.project = nn.Conv1d(in_channels * stride, width, 1)
        self.blocks = nn.ModuleList(
            S4DBlock(
                StateSpace(
                    width,
                    state,
                    bidirectional=bidirectional,
                    initialisation=initialisation,
                    dt_min=dt_min,
                    dt_max=dt_max,
                ),
                width,
                prenorm=prenorm,
                mixing=mixing,
                dropout=dropout,
            )
            for _ in range(depth)
        )
        self.norm = ChannelNorm(width) if prenorm else nn.Identity()

    def sequence(self, series: Series, lengths: Lengths | None = None) -> Sequence:
        """Return (batch, position, width) features, zero beyond each record."""
        if lengths is not None:
            series = series * valid_positions(lengths, series.shape[1]).unsqueeze(-1).to(series.dtype)
        values = self.project(patches(series, self.patch))
        lengths = strided_lengths(lengths, self.patch)
        for block, factor in zip(self.blocks, self.factors, strict=True):
            values = block(values, _mask(values, lengths))
            if factor > 1:
                values = _average(values, _mask(values, lengths), factor)
                lengths = strided_lengths(lengths, factor)
        values = self.norm(values)
        mask = _mask(values, lengths)
        return Sequence((values if mask is None else values * mask).transpose(1, 2), lengths)


def patches(series: Series, size: int) -> Float[Tensor, "batch features position"]:
    """Merge `size` neighbouring samples of all channels into the features of one position (zeros at the end)."""
    if size == 1:
        return series.transpose(1, 2)
    missing = -series.shape[1] % size
    series = nn.functional.pad(series, (0, 0, 0, missing))
    return series.reshape(series.shape[0], series.shape[1] // size, -1).transpose(1, 2)


def _average(values: Tensor, mask: Tensor | None, factor: int) -> Tensor:
    """Mean of `factor` neighbouring positions; positions that do not exist count as zero."""
    if mask is not None:
        values = values * mask
    values = nn.functional.pad(values, (0, -values.shape[-1] % factor))
    return nn.functional.avg_pool1d(values, factor)


def _mask(values: Tensor, lengths: Tensor | None) -> Tensor | None:
    if lengths is None:
        return None
    return valid_positions(lengths, values.shape[-1]).unsqueeze(1).to(values.dtype)
