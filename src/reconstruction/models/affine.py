"""An affine layer whose backward pass is no more than its two matrix products and the sum of the bias."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function


class Affine(nn.Linear):
    """`nn.Linear`; where gradients are wanted, in four steps: autograd takes nine, five of them transposed views.

    Under autocast and in a compiler it is torch's own, which knows what to do there.
    """

    def forward(self, values: Tensor) -> Tensor:
        """Return W x + b of values (…, in_features)."""
        elsewhere = torch.compiler.is_compiling() or torch.is_autocast_enabled(values.device.type)
        if elsewhere or not torch.is_grad_enabled():
            return super().forward(values)
        result: Tensor = _Affine.apply(values, self.weight, self.bias)
        return result


class _Affine(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return nn.functional.linear(values, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
        values, weight, _ = inputs
        ctx.save_for_backward(values, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        values, weight = ctx.saved_tensors
        of_values, of_weight, of_bias = ctx.needs_input_grad
        rows, read = (part if part.ndim == 2 else part.reshape(-1, part.shape[-1]) for part in (gradient, values))
        back = rows.mm(weight) if of_values else None
        return (
            back if back is None or values.ndim == 2 else back.view(values.shape),
            rows.t().mm(read) if of_weight else None,
            rows.sum(dim=0) if of_bias else None,
        )
