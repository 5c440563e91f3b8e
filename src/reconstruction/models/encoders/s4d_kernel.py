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

from reconstruction.errors import UserError
from reconstruction.shapes import Complex, Float


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
        flat = c.reshape(-1, *c.shape[-2:])
        kernel: Tensor = _S4DKernel.apply(flat, a.to(torch.complex128), dt.double(), length)[0]
        return kernel.reshape(*c.shape[:-1], length)


def discretise(
    a: Complex[Tensor, "channel state"], dt: Float[Tensor, "channel"]
) -> tuple[Complex[Tensor, "channel state"], Complex[Tensor, "channel state"]]:
    """Return Δ A and the zero-order-hold input weight (exp(Δ A) − 1)/A, both complex128."""
    exponent, _, input_weight = _discretised(a.to(torch.complex128), dt.double())
    return exponent, input_weight


def _discretised(a: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Δ A, exp(Δ A) and (exp(Δ A) − 1)/A."""
    exponent = a * dt.unsqueeze(-1)
    decay = torch.exp(exponent)
    return exponent, decay, (decay - 1) / a


def geometric_sum(
    weight: Complex[Tensor, "*direction channel state"], exponent: Complex[Tensor, "channel state"], length: int
) -> Float[Tensor, "*direction channel length"]:
    """Return 2 Re Σ_n w_n exp(l z_n), l = 0 … length − 1, in the precision of the weights."""
    flat = weight.reshape(-1, *weight.shape[-2:])
    result: Tensor = _GeometricSum.apply(flat, exponent, length)[0]
    return result.reshape(*weight.shape[:-1], length)


def geometric_projection(
    values: Float[Tensor, "*direction channel length"], exponent: Complex[Tensor, "channel state"]
) -> Complex[Tensor, "*direction channel state"]:
    """Return Σ_l v_l exp(l z_n): the transpose of `geometric_sum` (no gradient of its own)."""
    flat = values.reshape(-1, *values.shape[-2:])
    moments, _ = _moments(flat, *_tables(exponent.detach(), flat.shape[-1], flat.dtype), first=False)
    return moments.reshape(*values.shape[:-1], exponent.shape[-1])


def _split(length: int) -> tuple[int, int]:
    """Length of a block, near √length so that both tables are short, and the number of blocks."""
    block = max(1, math.isqrt(length - 1) + 1)
    return block, -(-length // block)


def _tables(exponent: Tensor, length: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """exp(j z), j < block, and exp(iB z), i < blocks, each complex (channel, state, count) in the precision `dtype`."""
    block, blocks = _split(length)
    fine = torch.arange(block, device=exponent.device, dtype=torch.float64)
    coarse = torch.arange(0, blocks * block, block, device=exponent.device, dtype=torch.float64)
    steps = torch.cat((fine, coarse))
    rate, turns = torch.view_as_real(exponent).unsqueeze(-1).unbind(dim=-2)
    turns = torch.frac(turns * (steps / (2 * math.pi)))
    table = torch.polar(torch.exp((rate * steps).to(dtype)), turns.mul_(2 * math.pi).to(dtype))
    fine, coarse = table.split([block, blocks], dim=-1)
    return fine, coarse


def _summed(weight: Tensor, fine: Tensor, coarse: Tensor, length: int) -> Tensor:
    """2 Re Σ_n w_n exp(l z_n) of weights (direction, channel, state) from the tables: (direction, channel, length)."""
    directions, channels, states = weight.shape
    block, blocks = _split(length)
    # Re(w f) = Re w Re f − Im w Im f: the conjugate of w beside f, real and imaginary part as two states
    weighted = torch.view_as_real((2 * weight.unsqueeze(-1) * coarse).conj_physical())
    rows = weighted.permute(1, 0, 3, 2, 4).reshape(channels, directions * blocks, 2 * states)
    columns = torch.view_as_real(fine).permute(0, 1, 3, 2).reshape(channels, 2 * states, block)
    result = torch.bmm(rows, columns).view(channels, directions, blocks * block)
    return result[..., :length].transpose(0, 1)


class _GeometricSum(Function):
    """2 Re Σ_n w_n exp(l z_n) with a backward pass of one matrix product; keeps nothing longer than √length."""

    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor, exponent: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor]:
        """weight: (direction, channel, state), exponent: (channel, state); returns (direction, channel, length).

        The two tables are returned beside it, for the backward pass.
        """
        fine, coarse = _tables(exponent, length, weight.dtype.to_real())
        return _summed(weight, fine, coarse, length), fine, coarse

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: tuple[Tensor, Tensor, Tensor]) -> None:
        """Keep what is small."""
        weight, exponent, _ = inputs
        _, fine, coarse = output
        ctx.mark_non_differentiable(fine, coarse)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(weight, fine, coarse)
        ctx.exact = exponent.dtype

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, *tables: None) -> tuple[Tensor | None, Tensor | None, None]:
        """dK/dw_n = 2 exp(l z_n), dK/dz_n = 2 w_n l exp(l z_n)."""
        if gradient is None:
            return None, None, None
        weight, fine, coarse = ctx.saved_tensors
        with torch.autocast(gradient.device.type, enabled=False):
            moments, first_moments = _moments(2 * gradient, fine, coarse, first=ctx.needs_input_grad[1])
        weight_gradient = moments.conj_physical()
        if first_moments is None:
            return weight_gradient, None, None
        exponent_gradient = (weight * first_moments).sum(dim=0).conj_physical()
        return weight_gradient, exponent_gradient.to(ctx.exact), None


class _S4DKernel(Function):
    """The whole kernel from C, A and Δ: what is small stays in float64, and its gradient is written out.

    Autograd would take twice the steps, nearly all of them for conjugates of tables of a few thousand numbers.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(c: Tensor, a: Tensor, dt: Tensor, length: int) -> tuple[Tensor, ...]:
        """c: (direction, channel, state), a: (channel, state), dt: (channel,); returns (direction, channel, length).

        Beside it what the backward pass needs: the weights, exp(Δ A), (exp(Δ A) − 1)/A and the two tables.
        """
        return kernel_and_tables(c, a, dt, length)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, int], output: tuple[Tensor, ...]) -> None:
        """Keep what is small."""
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[:3], *output[1:])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, *tables: None) -> tuple[Tensor | None, ...]:
        """Return the gradients of C, A and Δ."""
        if gradient is None:
            return None, None, None, None
        with torch.autocast(gradient.device.type, enabled=False):
            return *kernel_gradients(gradient, *ctx.saved_tensors), None


def kernel_and_tables(c: Tensor, a: Tensor, dt: Tensor, length: int) -> tuple[Tensor, ...]:
    """Return the kernel of C (direction, channel, state), A and Δ, and what `kernel_gradients` needs beside them."""
    exponent, decay, input_weight = _discretised(a, dt)
    weight = (c * input_weight).to(c.dtype)
    fine, coarse = _tables(exponent, length, c.dtype.to_real())
    return _summed(weight, fine, coarse, length), weight, decay, input_weight, fine, coarse


def kernel_gradients(
    gradient: Float[Tensor, "direction channel length"],
    c: Tensor,
    a: Tensor,
    dt: Tensor,
    weight: Tensor,
    decay: Tensor,
    input_weight: Tensor,
    fine: Tensor,
    coarse: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of C, A and Δ from that of the kernel.

    With w = C B, B = (E − 1)/A, E = exp(z), z = Δ A: ∂B/∂z = E/A, ∂B/∂A = −B/A; all conjugated at the end.
    """
    moments, first_moments = _moments(2 * gradient, fine, coarse, first=True)
    assert first_moments is not None
    of_c = (moments * input_weight).to(c.dtype)
    of_input = (moments * c).sum(dim=0) / a
    of_exponent = torch.addcmul((weight * first_moments).sum(dim=0), of_input, decay)
    of_a = of_exponent * dt.unsqueeze(-1) - of_input * input_weight
    of_dt, _ = torch.view_as_real((of_exponent * a).sum(dim=-1)).unbind(dim=-1)
    return of_c.conj_physical_(), of_a.conj_physical_(), of_dt


def _moments(values: Tensor, fine: Tensor, coarse: Tensor, *, first: bool) -> tuple[Tensor, Tensor | None]:
    """Σ_l v_l exp(l z) and, when asked, Σ_l l v_l exp(l z), both (direction, channel, state) complex.

    With l = iB + j: P_i = Σ_j v_ij exp(j z) and Q_i = Σ_j v_ij j exp(j z) are one real matrix product; then
    Σ_i exp(iB z) P_i and Σ_i exp(iB z)(iB P_i + Q_i).
    """
    directions, channels, length = values.shape
    states = fine.shape[-2]
    block, blocks = _split(length)
    parts = fine.unsqueeze(1)
    if first:
        parts = torch.stack((fine, fine * torch.arange(block, device=values.device, dtype=values.dtype)), dim=1)
    count = parts.shape[1]
    columns = torch.view_as_real(parts).permute(0, 3, 1, 2, 4).reshape(channels, block, count * states * 2)
    rows = torch.nn.functional.pad(values, (0, blocks * block - length)).transpose(0, 1)
    rows = rows.reshape(channels, directions * blocks, block)
    sums = torch.view_as_complex(torch.bmm(rows, columns).view(channels, directions, blocks, count, states, 2))
    # (channel, direction, block, part, state) and (channel, 1, block, 1, state)
    sums = sums * coarse.transpose(1, 2)[:, None, :, None]
    if not first:
        return sums.sum(dim=(2, 3)).transpose(0, 1), None
    zeroth, within = sums.unbind(dim=3)
    starts = torch.arange(0, blocks * block, block, device=values.device, dtype=values.dtype).unsqueeze(-1)
    first_moments = torch.addcmul(within, zeroth, starts).sum(dim=2)
    return zeroth.sum(dim=2).transpose(0, 1), first_moments.transpose(0, 1)
