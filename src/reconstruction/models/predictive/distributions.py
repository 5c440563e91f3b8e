"""Predictive distributions of a batch of rows: what heads return and losses take.

Shapes: batch b, targets t. Every distribution knows mean, std, covariance, log_prob, sample, affine and temper.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from reconstruction.errors import UserError
from reconstruction.models.predictive.gaussian_algebra import LOG_2PI, mean_distance, outer, solve
from reconstruction.shapes import Covariance, Float, PerRow, Targets


@dataclass(frozen=True, eq=False)
class PredictiveDistribution(ABC):
    """Abstract distribution of the targets of each row of a batch."""

    @property
    @abstractmethod
    def shape(self) -> torch.Size:
        """(batch, target)."""

    @property
    def dtype(self) -> torch.dtype:
        """Precision of what it states."""
        stated: Tensor = getattr(self, fields(self)[-1].name)
        return stated.dtype

    @property
    @abstractmethod
    def mean(self) -> Targets:
        """Mean of each target."""

    @property
    @abstractmethod
    def std(self) -> Targets:
        """Standard deviation of each target; NaN where nothing is known."""

    @property
    @abstractmethod
    def covariance(self) -> Covariance:
        """Covariance between the targets; NaN where nothing is known."""

    @abstractmethod
    def log_prob(self, value: Targets) -> PerRow:
        """Logarithm of the joint density at `value`."""

    @abstractmethod
    def crps(self, value: Targets) -> Targets:
        """Continuous ranked probability score of each target's marginal (lower is better, in the target's unit)."""

    @abstractmethod
    def sample(self, count: int) -> Float[Tensor, "count batch target"]:
        """Draw `count` values for each row."""

    @abstractmethod
    def affine(self, scale: Tensor, shift: Tensor) -> PredictiveDistribution:
        """Distribution of scale · x + shift; positive scale and shift (target,) or (batch, target)."""

    @abstractmethod
    def temper(self, temperature: Tensor) -> PredictiveDistribution:
        """Same place, wider or narrower by the factor `temperature`, (), (target,) or (batch, target)."""

    @property
    @abstractmethod
    def estimate(self) -> Targets:
        """What a table reports of each target: the median."""

    @property
    @abstractmethod
    def error_bar(self) -> Targets:
        """Half the central 68.27 % of each target: a Gaussian's standard deviation, blind to tails."""

    @abstractmethod
    def quantile(self, level: float) -> Targets:
        """Quantile of each target's marginal at a level in (0, 1)."""

    def marginal_log_prob(self, value: Targets) -> Targets:
        """Logarithm of each target's own density at `value`; NaN where the distribution has none."""
        return torch.full_like(self.check(value), torch.nan)

    @property
    def error_covariance(self) -> Covariance:
        """Correlations of the distribution with the error bars as standard deviations; NaN where nothing is known."""
        scale = self.error_bar / self.std
        return self.covariance * scale.unsqueeze(-1) * scale.unsqueeze(-2)

    def map(self, function: Callable[[Tensor], Tensor]) -> PredictiveDistribution:
        """Apply `function` (detach, to another device, a choice of rows …) to each tensor."""
        return type(self)(*(function(getattr(self, field.name)) for field in fields(self)))

    def check(self, value: Tensor) -> Tensor:
        """Return `value`; ValueError unless it has exactly the shape of the mean (broadcasting hides mistakes)."""
        if value.shape != self.shape:
            raise ValueError(
                f"targets have shape {tuple(value.shape)}, the prediction has shape {tuple(self.shape)} "
                "(batch, targets); they must be equal"
            )
        return value


def joined(parts: Sequence[PredictiveDistribution]) -> PredictiveDistribution:
    """Return the distributions of several batches, all of one kind, as one: the rows one after another."""
    kind = type(parts[0])
    values = [[getattr(part, field.name) for part in parts] for field in fields(kind)]
    # what has no axis but its own (the levels of quantiles) is shared by all rows
    return kind(*(of_parts[0] if of_parts[0].ndim < 2 else torch.cat(of_parts) for of_parts in values))


@dataclass(frozen=True, eq=False)
class Point(PredictiveDistribution):
    """A point estimate: mean only, uncertainty unknown (NaN)."""

    location: Targets

    @property
    def shape(self) -> torch.Size:
        """(batch, target)."""
        return self.location.shape

    @property
    def mean(self) -> Targets:
        """The estimate."""
        return self.location

    @property
    def std(self) -> Targets:
        """NaN: a point estimate says nothing about its error."""
        return torch.full_like(self.location, torch.nan)

    @property
    def covariance(self) -> Covariance:
        """NaN: a point estimate says nothing about its error."""
        return torch.full_like(self.location.unsqueeze(-1) * self.location.unsqueeze(-2), torch.nan)

    def log_prob(self, value: Targets) -> PerRow:
        """Refuse with a UserError."""
        raise UserError("a point head has no likelihood: use the MSE or Huber loss, or a Gaussian head")

    def crps(self, value: Targets) -> Targets:
        """Absolute error, the limit of the CRPS for a sharp distribution."""
        return (self.check(value) - self.location).abs()

    def sample(self, count: int) -> Float[Tensor, "count batch target"]:
        """Repeat the estimate."""
        return self.location.expand(count, *self.location.shape)

    def affine(self, scale: Tensor, shift: Tensor) -> Point:
        """Scale and shift the estimate."""
        return Point(self.location * scale + shift)

    def temper(self, temperature: Tensor) -> Point:
        """Nothing to widen."""
        return self

    @property
    def estimate(self) -> Targets:
        """The estimate."""
        return self.location

    @property
    def error_bar(self) -> Targets:
        """NaN: a point estimate says nothing about its error."""
        return self.std

    def quantile(self, level: float) -> Targets:
        """NaN: a point estimate says nothing about its error."""
        return self.std


@dataclass(frozen=True, eq=False)
class Gaussian(PredictiveDistribution):
    """Multivariate normal, given by the lower Cholesky factor of its covariance."""

    location: Targets
    cholesky: Covariance

    @property
    def shape(self) -> torch.Size:
        """(batch, target)."""
        return self.location.shape

    @property
    def mean(self) -> Targets:
        """Mean."""
        return self.location

    @property
    def std(self) -> Targets:
        """Standard deviation of each target: norm of the rows of the Cholesky factor."""
        return torch.linalg.vector_norm(self.cholesky, dim=-1)

    @property
    def covariance(self) -> Covariance:
        """L Lᵀ."""
        return outer(self.cholesky)

    def whitened(self, value: Targets) -> Targets:
        """L⁻¹ (value − mean): independent standard normals where the distribution is right."""
        return solve(self.cholesky, self.check(value) - self.location)

    def marginal_log_prob(self, value: Targets) -> Targets:
        """Logarithm of each target's own normal density at `value`."""
        std = self.std
        return -0.5 * (((self.check(value) - self.location) / std).square() + LOG_2PI) - torch.log(std)

    @property
    def conditional_std(self) -> Targets:
        """Standard deviation of each target given those before it: the diagonal of the Cholesky factor."""
        return torch.diagonal(self.cholesky, dim1=-2, dim2=-1)

    def log_prob_terms(self, value: Targets) -> Targets:
        """Terms log p(x_i | x_1 … x_{i−1}): they sum to `log_prob`."""
        return -0.5 * (self.whitened(value).square() + LOG_2PI) - torch.log(self.conditional_std)

    def log_prob(self, value: Targets) -> PerRow:
        """Logarithm of the joint density at `value`."""
        return self.log_prob_terms(value).sum(dim=-1)

    def crps(self, value: Targets) -> Targets:
        """σ [z (2Φ(z) − 1) + 2φ(z) − 1/√π]                Gneiting et al. 2005, Mon. Weather Rev. 133, eq. 5"""
        std = self.std
        return mean_distance(self.check(value) - self.location, std) - std / math.sqrt(math.pi)

    def sample(self, count: int) -> Float[Tensor, "count batch target"]:
        """Draw `count` values for each row."""
        draws = torch.randn(count, *self.location.shape, dtype=self.location.dtype, device=self.location.device)
        return self.location + torch.einsum("bij,cbj->cbi", self.cholesky, draws)

    def affine(self, scale: Tensor, shift: Tensor) -> Gaussian:
        """Scale and shift."""
        return Gaussian(self.location * scale + shift, self.cholesky * scale.unsqueeze(-1))

    def temper(self, temperature: Tensor) -> Gaussian:
        """Multiply the standard deviations."""
        return Gaussian(self.location, self.cholesky * temperature.expand_as(self.location).unsqueeze(-1))

    @property
    def estimate(self) -> Targets:
        """The mean, which is the median."""
        return self.location

    @property
    def error_bar(self) -> Targets:
        """The standard deviation."""
        return self.std

    def quantile(self, level: float) -> Targets:
        """Mean + z(level) standard deviations."""
        return self.location + torch.special.ndtri(torch.as_tensor(level).to(self.location)) * self.std
