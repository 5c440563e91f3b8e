"""Convolution kernel of a diagonal state-space model, as one batched real matrix product of two short tables.

The geometric sequence exp(l z) at l = iB + j is exp(iB z) · exp(j z): with B near √length the tables hold
channel × state × √length numbers instead of channel × state × length, and the sum over states is a matrix product.
Phases are reduced to one turn in float64 and only then cast: in float32 the phase of the last of 65 536 samples would
have lost four digits.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from cres.errors import UserError
from cres.shapes import Complex, Float


def s4d_kernel(
    c: Complex[Tensor, "*direction channel state"],
    a: Complex[Tensor, "channel state"],
    dt: Float[Tensor, "channel"],
    length: int,
) -> Float[Tensor, "*direction channel length"]:
    """Convolution kernel of a diagonal SSM, zero-order hold.

    K_l = 2 Re Σ_n C_n (exp(Δ A_n) − 1)/A_n · exp(l Δ A_n)          Gu et al. 2022, arXiv:2206.11893, eq. 5
    c, a: (channel, state/2) complex, one of each conjugate pair; dt: (channel,). Returns (channel, length) real, in the
    precision of c. c may have leading axes (directions) that share a and dt. Pass a and dt in float64 when they are
    functions of float32 parameters: rounding of Δ A is multiplied by l.
    """
    if length < 1:
        raise UserError(f"a kernel needs at least one sample, not {length}")
    with torch.autocast(c.device.type, enabled=False):
        exponent, input_weight = discretise(a, dt)
        return geometric_sum((c * input_weight).to(c.dtype), exponent, length)


def discretise(
    a: Complex[Tensor, "channel state"], dt: Float[Tensor, "channel"]
) -> tuple[Complex[Tensor, "channel state"], Complex[Tensor, "channel state"]]:
    """Return Δ A and the zero-order-hold input weight (exp(Δ A) − 1)/A, both complex128."""
    a = a.to(torch.complex128)
    exponent = a * dt.double().unsqueeze(-1)
    return exponent, (torch.exp(exponent) - 1) / a


def geometric_sum(
    weight: Complex[Tensor, "*direction channel state"], exponent: Complex[Tensor, "channel state"], length: int
) -> Float[Tensor, "*direction channel length"]:
    """Return 2 Re Σ_n w_n exp(l z_n), l = 0 … length − 1, in the precision of the weights."""
    flat = weight.reshape(-1, *weight.shape[-2:])
    result: Tensor = _GeometricSum.apply(flat, exponent, length)
    return result.reshape(*weight.shape[:-1], length)


def geometric_projection(
    values: Float[Tensor, "*direction channel length"], exponent: Complex[Tensor, "channel state"]
) -> Complex[Tensor, "*direction channel state"]:
    """Return Σ_l v_l exp(l z_n): the transpose of `geometric_sum` (no gradient of its own)."""
    flat = values.reshape(-1, *values.shape[-2:])
    moments, _ = _moments(flat, exponent.detach(), first=False)
    return moments.reshape(*values.shape[:-1], exponent.shape[-1])


def block_length(length: int) -> int:
    """Length of a block: near √length, so that both tables are short."""
    return max(1, math.isqrt(length - 1) + 1)


def _table(exponent: Tensor, count: int, stride: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Real and imaginary part of exp(i · stride · z), i < count, each (channel, state, count) in `dtype`."""
    steps = torch.arange(count, device=exponent.device, dtype=torch.float64) * stride
    turns = (exponent.imag / (2 * math.pi)).unsqueeze(-1) * steps
    phase = ((turns - turns.round()) * (2 * math.pi)).to(dtype)
    size = torch.exp((exponent.real.unsqueeze(-1) * steps).to(dtype))
    return size * torch.cos(phase), size * torch.sin(phase)


class _GeometricSum(Function):
    """2 Re Σ_n w_n exp(l z_n) with a backward pass of one matrix product; keeps nothing of the length in memory."""

    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor, exponent: Tensor, length: int) -> Tensor:
        """weight: (direction, channel, state), exponent: (channel, state); returns (direction, channel, length)."""
        directions, channels, states = weight.shape
        block = block_length(length)
        blocks = -(-length // block)
        real_dtype = weight.real.dtype
        fine = torch.cat(_table(exponent, block, 1, real_dtype), dim=1)
        coarse = torch.complex(*_table(exponent, blocks, block, real_dtype))
        weighted = 2 * weight.unsqueeze(-1) * coarse
        rows = torch.cat((weighted.real, -weighted.imag), dim=2)
        rows = rows.permute(1, 0, 3, 2).reshape(channels, directions * blocks, 2 * states)
        result = torch.bmm(rows, fine).reshape(channels, directions, blocks * block)
        return result[..., :length].transpose(0, 1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
        """Keep the two small inputs."""
        weight, exponent, _ = inputs
        ctx.save_for_backward(weight, exponent)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """dK/dw_n = 2 exp(l z_n), dK/dz_n = 2 w_n l exp(l z_n)."""
        weight, exponent = ctx.saved_tensors
        with torch.autocast(gradient.device.type, enabled=False):
            moments, first_moments = _moments(gradient, exponent, first=ctx.needs_input_grad[1])
        weight_gradient = 2 * moments.conj()
        if first_moments is None:
            return weight_gradient, None, None
        exponent_gradient = 2 * (weight * first_moments).conj().sum(dim=0)
        return weight_gradient, exponent_gradient.to(exponent.dtype), None


def _moments(values: Tensor, exponent: Tensor, *, first: bool) -> tuple[Tensor, Tensor | None]:
    """Σ_l v_l exp(l z) and, when asked, Σ_l l v_l exp(l z), both (direction, channel, state) complex.

    With l = iB + j: P_i = Σ_j v_ij exp(j z) and Q_i = Σ_j v_ij j exp(j z) are one real matrix product; then
    Σ_i exp(iB z) P_i and Σ_i exp(iB z)(iB P_i + Q_i).
    """
    directions, channels, length = values.shape
    states = exponent.shape[-1]
    block = block_length(length)
    blocks = -(-length // block)
    real, imaginary = _table(exponent, block, 1, values.dtype)
    parts = [real, imaginary]
    steps = torch.arange(block, device=values.device, dtype=values.dtype)
    if first:
        parts += [real * steps, imaginary * steps]
    fine = torch.cat(parts, dim=1).transpose(1, 2)
    rows = torch.nn.functional.pad(values, (0, blocks * block - length)).transpose(0, 1)
    rows = rows.reshape(channels, directions * blocks, block)
    sums = torch.bmm(rows, fine).reshape(channels, directions, blocks, len(parts), states)
    coarse = torch.complex(*_table(exponent, blocks, block, values.dtype)).transpose(1, 2).unsqueeze(1)
    moments = (coarse * torch.complex(sums[..., 0, :], sums[..., 1, :])).sum(dim=2).transpose(0, 1)
    if not first:
        return moments, None
    starts = (torch.arange(blocks, device=values.device, dtype=values.dtype) * block).unsqueeze(-1)
    first_sums = starts * torch.complex(sums[..., 0, :], sums[..., 1, :])
    first_sums = first_sums + torch.complex(sums[..., 2, :], sums[..., 3, :])
    return moments, (coarse * first_sums).sum(dim=2).transpose(0, 1)
