"""Mixtures of Gaussians: several modes and heavy tails."""

from __future__ import annotations

import math
from collections.abc import Sequence as Many
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from reconstruction.levels import ENDS_68, ENDS_95
from reconstruction.models.predictive.distributions import PredictiveDistribution
from reconstruction.models.predictive.gaussian_algebra import LOG_2PI, mean_distance, outer, solve, solve_transposed
from reconstruction.shapes import Covariance, Float, PerRow, Targets

_REACH = 6
_BEYOND = 6
"""The outermost points of a component stand so many times further out: what no level is below or above."""
_STEPS_A_STD = 8
"""Between neighbours of the points ± 6 σ around every component nothing bends by more than an eighth of its σ …"""
_NEWTON_STEPS = 2
"""… so that Newton's steps from the chord between them double the digits: from 2e-3 to 1e-5 and 1e-10 of σ."""
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class GaussianMixture(PredictiveDistribution):
    """Mixture of multivariate normals: log weights (b, k), means (b, k, t), Cholesky factors (b, k, t, t)."""

    log_weights: Float[Tensor, "batch component"]
    locations: Float[Tensor, "batch component target"]
    choleskys: Float[Tensor, "batch component target target"]

    @property
    def shape(self) -> torch.Size:
        """(batch, target)."""
        return self.locations.shape[::2]

    @property
    def mean(self) -> Targets:
        """Weighted mean of the components."""
        return (self._weights.unsqueeze(-1) * self.locations).sum(dim=1)

    @property
    def std(self) -> Targets:
        """Standard deviation: spread inside and between components."""
        return torch.sqrt(torch.diagonal(self.covariance, dim1=-2, dim2=-1))

    @property
    def covariance(self) -> Covariance:
        """Mean covariance of the components plus the covariance of their means."""
        offsets = self.locations - self.mean.unsqueeze(1)
        between = offsets.unsqueeze(-1) * offsets.unsqueeze(-2)
        return (self._weights[..., None, None] * (outer(self.choleskys) + between)).sum(dim=1)

    @property
    def _weights(self) -> Tensor:
        return self.log_weights.exp().to(self.locations.dtype)

    def log_prob(self, value: Targets) -> PerRow:
        """Logarithm of the joint density at `value`."""
        joint: Tensor = _LogDensity.apply(self.log_weights, self.locations, self.choleskys, self.check(value))[0]
        return joint

    def marginal_log_prob(self, value: Targets) -> Targets:
        """Logarithm of each target's own density at `value`."""
        std = torch.linalg.vector_norm(self.choleskys, dim=-1)
        pulls = (self.check(value).unsqueeze(1) - self.locations) / std
        terms = -0.5 * (pulls.square() + LOG_2PI) - torch.log(std)
        return torch.logsumexp(self.log_weights.unsqueeze(-1) + terms, dim=1)

    def crps(self, value: Targets) -> Targets:
        """E|X − y| − ½ E|X − X'| with closed forms for each pair of components (Grimit et al. 2006, QJRMS 132)."""
        std = torch.linalg.vector_norm(self.choleskys, dim=-1)
        to_value = mean_distance(self.check(value).unsqueeze(1) - self.locations, std)
        between = mean_distance(
            self.locations.unsqueeze(1) - self.locations.unsqueeze(2),
            torch.sqrt(std.square().unsqueeze(1) + std.square().unsqueeze(2)),
        )
        weights = self._weights
        pairs = weights[:, :, None, None] * weights[:, None, :, None]
        return (weights.unsqueeze(-1) * to_value).sum(dim=1) - 0.5 * (pairs * between).sum(dim=(1, 2))

    def sample(self, count: int) -> Float[Tensor, "count batch target"]:
        """Draw `count` values for each row."""
        chosen = torch.multinomial(self.log_weights.exp(), count, replacement=True)
        rows = torch.arange(chosen.shape[0], device=chosen.device).unsqueeze(1)
        draws = torch.randn(*chosen.shape, self.locations.shape[-1], dtype=self.locations.dtype, device=chosen.device)
        values = self.locations[rows, chosen] + torch.einsum("bcij,bcj->bci", self.choleskys[rows, chosen], draws)
        return values.transpose(0, 1)

    def affine(self, scale: Tensor, shift: Tensor) -> GaussianMixture:
        """Scale and shift every component."""
        scale, shift = (part if part.ndim == 1 else part.unsqueeze(1) for part in (scale, shift))
        return GaussianMixture(self.log_weights, self.locations * scale + shift, self.choleskys * scale.unsqueeze(-1))

    def temper(self, temperature: Tensor) -> GaussianMixture:
        """Multiply the standard deviations of the components, each about its own mean: no mode moves."""
        each = temperature if temperature.ndim < 2 else temperature.unsqueeze(1)
        factor = each.expand_as(self.locations).unsqueeze(-1)
        return GaussianMixture(self.log_weights, self.locations, self.choleskys * factor)

    @property
    def estimate(self) -> Targets:
        """Median of each target."""
        return self._usual_quantiles[0.5]

    @property
    def error_bar(self) -> Targets:
        """Half the central 68.27 % of each target."""
        lower, upper = (self._usual_quantiles[level] for level in ENDS_68)
        return 0.5 * (upper - lower)

    def quantile(self, level: float) -> Targets:
        """Quantile of each target's marginal; levels below 1e-9 or as near to 1 are held at 6 σ of a component."""
        usual = self._usual_quantiles
        return usual[level] if level in usual else self._quantiles((level,)).squeeze(1)

    @cached_property
    def _usual_quantiles(self) -> dict[float, Targets]:
        """What tables report of every row, solved for at once."""
        levels = (0.5, *ENDS_68, *ENDS_95)
        return dict(zip(levels, self._quantiles(levels).unbind(dim=1), strict=True))

    def _quantiles(self, levels: Many[float]) -> Float[Tensor, "batch level target"]:
        std = torch.linalg.vector_norm(self.choleskys, dim=-1)
        parts = (self._weights.unsqueeze(-1), self.locations, std)
        # filled one by one: a list would be copied from the host, which waits for the device
        wanted = torch.stack([std.new_full((1,), level) for level in levels])
        if torch.compiler.is_compiling() or len(std) <= _ROWS_AT_ONCE:
            return _quantiles(*parts, wanted)
        pieces = zip(*(part.split(_ROWS_AT_ONCE) for part in parts), strict=True)
        return torch.cat([_quantiles(weights, means, widths, wanted) for weights, means, widths in pieces])


class _LogDensity(Function):
    """log Σ_k w_k N(x; μ_k, L_k L_kᵀ) with its gradient written out, a third of autograd's steps.

    With r_k the share of component k, z = L⁻¹(x − μ) and y = L⁻ᵀ z: ∂/∂log w = r, ∂/∂μ = r y, ∂/∂x = −Σ r y, and
    ∂/∂L = r (y zᵀ − diag 1/L), of which the lower triangle counts.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        log_weights: Tensor, locations: Tensor, choleskys: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the log density (batch,), the components' own with their weights (batch, component), and z."""
        pulls = solve(choleskys, value.unsqueeze(1) - locations)
        diagonal = torch.diagonal(choleskys, dim1=-2, dim2=-1)
        terms = torch.addcmul(torch.log(diagonal), pulls, pulls, value=0.5)
        each = log_weights - terms.sum(dim=-1) - 0.5 * LOG_2PI * pulls.shape[-1]
        return torch.logsumexp(each, dim=-1), each, pulls

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        """Keep what the shares need."""
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(inputs[2], *output)
        ctx.precisions = [part.dtype for part in inputs]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, *others: None) -> tuple[Tensor | None, ...]:
        """Return the gradients of log weights, means, factors and value."""
        if gradient is None:
            return None, None, None, None
        choleskys, joint, each, pulls = ctx.saved_tensors
        share = torch.exp(each - joint.unsqueeze(-1)) * gradient.unsqueeze(-1)
        shares = share.unsqueeze(-1)
        of_locations = shares * solve_transposed(choleskys, pulls)
        diagonal = torch.diagonal(choleskys, dim1=-2, dim2=-1)
        of_choleskys = of_locations.unsqueeze(-1) * pulls.unsqueeze(-2) - torch.diag_embed(shares / diagonal)
        of_value = -of_locations.sum(dim=1) if ctx.needs_input_grad[3] else None
        gradients = (share, of_locations, of_choleskys.tril(), of_value)
        return tuple(
            None if part is None else part.to(kind) for part, kind in zip(gradients, ctx.precisions, strict=True)
        )


def _quantiles(weights: Tensor, means: Tensor, std: Tensor, levels: Tensor) -> Tensor:
    """Quantiles (batch, level, target) of marginal mixtures: bracketed between fixed points, then Newton's method.

    weights (batch, component, 1), means and std (batch, component, target), levels (level, 1). The points lie around
    every component, in steps of its own σ, so that it does not matter how different the components' widths are.
    """
    steps = torch.linspace(-_REACH, _REACH, 2 * _REACH * _STEPS_A_STD + 1, dtype=std.dtype, device=std.device)
    steps[:: len(steps) - 1].mul_(_BEYOND)
    centres, widths, weights = means.unsqueeze(1), std.unsqueeze(1), weights.unsqueeze(1)
    points = torch.addcmul(centres, widths, steps.view(-1, 1, 1)).flatten(1, 2).sort(dim=1).values
    pulls = (points.unsqueeze(2) - centres) / widths
    below = (weights * torch.special.ndtr(pulls)).sum(dim=2)
    # the two points that a level lies between: (batch, low or high of each level, target)
    after = (below.unsqueeze(1) < levels.unsqueeze(-1)).sum(dim=2).clamp(1, below.shape[1] - 1)
    around = torch.cat((after - 1, after), dim=1)
    low, high = points.gather(1, around).tensor_split(2, dim=1)
    low_share, high_share = below.gather(1, around).tensor_split(2, dim=1)
    tiny = torch.finfo(std.dtype).tiny
    share = (levels - low_share) / (high_share - low_share).clamp(min=tiny)
    at = torch.lerp(low, high, share)
    heights = torch.log(weights / (widths * math.sqrt(2 * math.pi)))
    for _ in range(_NEWTON_STEPS):
        pulls = (at.unsqueeze(2) - centres) / widths
        excess = (weights * torch.special.ndtr(pulls)).sum(dim=2) - levels
        density = torch.exp(torch.addcmul(heights, pulls, pulls, value=-0.5)).sum(dim=2)
        at = torch.clamp(torch.addcdiv(at, excess, density.clamp(min=tiny), value=-1), low, high)
    return at
