"""What the members of an ensemble state, as one distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence as Many

import torch

from reconstruction.errors import UserError
from reconstruction.models.predictive.categorical import Categorical
from reconstruction.models.predictive.distributions import Gaussian, Point, PredictiveDistribution
from reconstruction.models.predictive.draws import DrawnDistribution, mixed
from reconstruction.models.predictive.flow import Flow
from reconstruction.models.predictive.mixture import GaussianMixture
from reconstruction.models.predictive.quantiles import Quantiles


def combine(members: Many[PredictiveDistribution]) -> PredictiveDistribution:
    """One distribution for an ensemble: the equal mixture of Gaussians, mixtures, classes, draws; else the mean of all.

    Raises UserError when the members are of different kinds.
    """
    first = members[0]
    if any(type(member) is not type(first) for member in members):
        raise UserError("an ensemble needs members with the same head: train all of them with one head")
    if isinstance(first, Point):
        return Point(torch.stack([member.mean for member in members]).mean(dim=0))
    if isinstance(first, Categorical):
        stated = [member.log_probs for member in members if isinstance(member, Categorical)]
        return Categorical(first.codes, torch.stack(stated).logsumexp(dim=0) - math.log(len(stated)))
    if isinstance(first, Flow | DrawnDistribution):
        return mixed([member.drawn if isinstance(member, Flow) else member for member in members])  # type: ignore[misc]
    if isinstance(first, Quantiles):
        values = [member.values for member in members if isinstance(member, Quantiles)]
        return Quantiles(first.levels, torch.stack(values).mean(dim=0))
    mixtures = [_as_mixture(member) for member in members]
    return GaussianMixture(
        torch.cat([mixture.log_weights for mixture in mixtures], dim=1) - math.log(len(mixtures)),
        torch.cat([mixture.locations for mixture in mixtures], dim=1),
        torch.cat([mixture.choleskys for mixture in mixtures], dim=1),
    )


def _as_mixture(member: PredictiveDistribution) -> GaussianMixture:
    if isinstance(member, GaussianMixture):
        return member
    if not isinstance(member, Gaussian):
        raise UserError(f"distributions of kind {type(member).__name__} cannot be combined")
    log_weights = torch.zeros_like(member.location[:, :1])
    return GaussianMixture(log_weights, member.location.unsqueeze(1), member.cholesky.unsqueeze(1))
