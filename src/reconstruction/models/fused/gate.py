"""The gated sum of a residual block, values + a · sigmoid(b), in one kernel, its gradient in another."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from reconstruction.models.fused.tensors import fusible

_BLOCK = 1024


def add_gated(values: Tensor, mixed: Tensor) -> Tensor:
    """Return values (batch, channel, position) + the gated linear unit of mixed (batch, 2 channel, position).

    In float32 inside; only for tensors that are `fusible`.
    """
    return _GatedSum.apply(values, mixed)


class _GatedSum(Function):
    """The kernels, which are of the first order and know no transform; torch's own operations for all else."""

    @staticmethod
    def forward(values: Tensor, mixed: Tensor) -> Tensor:
        """Both halves of `mixed` have the shape of the values."""
        from reconstruction.models.fused.triton_kernels import add_gated_halves

        values, mixed = values.contiguous(), mixed.contiguous()
        result = torch.empty_like(values, dtype=torch.promote_types(values.dtype, mixed.dtype))
        records, *sizes = _sizes(values)
        with torch.cuda.device_of(values):
            add_gated_halves[(records * sizes[1],)](values, mixed, result, *sizes, BLOCK=_BLOCK)
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Keep what is gated alone: the values' gradient is the one that arrives."""
        values, mixed = inputs
        ctx.values_dtype = values.dtype
        ctx.save_for_backward(mixed)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """With s = sigmoid(b): da = g s, db = g a s (1 − s)."""
        (mixed,) = ctx.saved_tensors
        of_values = gradient.to(ctx.values_dtype)
        if torch.is_grad_enabled() or not fusible(mixed, gradient):
            pull_back = torch.func.vjp(lambda mixed: nn.functional.glu(mixed, dim=1), mixed)[1]
            return of_values, pull_back(gradient.to(mixed.dtype))[0]
        return of_values, _gradient(gradient.contiguous(), mixed.contiguous())


def _gradient(gradient: Tensor, mixed: Tensor) -> Tensor:
    from reconstruction.models.fused.triton_kernels import gate_gradient

    result = torch.empty_like(mixed)
    records, *sizes = _sizes(gradient)
    with torch.cuda.device_of(mixed):
        gate_gradient[(records * sizes[1],)](gradient, mixed, result, *sizes, BLOCK=_BLOCK)
    return result


def _sizes(values: Tensor) -> tuple[int, int, int]:
    """Return the number of records, the numbers of each and the blocks of each."""
    size = values[0].numel()
    return values.shape[0], size, -(-size // _BLOCK)
