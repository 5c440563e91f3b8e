"""How a context vector changes features: scaled and shifted (FiLM), or through attention that it scales."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reconstruction.errors import UserError
from reconstruction.models.conditioning.context import By, ContextVector
from reconstruction.shapes import Float, Lengths

Positions = Float[Tensor, "batch position width"]

POINTS = 4
"""Points that read all positions, and that all positions read: the cost grows with the positions, not their square."""
_SMALL = 0.1
"""Of an ordinary first guess: an untrained modulation changes little."""


class FeatureModulation(nn.Module):
    """(1 + γ) x + β with γ and β linear in the context         Perez et al. 2018, arXiv:1709.07871, eq. 2"""

    def __init__(self, width: int, context_width: int) -> None:
        super().__init__()
        self.change = nn.Linear(context_width, 2 * width)
        _make_small(self.change)

    def forward(self, values: Positions, context: ContextVector, lengths: Lengths | None = None) -> Positions:
        """Return the changed features, each position alike."""
        scale, shift = self.change(context).to(values.dtype).unsqueeze(1).chunk(2, dim=-1)
        return torch.addcmul(values + shift, values, scale)


class AttentionModulation(nn.Module):
    """Features plus what attention adds, whose queries, keys and values the context scales.

    A few learned points attend to the positions, then the positions to the points (inducing points, Lee et al. 2019,
    arXiv:1810.00825, eq. 10), with one set of projections.
    """

    def __init__(self, width: int, context_width: int, points: int = POINTS) -> None:
        super().__init__()
        self.points = nn.Parameter(torch.randn(points, width) / width**0.5)
        self.project = nn.Linear(width, 3 * width)
        self.scales = nn.Linear(context_width, 3 * width)
        self.output = nn.Linear(width, width)
        _make_small(self.output)

    def forward(self, values: Positions, context: ContextVector, lengths: Lengths | None = None) -> Positions:
        """Return the changed features; positions beyond the record are not attended to."""
        scales = 1 + self.scales(context).to(values.dtype).unsqueeze(1)
        points = self.points.to(values.dtype).expand(len(values), -1, -1)
        valid = None
        if lengths is not None:  # a record without positions attends to its first one: a softmax over nothing is NaN
            positions = torch.arange(values.shape[1], device=values.device)
            valid = (positions < lengths.clamp(min=1).unsqueeze(1)).unsqueeze(1)
        read = self._attended(points, values, scales, valid)
        return values + self.output(self._attended(values, read, scales, None))

    def _attended(self, asking: Tensor, asked: Tensor, scales: Tensor, valid: Tensor | None) -> Tensor:
        query = (self.project(asking) * scales).chunk(3, dim=-1)[0]
        _, key, value = (self.project(asked) * scales).chunk(3, dim=-1)
        return nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=valid)


def make_modulation(by: By, width: int, context_width: int) -> nn.Module:
    """Return what modulates features of a width. Raises UserError for concatenation, which modulates no features."""
    kinds: dict[str, type[nn.Module]] = {"film": FeatureModulation, "attention": AttentionModulation}
    if by not in kinds:
        raise UserError(f"features are modulated by {' or '.join(kinds)}, not by {by!r}")
    return kinds[by](width, context_width)


@torch.no_grad()
def _make_small(layer: nn.Linear) -> None:
    layer.weight.mul_(_SMALL)
    layer.bias.mul_(_SMALL)
