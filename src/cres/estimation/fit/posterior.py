"""The whole posterior of a fit: its own optimum, and the others that the templates know, as a mixture of Gaussians.

An ambiguous electron's truth lies at this sideband spacing or at that one, and a single Gaussian that spans both puts
most of its probability between them, where nothing is.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reconstruction.levels import CENTRAL_68
from reconstruction.shapes import PerRow

OTHERS = 12
"""Gaussians for what is not the fitted optimum. They hold equal shares, so that they are narrow where much lies."""

Weights = Float[Tensor, "batch component"]
Means = Float[Tensor, "batch component 2"]
Covariances = Float[Tensor, "batch component 2 2"]


def credible_half_width(
    values: Float[Tensor, "batch position"], weights: Float[Tensor, "batch position"], centre: PerRow
) -> PerRow:
    """Return the half-width of the interval around `centre` that holds 68.27 % of the weights."""
    distance, order = (values - centre[:, None]).abs().sort(1)
    reached = weights.gather(1, order).cumsum(1) >= CENTRAL_68
    return distance.gather(1, reached.to(torch.int8).argmax(1, keepdim=True))[:, 0]


def other_optima(
    weights: Float[Tensor, "batch position"],
    fitted: Bool[Tensor, "batch position"],
    energy_ev: Float[Tensor, "batch position"],
    pitch_angle_deg: Float[Tensor, "batch position"],
    components: int = OTHERS,
) -> tuple[Weights, Means, Covariances]:
    """Return weights, means and covariances of (energy, pitch angle) of the templates that are not the fitted optimum.

    weights: of the templates, with sum 1, neighbours beside each other; `fitted` tells those of the optimum, which are
    left out. The others, in the order of their energies (at one carrier that of the pitch angles, too), are cut into
    pieces of equal weight. A piece without templates has weight 0.
    """
    points = torch.stack([energy_ev, pitch_angle_deg], -1)
    order = energy_ev.argsort(1)
    share = (weights * ~fitted).gather(1, order)
    total = share.sum(1, keepdim=True).clamp_min(1e-300)
    # the middle of each template's share says in which piece it is
    piece = ((share.cumsum(1) - share / 2) / total * components).long().clamp(0, components - 1)

    def gathered(values: Tensor) -> Weights:
        return torch.zeros_like(share[:, :1].expand(-1, components)).scatter_add(1, piece, share * values)

    weight = gathered(torch.ones_like(share))
    known = weight.clamp_min(1e-300)
    points, step = (v.gather(1, order[..., None].expand_as(v)) for v in (points, _steps(points)))
    mean = torch.stack([gathered(points[..., i]) for i in range(2)], -1) / known[..., None]
    # about the piece's own mean, for the energies are large numbers; a template stands for the half way to the next
    apart = points - mean.gather(1, piece[..., None].expand_as(points))
    products = [apart[..., i] * apart[..., j] + step[..., i] * step[..., j] / 12 for i in range(2) for j in range(2)]
    covariance = torch.stack([gathered(values) for values in products], -1).unflatten(-1, (2, 2))
    return weight, mean, covariance / known[..., None, None]


def _steps(points: Float[Tensor, "batch position 2"]) -> Float[Tensor, "batch position 2"]:
    """Return how far it is from each point to the nearer of its neighbours: the other may be of another carrier."""
    apart = points.diff(dim=1)
    before, after = torch.cat([apart[:, :1], apart], 1), torch.cat([apart, apart[:, -1:]], 1)
    return torch.where((before[..., :1].abs() < after[..., :1].abs()), before, after)


def with_fit(
    fit: Float[Tensor, "batch 2"],
    covariance: Float[Tensor, "batch 2 2"],
    share: PerRow,
    others: tuple[Weights, Means, Covariances],
) -> tuple[Float[Tensor, "batch all"], Float[Tensor, "batch all 2"], Float[Tensor, "batch all 2 2"]]:
    """Return the mixture whose first component is the fit, with its share; the others' widths include its own error.

    The others lie on the line of energies and pitch angles that explain the carrier. How well that is known is what the
    fit knows of the energy at a given pitch angle.
    """
    weight, mean, spread = others
    across = covariance[:, 0, 0] - covariance[:, 0, 1].square() / covariance[:, 1, 1]
    spread = spread.clone()
    spread[..., 0, 0] += across.clamp_min(0)[:, None]
    rest = (1 - share)[:, None] * weight / weight.sum(1, keepdim=True).clamp_min(1e-300)
    # a piece that holds nothing is put where the fit is
    empty = (rest <= 0)[..., None]
    mean = torch.where(empty, fit[:, None], mean)
    spread = torch.where(empty[..., None], covariance[:, None], spread)
    every = torch.cat([share[:, None], rest], 1)
    return (
        every / every.sum(1, keepdim=True),
        torch.cat([fit[:, None], mean], 1),
        torch.cat([covariance[:, None], spread], 1),
    )


def cholesky_factors(covariance: Float[Tensor, "*rows 2 2"]) -> Float[Tensor, "*rows 2 2"]:
    """Return the lower Cholesky factors; of a covariance without an inverse, those of one that has it just so.

    A curvature need not be one of a minimum, and a piece of one template is a line.
    """
    first = covariance[..., 0, 0].clamp_min(1e-300).sqrt()
    below = covariance[..., 1, 0] / first
    rest = torch.maximum(covariance[..., 1, 1] - below.square(), 1e-12 * covariance[..., 1, 1].abs()).sqrt()
    return torch.stack([torch.stack([first, torch.zeros_like(first)], -1), torch.stack([below, rest], -1)], -2)
