"""Predictive distributions of a batch of electrons: what heads return and losses take.

Shapes: batch b, targets t. Every distribution knows mean, std, covariance, log_prob, sample, affine and temper.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from collections.abc import Sequence as Many
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor

from cres.errors import UserError
from cres.shapes import Covariance, PerElectron, Targets

_LOG_2PI = math.log(2 * math.pi)
_CENTRAL = (0.158655, 0.841345)
# Bisection from ± 6 σ of the outermost components: 48 halvings reach float32 and nearly float64.
_REACH = 6.0
_BISECTIONS = 48


@dataclass(frozen=True, eq=False)
class PredictiveDistribution(ABC):
    """Abstract distribution of the targets of each electron of a batch."""

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
    def log_prob(self, value: Targets) -> PerElectron:
        """Logarithm of the joint density at `value`."""

    @abstractmethod
    def crps(self, value: Targets) -> Targets:
        """Continuous ranked probability score of each target's marginal (lower is better, in the target's unit)."""

    @abstractmethod
    def sample(self, count: int) -> Float[Tensor, "count batch target"]:
        """Draw `count` values for each electron."""

    @abstractmethod
    def affine(self, scale: Tensor, shift: Tensor) -> PredictiveDistribution:
        """Distribution of scale · x + shift; positive scale and shift (target,) or (batch, target)."""

    @abstractmethod
    def temper(self, temperature: Tensor) -> PredictiveDistribution:
        """Same place, wider or narrower by the factor `temperature`, () or (target,)."""

    @property
    @abstractmethod
    def estimate(self) -> Targets:
        """What a table reports of each target: the median."""

    @property
    @abstractmethod
    def error_bar(self) -> Targets:
        """Half the central 68.27 % of each target: a Gaussian's standard deviation, blind to tails."""

    @property
    def error_covariance(self) -> Covariance:
        """Correlations of the distribution with the error bars as standard deviations; NaN where nothing is known."""
        scale = self.error_bar / self.std
        return self.covariance * scale.unsqueeze(-1) * scale.unsqueeze(-2)

    def map(self, function: Callable[[Tensor], Tensor]) -> PredictiveDistribution:
        """Apply `function` (detach, to another device, a choice of electrons …) to each tensor."""
        return type(self)(*(function(getattr(self, field.name)) for field in fields(self)))

    def check(self, value: Tensor) -> Tensor:
        """Return `value`; ValueError unless it has exactly the shape of the mean (broadcasting hides mistakes)."""
        if value.shape != self.mean.shape:
            raise ValueError(
                f"targets have shape {tuple(value.shape)}, the prediction has shape {tuple(self.mean.shape)} "
                "(batch, targets); they must be equal"
            )
        return value


@dataclass(frozen=True, eq=False)
class Point(PredictiveDistribution):
    """A point estimate: mean only, uncertainty unknown (NaN)."""

    location: Targets

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

    def log_prob(self, value: Targets) -> PerElectron:
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


@dataclass(frozen=True, eq=False)
class Gaussian(PredictiveDistribution):
    """Multivariate normal, given by the lower Cholesky factor of its covariance."""

    location: Targets
    cholesky: Covariance

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
        return _outer(self.cholesky)

    def whitened(self, value: Targets) -> Targets:
        """L⁻¹ (value − mean): independent standard normals where the distribution is right."""
        return _solve(self.cholesky, self.check(value) - self.location)

    @property
    def conditional_std(self) -> Targets:
        """Standard deviation of each target given those before it: the diagonal of the Cholesky factor."""
        return torch.diagonal(self.cholesky, dim1=-2, dim2=-1)

    def log_prob_terms(self, value: Targets) -> Targets:
        """Terms log p(x_i | x_1 … x_{i−1}): they sum to `log_prob`."""
        return -0.5 * (self.whitened(value).square() + _LOG_2PI) - torch.log(self.conditional_std)

    def log_prob(self, value: Targets) -> PerElectron:
        """Logarithm of the joint density at `value`."""
        return self.log_prob_terms(value).sum(dim=-1)

    def crps(self, value: Targets) -> Targets:
        """σ [z (2Φ(z) − 1) + 2φ(z) − 1/√π]                Gneiting et al. 2005, Mon. Weather Rev. 133, eq. 5"""
        std = self.std
        return _mean_distance(self.check(value) - self.location, std) - std / math.sqrt(math.pi)

    def sample(self, count: int) -> Float[Tensor, "count batch target"]:
        """Draw `count` values for each electron."""
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


@dataclass(frozen=True, eq=False)
class GaussianMixture(PredictiveDistribution):
    """Mixture of multivariate normals: log weights (b, k), means (b, k, t), Cholesky factors (b, k, t, t)."""

    log_weights: Float[Tensor, "batch component"]
    locations: Float[Tensor, "batch component target"]
    choleskys: Float[Tensor, "batch component target target"]

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
        return (self._weights[..., None, None] * (_outer(self.choleskys) + between)).sum(dim=1)

    @property
    def _weights(self) -> Tensor:
        return self.log_weights.exp().to(self.locations.dtype)

    def log_prob(self, value: Targets) -> PerElectron:
        """Logarithm of the joint density at `value`."""
        offsets = self.check(value).unsqueeze(1) - self.locations
        diagonal = torch.diagonal(self.choleskys, dim1=-2, dim2=-1)
        terms = -0.5 * (_solve(self.choleskys, offsets).square() + _LOG_2PI) - torch.log(diagonal)
        return torch.logsumexp(self.log_weights + terms.sum(dim=-1), dim=-1)

    def crps(self, value: Targets) -> Targets:
        """E|X − y| − ½ E|X − X'| with closed forms for each pair of components (Grimit et al. 2006, QJRMS 132)."""
        std = torch.linalg.vector_norm(self.choleskys, dim=-1)
        to_value = _mean_distance(self.check(value).unsqueeze(1) - self.locations, std)
        between = _mean_distance(
            self.locations.unsqueeze(1) - self.locations.unsqueeze(2),
            torch.sqrt(std.square().unsqueeze(1) + std.square().unsqueeze(2)),
        )
        weights = self._weights
        pairs = weights[:, :, None, None] * weights[:, None, :, None]
        return (weights.unsqueeze(-1) * to_value).sum(dim=1) - 0.5 * (pairs * between).sum(dim=(1, 2))

    def sample(self, count: int) -> Float[Tensor, "count batch target"]:
        """Draw `count` values for each electron."""
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
        factor = temperature.expand_as(self.locations).unsqueeze(-1)
        return GaussianMixture(self.log_weights, self.locations, self.choleskys * factor)

    @property
    def estimate(self) -> Targets:
        """Median of each target."""
        return self.quantile(0.5)

    @property
    def error_bar(self) -> Targets:
        """Half the central 68.27 % of each target."""
        lower, upper = (self.quantile(level) for level in _CENTRAL)
        return 0.5 * (upper - lower)

    def quantile(self, level: float) -> Targets:
        """Quantile of each target's marginal, by bisection of its distribution function."""
        std = torch.linalg.vector_norm(self.choleskys, dim=-1)
        low = (self.locations - _REACH * std).amin(dim=1)
        high = (self.locations + _REACH * std).amax(dim=1)
        weights = self._weights.unsqueeze(-1)
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            below = (weights * torch.special.ndtr((middle.unsqueeze(1) - self.locations) / std)).sum(dim=1) < level
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return 0.5 * (low + high)


@dataclass(frozen=True, eq=False)
class Quantiles(PredictiveDistribution):
    """Marginal quantiles: levels (q,) rising in (0, 1), values (b, t, q) that do not fall with the level.

    Between levels the quantile function is linear; outside the outermost levels it is constant.
    """

    levels: Float[Tensor, "level"]
    values: Float[Tensor, "batch target level"]

    @property
    def mean(self) -> Targets:
        """Integral of the quantile function."""
        return (self.values * self._level_weights).sum(dim=-1)

    @property
    def std(self) -> Targets:
        """Half the central 68.27 %, interpolated between the levels (a Gaussian's standard deviation)."""
        lower, upper = (self.quantile(level) for level in _CENTRAL)
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
        position = torch.searchsorted(self.levels, torch.as_tensor(level, dtype=self.levels.dtype))
        upper = int(position.clamp(1, len(self.levels) - 1))
        low, high = self.levels[upper - 1], self.levels[upper]
        share = ((level - low) / (high - low)).clamp(0, 1)
        return self.values[..., upper - 1] + share * (self.values[..., upper] - self.values[..., upper - 1])

    def log_prob(self, value: Targets) -> PerElectron:
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
        """Draw `count` values for each electron from the interpolated quantile function, targets independent."""
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
        """Multiply the distances from the mean."""
        factor = temperature.expand_as(self.values[..., 0])
        return self.affine(factor, self.mean * (1 - factor))

    @property
    def estimate(self) -> Targets:
        """Median of each target."""
        return self.quantile(0.5)

    @property
    def error_bar(self) -> Targets:
        """Half the central 68.27 %."""
        return self.std


def combine(members: Many[PredictiveDistribution]) -> PredictiveDistribution:
    """One distribution for an ensemble: the equal mixture of Gaussians or of mixtures; else the mean of the members.

    Raises UserError when the members are of different kinds.
    """
    first = members[0]
    if any(type(member) is not type(first) for member in members):
        raise UserError("an ensemble needs members with the same head: train all of them with one head")
    if isinstance(first, Point):
        return Point(torch.stack([member.mean for member in members]).mean(dim=0))
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


def _solve(cholesky: Tensor, offsets: Tensor) -> Tensor:
    """L⁻¹ offsets by forward substitution: for a few targets much faster than a batched solver."""
    solved: list[Tensor] = []
    for row in range(offsets.shape[-1]):
        rest = offsets[..., row]
        for column, known in enumerate(solved):
            rest = rest - cholesky[..., row, column] * known
        solved.append(rest / cholesky[..., row, row])
    return torch.stack(solved, dim=-1)


def _outer(cholesky: Tensor) -> Tensor:
    """L Lᵀ, elementwise: a matrix product would run in half precision under autocast."""
    return (cholesky.unsqueeze(-2) * cholesky.unsqueeze(-3)).sum(dim=-1)


def _mean_distance(offset: Tensor, std: Tensor) -> Tensor:
    """E|offset + std · n| for a standard normal n."""
    z = offset / std
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
    return std * (z * torch.erf(z / math.sqrt(2)) + 2 * density)
