"""Losses of predictive distributions: `loss(distribution, targets)` is one number a record, to be averaged.

Targets are standardised, so that the targets weigh equally; all losses refuse targets of another shape.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence as Many

import torch
from torch import Tensor, nn

from reconstruction.errors import UserError
from reconstruction.models.predictive.categorical import Categorical
from reconstruction.models.predictive.distributions import Gaussian, PredictiveDistribution
from reconstruction.models.predictive.quantiles import Quantiles
from reconstruction.shapes import PerRow, Targets


class Loss(nn.Module, ABC):
    """Abstract loss."""

    @abstractmethod
    def forward(self, distribution: PredictiveDistribution, targets: Targets) -> PerRow:
        """Return the loss of each record; ValueError when the shapes differ."""


class MSE(Loss):
    """Weighted mean of the squared errors.

    Args:
        weights: weight of each target (none: all equal).

    """

    def __init__(self, weights: Many[float] | None = None) -> None:
        super().__init__()
        self.weights = _checked_weights(weights)

    def forward(self, distribution: PredictiveDistribution, targets: Targets) -> PerRow:
        """Mean over the targets."""
        error = distribution.check(targets) - distribution.mean
        return _weighted_mean(error.square(), self.weights)


class Huber(Loss):
    """Weighted mean of Huber's loss: squared below `delta`, linear above it.

    Args:
        delta: error (in standardised units) at which the loss becomes linear.
        weights: weight of each target (none: all equal).

    """

    def __init__(self, delta: float = 1.0, weights: Many[float] | None = None) -> None:
        super().__init__()
        self.delta = delta
        self.weights = _checked_weights(weights)

    def forward(self, distribution: PredictiveDistribution, targets: Targets) -> PerRow:
        """Mean over the targets."""
        loss = nn.functional.huber_loss(
            distribution.mean, distribution.check(targets), reduction="none", delta=self.delta
        )
        return _weighted_mean(loss, self.weights)


class GaussianNLL(Loss):
    """Negative log likelihood; with β > 0 each term is weighted by σ^2β, without gradient (β-NLL).

    β = 0.5 keeps records with large errors from being given up    Seitzer et al. 2022, arXiv:2203.09168, eq. 4
    The plain likelihood (β = 0) takes every distribution that has a density, the β form Gaussians only.

    Args:
        beta: 0 (likelihood) to 1 (weights as in the squared error).

    """

    def __init__(self, beta: float = 0.0) -> None:
        super().__init__()
        if not 0 <= beta <= 1:
            raise UserError(f"beta of the β-NLL must lie between 0 and 1, not {beta}")
        self.beta = beta

    def forward(self, distribution: PredictiveDistribution, targets: Targets) -> PerRow:
        """Sum over the targets."""
        if self.beta == 0:
            return -distribution.log_prob(distribution.check(targets))
        if not isinstance(distribution, Gaussian):
            raise UserError("the β-NLL needs a Gaussian head: set beta to 0, or use a Gaussian head")
        weights = distribution.conditional_std.detach() ** (2 * self.beta)
        return -(weights * distribution.log_prob_terms(targets)).sum(dim=-1)


class CrossEntropy(Loss):
    """−ln of the probability of the true class, of a head that classifies.

    Args:
        weights: weight of each class in the order of the head's classes (none: all equal): for data in which some are
            rare. Probabilities are then those of data in which they are not.

    """

    factors: Tensor

    def __init__(self, weights: Many[float] | None = None) -> None:
        super().__init__()
        self.weights = _checked_weights(weights)
        factors = torch.tensor(self.weights or ())
        self.register_buffer("factors", factors * len(factors) / factors.sum(), persistent=False)

    def forward(self, distribution: PredictiveDistribution, targets: Targets) -> PerRow:
        """Return the loss, times the weight of the true class."""
        if not isinstance(distribution, Categorical):
            raise UserError("the cross entropy is of classes: use a CategoricalHead, or GaussianNLL")
        loss = -distribution.log_prob(targets)
        if self.weights is None:
            return loss
        classes = distribution.log_probs.shape[-1]
        if len(self.weights) != classes:
            raise UserError(f"the loss has {len(self.weights)} weights for {classes} classes: give one for each")
        true = (targets == distribution.codes).to(loss.dtype)
        return loss * (true @ self.factors.to(loss))


class CRPS(Loss):
    """Continuous ranked probability score of each target's marginal: robust, in the unit of the target.

    Args:
        weights: weight of each target (none: all equal).

    """

    def __init__(self, weights: Many[float] | None = None) -> None:
        super().__init__()
        self.weights = _checked_weights(weights)

    def forward(self, distribution: PredictiveDistribution, targets: Targets) -> PerRow:
        """Mean over the targets."""
        return _weighted_mean(distribution.crps(distribution.check(targets)), self.weights)


class Pinball(Loss):
    """Pinball loss of a quantile head.

    Args:
        weights: weight of each target (none: all equal).

    """

    def __init__(self, weights: Many[float] | None = None) -> None:
        super().__init__()
        self.weights = _checked_weights(weights)

    def forward(self, distribution: PredictiveDistribution, targets: Targets) -> PerRow:
        """Mean over targets and levels."""
        if not isinstance(distribution, Quantiles):
            raise UserError("the pinball loss needs a quantile head")
        return _weighted_mean(distribution.pinball(targets), self.weights)


def _checked_weights(weights: Many[float] | None) -> tuple[float, ...] | None:
    if weights is None:
        return None
    if min(weights, default=-1.0) < 0 or sum(weights) <= 0:
        raise UserError(f"weights of a loss must be at least 0 and not all 0, not {list(weights)}")
    return tuple(weights)


def _weighted_mean(values: Tensor, weights: tuple[float, ...] | None) -> Tensor:
    if weights is None:
        return values.mean(dim=-1)
    if len(weights) != values.shape[-1]:
        raise UserError(f"the loss has {len(weights)} weights for {values.shape[-1]} targets: give one for each")
    factors = torch.tensor(weights, dtype=values.dtype, device=values.device)
    return values @ (factors / factors.sum())
