"""Importance sampling: points that a proposal draws, weighed by the exact posterior over the proposal's density."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cres.estimation.placement import on_host
from cres.estimation.weighing.exact import ExactPosterior, Points
from cres.evaluation.weighted import VALUES, WeightedSamples
from reconstruction.shapes import ComplexSeries, EventIds

Proposed = tuple[Points, Float[Tensor, "batch point"]]
Proposal = Callable[[ComplexSeries, EventIds], Proposed]
"""Draws points of each record (energy, pitch angle, radius) and states ln of the density that they are drawn from."""


@torch.no_grad()
def weighed(exact: ExactPosterior, proposal: Proposal, data: ComplexSeries, event_id: EventIds) -> WeightedSamples:
    """Return weighted samples of the posterior of each record, whatever the proposal got wrong.

    ln w = ln (prior × likelihood) − ln q; a point that is not finite, or where the proposal's density is none, gets no
    weight.
    """
    points, log_density = proposal(data, event_id)
    points, log_density = points.double(), log_density.double()
    usable = points.isfinite().all(-1) & log_density.isfinite()
    points = torch.where(usable[..., None], points, _middle(exact).to(points))
    log_weight = exact.log_density(data, points) - log_density
    log_weight = torch.where(usable & ~log_weight.isnan(), log_weight, -torch.inf)
    values = {name: on_host(points[..., i]) for i, name in enumerate(VALUES)}
    return WeightedSamples(np.asarray(on_host(event_id), np.int64), values, on_host(log_weight))


def joined_samples(parts: list[WeightedSamples]) -> WeightedSamples:
    """Return the samples of consecutive blocks as one."""
    return WeightedSamples(
        np.concatenate([part.event_id for part in parts]),
        {name: np.concatenate([part.values[name] for part in parts]) for name in VALUES},
        np.concatenate([part.log_weight for part in parts]),
    )


def _middle(exact: ExactPosterior) -> Float[Tensor, "3"]:
    apparatus = exact.apparatus
    angle = sum(apparatus.pitch_angles_deg) / 2
    return torch.tensor([apparatus.middle_energy_ev, angle, apparatus.largest_radius_m / 2], dtype=torch.float64)
