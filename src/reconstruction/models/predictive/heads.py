"""From features to a predictive distribution; the number of outputs follows from the targets and the head."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence as Many
from typing import Literal

import torch
from torch import Tensor, nn

from reconstruction.errors import UserError
from reconstruction.models.affine import Affine
from reconstruction.models.precision import in_precision
from reconstruction.models.predictive.distributions import Gaussian, Point, PredictiveDistribution
from reconstruction.models.predictive.mixture import GaussianMixture
from reconstruction.models.predictive.quantiles import Quantiles
from reconstruction.shapes import Features, Float, Targets

Outputs = Float[Tensor, "batch output"]

# softplus⁻¹(1): an untrained head claims the spread of the standardised targets.
_UNIT = math.log(math.e - 1)
_SMALLEST_STD = 1e-6


class Head(nn.Module, ABC):
    """Abstract head: a small perceptron plus a direct linear path from the same features.

    The linear path keeps what is already linear in the target (a scalar of the alignment) out of the perceptron's way.
    Subclasses call `__init__(in_width, outputs, …)` and write `distribution`.
    """

    def __init__(self, in_width: int, targets: int, outputs: int, hidden_width: int, dropout: float) -> None:
        super().__init__()
        if targets < 1:
            raise UserError("a head needs at least one target")
        self.in_width = in_width
        self.targets = targets
        self.linear = Affine(in_width, outputs)
        drop = nn.Dropout(dropout) if dropout else nn.Identity()
        self.perceptron = nn.Sequential(Affine(in_width, hidden_width), nn.GELU(), drop, Affine(hidden_width, outputs))
        nn.init.zeros_(self.linear.bias)

    @property
    def classes(self) -> dict[str, int]:
        """The code of each class that it tells apart, by name; none where it estimates quantities."""
        return {}

    @abstractmethod
    def distribution(self, outputs: Outputs, anchor: Targets | None) -> PredictiveDistribution:
        """Turn the outputs of the network into a distribution."""

    def forward(self, features: Features, anchor: Targets | None = None) -> PredictiveDistribution:
        """Return the predictive distribution, in float32 or better whatever autocast says.

        `anchor` (batch, targets) is a first guess made elsewhere, from which the prediction is measured; in a mixture
        it belongs to the first component alone, and the others stay free for records in which the guess is wrong.
        """
        if features.ndim != 2 or features.shape[-1] != self.in_width:
            raise ValueError(f"features have shape {tuple(features.shape)}, expected (batch, {self.in_width})")
        with torch.autocast(features.device.type, enabled=False):
            features = in_precision(features, self.linear.weight.dtype)
            return self.distribution(self.linear(features) + self.perceptron(features), anchor)


class PointHead(Head):
    """Point estimate of each target.

    Args:
        in_width: features.
        targets: number of targets.
        hidden_width: width of the perceptron.
        dropout: dropout in the perceptron.

    """

    def __init__(self, in_width: int, targets: int, *, hidden_width: int = 128, dropout: float = 0.0) -> None:
        super().__init__(in_width, targets, targets, hidden_width, dropout)

    def distribution(self, outputs: Outputs, anchor: Targets | None) -> Point:
        """Outputs are the estimates, or what they differ by from the anchor."""
        return Point(outputs if anchor is None else anchor + outputs)


class GaussianHead(Head):
    """Gaussian with per-row uncertainty.

    Args:
        in_width: features.
        targets: number of targets.
        covariance: "diagonal", or "full" with correlations between the targets.
        hidden_width: width of the perceptron.
        dropout: dropout in the perceptron.

    """

    def __init__(
        self,
        in_width: int,
        targets: int,
        *,
        covariance: Literal["diagonal", "full"] = "diagonal",
        hidden_width: int = 128,
        dropout: float = 0.0,
    ) -> None:
        self.full = covariance == "full"
        super().__init__(in_width, targets, targets + _cholesky_outputs(targets, self.full), hidden_width, dropout)

    def distribution(self, outputs: Outputs, anchor: Targets | None) -> Gaussian:
        """Means, then the entries of the Cholesky factor."""
        means, entries = outputs.split([self.targets, outputs.shape[-1] - self.targets], dim=-1)
        return Gaussian(means if anchor is None else anchor + means, cholesky(entries, self.targets, self.full))


class MixtureHead(Head):
    """Mixture of Gaussians: several modes, heavy tails.

    Args:
        in_width: features.
        targets: number of targets.
        components: number of Gaussians.
        covariance: "diagonal" or "full", of each component.
        hidden_width: width of the perceptron.
        dropout: dropout in the perceptron.

    """

    def __init__(
        self,
        in_width: int,
        targets: int,
        *,
        components: int = 3,
        covariance: Literal["diagonal", "full"] = "full",
        hidden_width: int = 128,
        dropout: float = 0.0,
    ) -> None:
        self.full = covariance == "full"
        self.components = components
        each = 1 + targets + _cholesky_outputs(targets, self.full)
        super().__init__(in_width, targets, components * each, hidden_width, dropout)
        self.each = each
        with torch.no_grad():
            # Components that start equal would stay equal.
            self.linear.bias.view(components, each)[:, 1 : 1 + targets].normal_(std=0.5)

    def distribution(self, outputs: Outputs, anchor: Targets | None) -> GaussianMixture:
        """For each component: weight, means, entries of the Cholesky factor.

        The first component's distance from the anchor is counted in its own standard deviations: the narrower it is,
        the finer it corrects.
        """
        outputs = outputs.unflatten(-1, (self.components, self.each))
        weights, means, entries = outputs.split([1, self.targets, self.each - 1 - self.targets], dim=-1)
        log_weights = torch.log_softmax(weights.squeeze(-1), dim=-1)
        choleskys = cholesky(entries, self.targets, self.full)
        if anchor is not None:
            first, others = means.split([1, self.components - 1], dim=1)
            means = torch.cat((near(anchor, first, choleskys[:, :1]), others), dim=1)
        return GaussianMixture(log_weights, means, choleskys)


class QuantileHead(Head):
    """Quantiles of each target; they cannot cross.

    Args:
        in_width: features.
        targets: number of targets.
        levels: rising probabilities between 0 and 1.
        hidden_width: width of the perceptron.
        dropout: dropout in the perceptron.

    """

    levels: Tensor

    def __init__(
        self,
        in_width: int,
        targets: int,
        *,
        levels: Many[float] = (0.01, 0.025, 0.05, 0.158655, 0.25, 0.5, 0.75, 0.841345, 0.95, 0.975, 0.99),
        hidden_width: int = 128,
        dropout: float = 0.0,
    ) -> None:
        if len(levels) < 2 or list(levels) != sorted(set(levels)) or not 0 < levels[0] < levels[-1] < 1:
            raise UserError(f"quantile levels must be at least two rising numbers between 0 and 1, not {list(levels)}")
        super().__init__(in_width, targets, targets * len(levels), hidden_width, dropout)
        self.register_buffer("levels", torch.tensor(levels))

    def distribution(self, outputs: Outputs, anchor: Targets | None) -> Quantiles:
        """The middle quantile, then positive steps to the others."""
        outputs = outputs.unflatten(-1, (self.targets, len(self.levels)))
        middle = len(self.levels) // 2
        steps = nn.functional.softplus(outputs[..., 1:])
        rising = torch.cat((torch.zeros_like(outputs[..., :1]), steps.cumsum(dim=-1)), dim=-1)
        values = outputs[..., :1] + rising - rising[..., middle : middle + 1]
        if anchor is not None:
            values = values + anchor.unsqueeze(-1)
        return Quantiles(self.levels.to(values.dtype), values)


def near(anchor: Tensor, steps: Tensor, choleskys: Tensor) -> Tensor:
    """Means (b, 1, t) that lie `steps` standard deviations from the anchor; the width is not trained through them."""
    std = torch.diagonal(choleskys.detach(), dim1=-2, dim2=-1)
    return torch.addcmul(anchor.unsqueeze(1), steps, std)


def _cholesky_outputs(targets: int, full: bool) -> int:
    return targets * (targets + 1) // 2 if full else targets


def cholesky(entries: Tensor, targets: int, full: bool) -> Tensor:
    """Lower triangular factors (…, t, t): positive diagonal first, then, when full, the entries below it."""
    scales, lower = entries.split([targets, entries.shape[-1] - targets], dim=-1)
    scales = nn.functional.softplus(scales + _UNIT) + _SMALLEST_STD
    if not full or targets == 1:
        return torch.diag_embed(scales)
    # Correlations are the network's, the scale is the diagonal's: L = diag(s) (1 + strictly lower).
    below = iter(lower.unbind(dim=-1))
    zero = torch.zeros_like(lower[..., 0])
    rows = [
        [scale * next(below) for _ in range(row)] + [scale] + [zero] * (targets - 1 - row)
        for row, scale in enumerate(scales.unbind(dim=-1))
    ]
    return torch.stack([entry for row in rows for entry in row], dim=-1).unflatten(-1, (targets, targets))
