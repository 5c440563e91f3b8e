"""Layer normalisation over the channels of channel-first features, in pieces that stay in a core's cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from reconstruction.models.fused.norm import LARGEST_WIDTH, fused_norm
from reconstruction.models.fused.tensors import fusible
from reconstruction.models.precision import in_precision
from reconstruction.shapes import Float

_CACHE_BYTES = 1 << 19
"""Size of one piece on a CPU."""
_FEW_POSITIONS = 1024
"""Up to so many, a CPU transposes without missing its cache at every number."""


class ChannelNorm(nn.Module):
    """Layer normalisation of (batch, channel, position) over the channels, position by position.

    A GPU has kernels of its own for it. Short series, and other accelerators, use torch's, whose channels are last; its
    transpositions of long series cost a CPU twice as much as the whole norm in pieces. A compiler fuses the plain form
    with its neighbours.
    """

    def __init__(self, channels: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.epsilon = epsilon

    def forward(self, values: Float[Tensor, "batch channel position"]) -> Float[Tensor, "batch channel position"]:
        """Normalise to mean 0 and variance 1, then scale and shift; in float32 or better."""
        if self._fusible(values):
            return fused_norm(values, self.weight, self.bias, self.epsilon)
        with torch.autocast(values.device.type, enabled=False):
            values = in_precision(values, self.weight.dtype)
            if torch.compiler.is_compiling():
                return _plain(values, self.weight, self.bias, self.epsilon)
            if values.device.type == "cpu" and values.shape[-1] > _FEW_POSITIONS:
                return _ChannelNorm.apply(values, self.weight, self.bias, self.epsilon)
            return self._of_vectors(values.mT).mT

    def positions_first(
        self, values: Float[Tensor, "batch channel position"]
    ) -> Float[Tensor, "batch position channel"]:
        """Return the same with the channels last, as poolings want them."""
        if self._fusible(values):
            return fused_norm(values, self.weight, self.bias, self.epsilon, channels_last=True).mT
        if torch.compiler.is_compiling() or (values.device.type == "cpu" and values.shape[-1] > _FEW_POSITIONS):
            return self(values).mT
        with torch.autocast(values.device.type, enabled=False):
            return self._of_vectors(in_precision(values, self.weight.dtype).mT)

    def _fusible(self, values: Tensor) -> bool:
        return fusible(values, self.weight, self.bias) and values.shape[1] <= LARGEST_WIDTH

    def _of_vectors(self, values: Tensor) -> Tensor:
        return nn.functional.layer_norm(values, values.shape[-1:], self.weight, self.bias, self.epsilon)


def _plain(values: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    centred = values - values.mean(dim=1, keepdim=True)
    inverse_std = torch.rsqrt(centred.square().mean(dim=1, keepdim=True) + epsilon)
    return torch.addcmul(bias.unsqueeze(-1), centred * inverse_std, weight.unsqueeze(-1))


class _ChannelNorm(Function):
    """The plain form and its gradient, position block by position block."""

    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
        """Values (batch, channel, position), weight and bias (channel,)."""
        result = torch.empty_like(values)
        for block in _blocks(values):
            result[..., block] = _plain(values[..., block], weight, bias, epsilon)
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, float], output: Tensor) -> None:
        """Keep the input; mean and deviation are found again, block by block."""
        values, weight, _, ctx.epsilon = inputs
        ctx.save_for_backward(values, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """With x̂ the normalised values and h = g · weight: dx = (h − mean(h) − x̂ mean(h x̂)) / std."""
        values, weight = ctx.saved_tensors
        values_gradient = torch.empty_like(values)
        weight_gradient, bias_gradient = torch.zeros_like(weight), torch.zeros_like(weight)
        for block in _blocks(values):
            arrived = gradient[..., block]
            normed = values[..., block] - values[..., block].mean(dim=1, keepdim=True)
            inverse_std = torch.rsqrt(normed.square().mean(dim=1, keepdim=True) + ctx.epsilon)
            normed *= inverse_std
            weight_gradient += (arrived * normed).sum(dim=(0, 2))
            bias_gradient += arrived.sum(dim=(0, 2))
            scaled = arrived * weight.unsqueeze(-1)
            along = (scaled * normed).mean(dim=1, keepdim=True)
            scaled -= scaled.mean(dim=1, keepdim=True)
            values_gradient[..., block] = scaled.sub_(normed.mul_(along)).mul_(inverse_std)
        return values_gradient, weight_gradient, bias_gradient, None


def _blocks(values: Tensor) -> Iterator[slice]:
    batch, channels, positions = values.shape
    step = max(64, _CACHE_BYTES // (batch * channels * values.element_size()))
    for start in range(0, positions, step):
        yield slice(start, start + step)
