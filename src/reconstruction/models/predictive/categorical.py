"""A distribution over classes that exclude each other: what a head that classifies returns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reconstruction.errors import UserError
from reconstruction.models.predictive.distributions import PredictiveDistribution
from reconstruction.shapes import Covariance, Float, PerRow, Targets


@dataclass(frozen=True, eq=False)
class Categorical(PredictiveDistribution):
    """Probabilities of classes; the one target is the column that holds the code of a row's class.

    codes (kind,): the code of each class, in the column's units; log_probs (batch, kind). Codes are names, not
    quantities: there is no mean, no width and no quantile, and what a table reports is the most probable class.
    """

    codes: Float[Tensor, "kind"]
    log_probs: Float[Tensor, "batch kind"]

    @property
    def shape(self) -> torch.Size:
        """(batch, 1)."""
        return self.log_probs[:, :1].shape

    @property
    def probabilities(self) -> Float[Tensor, "batch kind"]:
        """Probability of each class."""
        return self.log_probs.exp()

    @property
    def mean(self) -> Targets:
        """Refuse with a UserError."""
        raise UserError("classes have no mean: a head that classifies needs the CrossEntropy loss")

    @property
    def std(self) -> Targets:
        """NaN: classes have no width."""
        return torch.full_like(self.log_probs[:, :1], torch.nan)

    @property
    def covariance(self) -> Covariance:
        """NaN: classes have no width."""
        return self.std.unsqueeze(-1)

    def log_prob(self, value: Targets) -> PerRow:
        """Logarithm of the probability of the class with the code `value`; −∞ for a code of no class."""
        named = self.check(value) == self.codes
        return self.log_probs.masked_fill(~named, -torch.inf).amax(dim=-1)

    def marginal_log_prob(self, value: Targets) -> Targets:
        """Logarithm of the probability of the class, again: there is one target."""
        return self.log_prob(value).unsqueeze(-1)

    def crps(self, value: Targets) -> Targets:
        """Refuse with a UserError."""
        raise UserError("classes have no distance: a head that classifies needs the CrossEntropy loss")

    def sample(self, count: int) -> Float[Tensor, "count batch target"]:
        """Draw the codes of `count` classes for each row."""
        drawn = torch.multinomial(self.probabilities, count, replacement=True)
        return self.codes[drawn].T.unsqueeze(-1)

    def affine(self, scale: Tensor, shift: Tensor) -> Categorical:
        """Codes in other units, one scale and shift (1,) for all rows; the precision is that of both."""
        codes = self.codes * scale + shift
        return Categorical(codes, self.log_probs.to(codes.dtype))

    def temper(self, temperature: Tensor) -> Categorical:
        """p^(1/T), normalised: flatter for T > 1, the same class first.    Guo et al. 2017, arXiv:1706.04599, eq. 9"""
        return Categorical(self.codes, torch.log_softmax(self.log_probs / temperature, dim=-1))

    @property
    def estimate(self) -> Targets:
        """Code of the most probable class."""
        return self.codes[self.log_probs.argmax(dim=-1, keepdim=True)]

    @property
    def error_bar(self) -> Targets:
        """NaN: classes have no width."""
        return self.std

    def quantile(self, level: float) -> Targets:
        """NaN: classes have no order."""
        return self.std
