"""LinOSS: a layer of driven harmonic oscillators, as a convolution (Rusch and Rus 2025, arXiv:2410.03943).

x″ = −A x + B u, y = C x + D u with a diagonal A ≥ 0, discretised in one of two ways with the time step Δ of each state:

    IM    z_n = z_(n−1) + Δ (−A x_n + B u_n),       x_n = x_(n−1) + Δ z_n      implicit: oscillations decay
    IMEX  z_n = z_(n−1) + Δ (−A x_(n−1) + B u_n),   x_n = x_(n−1) + Δ z_n      implicit-explicit: they are kept

Each state is a 2 × 2 recurrence whose eigenvalues λ, λ* are known in closed form, so that its answer to an impulse is
2 Re(w λ^l): the layer is a convolution with the kernel of a diagonal state space, and needs no scan.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from reconstruction.errors import UserError
from reconstruction.models.conditioning.context import ContextVector
from reconstruction.models.encoders.base import Encoder, Sequence
from reconstruction.models.encoders.channel_norm import ChannelNorm
from reconstruction.models.encoders.convolution import fft_convolve, good_length, kernel_spectrum
from reconstruction.models.encoders.pooling import PoolingName, make_pooling
from reconstruction.models.encoders.positions import masked, patches, position_mask, strided_lengths
from reconstruction.models.encoders.s4d import Mixing, S4DBlock
from reconstruction.models.encoders.s4d_kernel import geometric_sum
from reconstruction.shapes import Complex, Float, Lengths, Series

Discretisation = Literal["im", "imex"]

_LARGEST_TURN = 3.99
"""Of Δ²A in the implicit-explicit form, which grows without bound beyond 4 (there λ would be real and below −1)."""


class Oscillators(nn.Module):
    """A and Δ of the oscillators: parameters with their own learning rate and no decay.

    The paper starts with both uniform in (0, 1); here A is an exponential, so that no oscillator is ever stuck at 0.
    """

    def __init__(self, states: int) -> None:
        super().__init__()
        self.log_a = nn.Parameter(torch.rand(states).clamp(min=1e-3).log())
        self.logit_dt = nn.Parameter(torch.logit(torch.rand(states), eps=1e-3))

    def forward(self) -> tuple[Float[Tensor, "state"], Float[Tensor, "state"]]:
        """Return A and Δ, both float64."""
        return torch.exp(self.log_a.double()), torch.sigmoid(self.logit_dt.double())


def impulse(
    a: Float[Tensor, "state"], dt: Float[Tensor, "state"], discretisation: Discretisation
) -> tuple[Complex[Tensor, "state"], Complex[Tensor, "state"]]:
    """Return w and log λ of each oscillator's answer x_l = 2 Re(w λ^l) to a unit impulse, complex128.

    IM: λ = S (1 + iΔ√A), S = 1/(1 + Δ²A), w = Δ²S/2 · (1 − i/(Δ√A)); IMEX: λ = exp(iθ), θ = 2 arcsin(Δ√A/2),
    w = Δ²/2 · (1 − i cot θ). Both follow from x_0 and x_1 of the recurrences above; λ is eqs. of section 2.2 there.
    """
    if discretisation == "im":
        turn = dt * a.sqrt()
        damping = torch.log1p(turn.square())
        half = 0.5 * dt.square() * torch.exp(-damping)
        return torch.complex(half, -half / turn), torch.complex(-0.5 * damping, torch.atan(turn))
    turn = 2 * torch.asin(0.5 * (dt.square() * a).clamp(max=_LARGEST_TURN).sqrt())
    half = 0.5 * dt.square()
    return torch.complex(half, -half / torch.tan(turn)), torch.complex(torch.zeros_like(turn), turn)


class OscillatoryStateSpace(nn.Module):
    """The LinOSS layer on (batch, channel, length): all channels drive `state` oscillators and read all of them.

    Bidirectional layers run over past and future, with a C for each.
    """

    def __init__(
        self, channels: int, state: int, *, discretisation: Discretisation = "im", bidirectional: bool = True
    ) -> None:
        super().__init__()
        if state < 1:
            raise UserError(f"LinOSS needs at least one oscillator, not {state}")
        self.discretisation: Discretisation = discretisation
        self.directions = 2 if bidirectional else 1
        self.oscillators = Oscillators(state)
        self.b = nn.Parameter(torch.randn(state, channels) / math.sqrt(channels))
        self.c = nn.Parameter(torch.randn(channels, self.directions * state) / math.sqrt(state))
        self.skip = nn.Parameter(torch.randn(channels))

    def kernel(self, length: int) -> Float[Tensor, "state length"]:
        """Return each oscillator's answer to an impulse, in the precision of B."""
        a, dt = self.oscillators()
        weight, exponent = impulse(a, dt, self.discretisation)
        weight = weight.to(self.b.dtype.to_complex())
        return geometric_sum(weight.unsqueeze(-1), exponent.unsqueeze(-1), length)

    def forward(self, values: Float[Tensor, "batch channel length"]) -> Float[Tensor, "batch channel length"]:
        """Drive, convolve and read in float32 or better, whatever autocast says."""
        with torch.autocast(values.device.type, enabled=False):
            values = values.to(self.b.dtype)
            length = values.shape[-1]
            size = good_length(2 * length)
            driven, kernel = self.b @ values, self.kernel(length)
            ways = [kernel.unsqueeze(0)]
            if self.directions == 2:
                ways.append(torch.stack((torch.zeros_like(kernel), kernel)))
            positions = [fft_convolve(driven, kernel_spectrum(way, size), size) for way in ways]
            return torch.addcmul(self.c @ torch.cat(positions, dim=1), self.skip.unsqueeze(-1), values)


class LinOSSEncoder(Encoder):
    """Encoder of oscillatory state-space layers (LinOSS), in the blocks of the S4D encoder.

    Args:
        in_channels: channels of the series.
        width: features of each position.
        state: oscillators of each layer.
        depth: number of blocks.
        discretisation: "im" (oscillations decay) or "imex" (they are kept).
        bidirectional: over past and future; false for a causal model.
        dropout: share of channels dropped in training, the same at all positions.
        stride: samples that the input projection merges into one position.
        pooling: "mean", "attention" or "last".

    """

    def __init__(
        self,
        in_channels: int,
        width: int = 64,
        state: int = 64,
        depth: int = 4,
        *,
        discretisation: Discretisation = "im",
        bidirectional: bool = True,
        mixing: Mixing = "glu",
        dropout: float = 0.0,
        stride: int = 1,
        pooling: PoolingName = "mean",
    ) -> None:
        if depth < 1 or stride < 1:
            raise UserError(f"LinOSS needs depth and stride of at least 1, not {depth} and {stride}")
        super().__init__(in_channels, width, stride, make_pooling(pooling, width))
        self.project = nn.Conv1d(in_channels * stride, width, 1)
        self.blocks = nn.ModuleList(
            S4DBlock(
                OscillatoryStateSpace(width, state, discretisation=discretisation, bidirectional=bidirectional),
                width,
                prenorm=True,
                mixing=mixing,
                dropout=dropout,
            )
            for _ in range(depth)
        )
        self.norm = ChannelNorm(width)

    @property
    def layers(self) -> tuple[nn.Module, ...]:
        """Input projection and blocks."""
        return (self.project, *self.blocks)

    def sequence(
        self, series: Series, lengths: Lengths | None = None, context: ContextVector | None = None
    ) -> Sequence:
        """Return (batch, position, width) features, zero beyond each record."""
        values = self.project(patches(series, self.stride, lengths))
        lengths = strided_lengths(lengths, self.stride)
        mask = position_mask(values, lengths)
        values = self.channels_modulated(values, 0, context, lengths)
        for place, block in enumerate(self.blocks, 1):
            values = self.channels_modulated(block(values, mask), place, context, lengths)
        return Sequence(masked(self.norm(values), mask).transpose(1, 2), lengths)
