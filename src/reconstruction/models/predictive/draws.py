"""A distribution given by draws from it: what is left of a flow where the network that makes it does not go."""

from __future__ import annotations

from collections.abc import Sequence as Many
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from reconstruction.errors import UserError
from reconstruction.levels import ENDS_68
from reconstruction.models.predictive.distributions import PredictiveDistribution
from reconstruction.shapes import Covariance, Float, PerRow, Targets


@dataclass(frozen=True, eq=False)
class DrawnDistribution(PredictiveDistribution):
    """Equally likely draws of the targets together, (batch, draw, target).

    Quantiles are linear between the draws of a target in rising order, the i-th of n standing at (i + ½)/n.
    """

    values: Float[Tensor, "batch draw target"]

    @property
    def shape(self) -> torch.Size:
        """(batch, target)."""
        return self.values.shape[::2]

    @property
    def mean(self) -> Targets:
        """Mean of the draws."""
        return self.values.mean(dim=1)

    @property
    def std(self) -> Targets:
        """Standard deviation of the draws."""
        return torch.sqrt(torch.diagonal(self.covariance, dim1=-2, dim2=-1))

    @property
    def covariance(self) -> Covariance:
        """Covariance of the draws."""
        apart = self.values - self.mean.unsqueeze(1)
        return apart.transpose(1, 2) @ apart / self.values.shape[1]

    @cached_property
    def _rising(self) -> Float[Tensor, "batch draw target"]:
        return self.values.sort(dim=1).values

    def quantile(self, level: float) -> Targets:
        """Quantile of each target's marginal; the outermost draws hold beyond them."""
        count = self.values.shape[1]
        place = min(max(level * count - 0.5, 0.0), count - 1.0)
        below = min(int(place), max(count - 2, 0))
        above = min(below + 1, count - 1)
        return torch.lerp(self._rising[:, below], self._rising[:, above], place - below)

    def log_prob(self, value: Targets) -> PerRow:
        """Refuse with a UserError."""
        raise UserError("draws have no density: ask the flow that they are from, before it is calibrated or moved")

    def crps(self, value: Targets) -> Targets:
        """E|X − y| − ½ E|X − X'| over the draws, the second from their order (Gini's mean difference)."""
        count = self.values.shape[1]
        ranks = torch.arange(count, dtype=self.dtype, device=self.values.device).unsqueeze(-1)
        to_value = (self.values - self.check(value).unsqueeze(1)).abs().mean(dim=1)
        return to_value - (self._rising * (2 * ranks + 1 - count)).sum(dim=1) / count**2

    def sample(self, count: int) -> Float[Tensor, "count batch target"]:
        """Draw `count` of the draws for each row."""
        batch, held = self.values.shape[:2]
        chosen = torch.randint(held, (batch, count), device=self.values.device)
        return self.values[torch.arange(batch, device=chosen.device).unsqueeze(1), chosen].transpose(0, 1)

    def affine(self, scale: Tensor, shift: Tensor) -> DrawnDistribution:
        """Scale and shift every draw."""
        scale, shift = (part if part.ndim < 2 else part.unsqueeze(1) for part in (scale, shift))
        return DrawnDistribution(self.values * scale + shift)

    def temper(self, temperature: Tensor) -> DrawnDistribution:
        """Multiply the distances from the median, which is the estimate: it stays where it is."""
        factor = temperature.expand_as(self.values[:, 0])
        return self.affine(factor, self.estimate * (1 - factor))

    @property
    def estimate(self) -> Targets:
        """Median of each target."""
        return self.quantile(0.5)

    @property
    def error_bar(self) -> Targets:
        """Half the central 68.27 % of each target."""
        lower, upper = (self.quantile(level) for level in ENDS_68)
        return 0.5 * (upper - lower)


def mixed(members: Many[DrawnDistribution]) -> DrawnDistribution:
    """Return the equal mixture of several distributions; raises UserError where they have not as many draws each."""
    if len({member.values.shape[1] for member in members}) > 1:
        raise UserError("an ensemble of flows needs as many draws of each: set model.head's draws alike")
    return DrawnDistribution(torch.cat([member.values for member in members], dim=1))
