"""Layer normalisation over the channels of channel-first features in one kernel, its gradient in another.

Torch's own kernel wants the channels last, which takes two transposing copies, and is slow for rows of few channels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from reconstruction.models.fused.tensors import fusible

LARGEST_WIDTH = 256
"""Channels of a program's block, all of which lie in its registers."""
_LENGTH, _NARROWEST = 64, 32
"""Positions of a block, and of one of many channels: a GPU reads 128 bytes at a time."""
_BLOCK = 8192
"""Numbers of a block, unless it would be too narrow."""
_PER_THREAD = 32
"""Numbers of a block that a thread works on. Of what was tried on an H200 for 48 and for 128 channels, the fastest."""


def fused_norm(values: Tensor, weight: Tensor, bias: Tensor, epsilon: float, *, channels_last: bool = False) -> Tensor:
    """Normalise (batch, channel, position) with any strides; the result's dtype is that of the weight (channel,).

    With `channels_last` the result's channels lie side by side in memory, and `result.mT` is contiguous.
    Only for tensors that are `fusible`, and up to LARGEST_WIDTH channels.
    """
    return _FusedNorm.apply(values, weight, bias, epsilon, channels_last)


class _FusedNorm(Function):
    """The kernels, which are of the first order and know no transform; torch's own operations for all else."""

    @staticmethod
    def forward(values: Tensor, weight: Tensor, bias: Tensor, epsilon: float, channels_last: bool) -> Tensor:
        """Values (batch, channel, position), weight and bias (channel,)."""
        return normalised(values, weight, bias, epsilon, channels_last)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, float, bool], output: Tensor) -> None:
        """Keep the input; mean and deviation are found again."""
        values, weight, bias, ctx.epsilon, _ = inputs
        ctx.save_for_backward(values, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """With x̂ the normalised values and h = g · weight: dx = (h − mean(h) − x̂ mean(h x̂)) / std."""
        values, weight, bias = ctx.saved_tensors
        if torch.is_grad_enabled() or not fusible(values, weight, gradient):

            def plain(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
                vectors = values.to(weight.dtype).mT
                return nn.functional.layer_norm(vectors, vectors.shape[-1:], weight, bias, ctx.epsilon).mT

            return *torch.func.vjp(plain, values, weight, bias)[1](gradient), None, None
        return *gradients(values, weight, gradient, ctx.epsilon), None, None


def normalised(values: Tensor, weight: Tensor, bias: Tensor, epsilon: float, channels_last: bool = False) -> Tensor:
    """Start the kernel: the result alone, which no gradient follows."""
    from reconstruction.models.fused.triton_kernels import normalise

    batch, channels, positions = values.shape
    values = _along_positions(values)
    strides = (channels * positions, *((1, channels) if channels_last else (positions, 1)))
    result = torch.empty_strided(values.shape, strides, dtype=weight.dtype, device=values.device)
    block = _block(channels, positions)
    blocks = -(-positions // block["POSITIONS"])
    sizes = (channels, positions, blocks, epsilon)
    with torch.cuda.device_of(values):
        normalise[(batch * blocks,)](
            values, weight.contiguous(), bias.contiguous(), result, *sizes, *values.stride(), *result.stride(), **block
        )
    return result


def gradients(values: Tensor, weight: Tensor, gradient: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Start the kernel of the gradient: that of the values, of weight and of bias; blocks are summed in their order."""
    from reconstruction.models.fused.triton_kernels import normalise_gradient

    batch, channels, positions = values.shape
    values, gradient = _along_positions(values), _along_positions(gradient)
    block = _block(channels, positions)
    blocks = -(-positions // block["POSITIONS"])
    result = torch.empty_like(values)
    of_parameters = values.new_empty(2, batch * blocks, channels, dtype=torch.float32)
    strides = (*values.stride(), *gradient.stride(), *result.stride())
    sizes = (channels, positions, blocks, epsilon)
    with torch.cuda.device_of(values):
        normalise_gradient[(batch * blocks,)](
            values, weight.contiguous(), gradient, result, of_parameters, *sizes, *strides, **block
        )
    of_weight, of_bias = of_parameters.sum(dim=1).to(weight.dtype).unbind()
    return result, of_weight, of_bias


def _along_positions(values: Tensor) -> Tensor:
    """A gradient that is read across takes ten times as long as a copy and the kernel together, on an H200."""
    return values if values.stride(-1) == 1 else values.contiguous()


def _block(channels: int, positions: int) -> dict[str, int]:
    """Return the edges of a program's block, and how many warps (of 32 threads) share it."""
    width = _power_of_two(channels)
    length = max(_NARROWEST, min(_LENGTH, _BLOCK // width, _power_of_two(positions)))
    warps = min(16, max(1, width * length // (32 * _PER_THREAD)))
    return {"CHANNELS": width, "POSITIONS": length, "num_warps": warps}


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()
