"""A distribution given by the quantiles of each target."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reconstruction.errors import UserError
from reconstruction.levels import ENDS_68
from reconstruction.models.predictive.distributions import PredictiveDistribution
from reconstruction.shapes import Covariance, Float, PerRow, Targets


@dataclass(frozen=True, eq=False)
class Quantiles(PredictiveDistribution):
    """Marginal quantiles: levels (q,) rising in (0, 1), values (b, t, q) that do not fall with the level.

    Between levels the quantile function is linear; outside the outermost levels it is constant.
    """

    levels: Float[Tensor, "level"]
    values: Float[Tensor, "batch target level"]

    @property
    def shape(self) -> torch.Size:
        """(batch, target)."""
        return self.values.shape[:-1]

    @property
    def mean(self) -> Targets:
        """Integral of the quantile function."""
        return (self.values * self._level_weights).sum(dim=-1)

    @property
    def std(self) -> Targets:
        """Half the central 68.27 %, interpolated between the levels (a Gaussian's standard deviation)."""
        lower, upper = (self.quantile(level) for level in ENDS_68)
        return 0.5 * (upper - lower)

    @property
    def covariance(self) -> Covariance:
        """Diagonal: marginal quantiles say nothing about correlations."""
        return torch.diag_embed(self.std.square())

    @property
    def _level_weights(self) -> Tensor:
        edges = torch.cat(
            (self.levels.new_zeros(1), 0.5 * (self.levels[1:] + self.levels[:-1]), self.levels.new_ones(1))
        )
        return edges.diff()

    def quantile(self, level: float) -> Targets:
        """Quantile at one level, linear between those known."""
        # indices stay tensors: an exported program cannot look into its buffers
        position = torch.searchsorted(self.levels, torch.full_like(self.levels[:1], level))
        upper = position.clamp(1, len(self.levels) - 1)
        low, high = self.levels[upper - 1], self.levels[upper]
        share = ((level - low) / (high - low)).clamp(0, 1)
        below, above = self.values.index_select(-1, upper - 1), self.values.index_select(-1, upper)
        return (below + share * (above - below)).squeeze(-1)

    def log_prob(self, value: Targets) -> PerRow:
        """Refuse with a UserError."""
        raise UserError("a quantile head has no likelihood: use the Pinball or CRPS loss, or a Gaussian head")

    def pinball(self, value: Targets) -> Targets:
        """Mean over the levels of max(τ e, (τ − 1) e), e = value − quantile."""
        errors = self.check(value).unsqueeze(-1) - self.values
        return torch.maximum(self.levels * errors, (self.levels - 1) * errors).mean(dim=-1)

    def crps(self, value: Targets) -> Targets:
        """Twice the integral of the pinball loss over the level."""
        errors = self.check(value).unsqueeze(-1) - self.values
        losses = torch.maximum(self.levels * errors, (self.levels - 1) * errors)
        return 2 * (losses * self._level_weights).sum(dim=-1)

    def sample(self, count: int) -> Float[Tensor, "count batch target"]:
        """Draw `count` values for each row from the interpolated quantile function, targets independent."""
        uniform = torch.rand(count, *self.values.shape[:2], dtype=self.values.dtype, device=self.values.device)
        upper = torch.searchsorted(self.levels, uniform).clamp(1, len(self.levels) - 1)
        low, high = self.levels[upper - 1], self.levels[upper]
        share = ((uniform - low) / (high - low)).clamp(0, 1)
        values = self.values.expand(count, *self.values.shape)
        below = values.gather(-1, (upper - 1).unsqueeze(-1)).squeeze(-1)
        above = values.gather(-1, upper.unsqueeze(-1)).squeeze(-1)
        return below + share * (above - below)

    def affine(self, scale: Tensor, shift: Tensor) -> Quantiles:
        """Scale and shift every quantile."""
        values = self.values * scale.unsqueeze(-1) + shift.unsqueeze(-1)
        return Quantiles(self.levels.to(values.dtype), values)

    def temper(self, temperature: Tensor) -> Quantiles:
        """Multiply the distances from the median, which is the estimate: it stays where it is."""
        factor = temperature.expand_as(self.values[..., 0])
        return self.affine(factor, self.estimate * (1 - factor))

    @property
    def estimate(self) -> Targets:
        """Median of each target."""
        return self.quantile(0.5)

    @property
    def error_bar(self) -> Targets:
        """Half the central 68.27 %."""
        return self.std
