"""Factors that make stated uncertainties honest, at every stated width, fitted on the validation split.

A network that is right on average may be too sure of its good rows and too modest about its poor ones. The factor
is therefore a function of the width that was stated; and since a mixture of a narrow and a wide mode has no 2σ to speak
of, the 95 % interval is stated and calibrated by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence as Many
from typing import Literal

import torch
from torch import Tensor, nn

from reconstruction.errors import UserError
from reconstruction.levels import CENTRAL_68, CENTRAL_95, ENDS_95
from reconstruction.models.predictive.categorical import Categorical
from reconstruction.models.predictive.distributions import Point, PredictiveDistribution
from reconstruction.models.predictive.draws import DrawnDistribution
from reconstruction.models.predictive.quantiles import Quantiles
from reconstruction.shapes import Float, Targets

Method = Literal["coverage", "likelihood"]
Knots = Float[Tensor, "knot target"]

KNOTS = 8
RECORDS_PER_KNOT = 250
"""Fewer, and the quantiles that the factors are would be noise: so many independent ones tell a coverage to 3 %."""
_ROUNDS = 12
_SETTLED = 2e-3
_NARROWEST_RANGE = 0.01
"""Of log(width): below, all rows are stated alike, and there is nothing to tell them apart by."""
_SMALLEST_FACTOR = 1e-6
_BISECTIONS = 40
_MOST_TEMPERED = 3.0
"""|ln T| of classes at most: where all validation rows are told right, the likelihood would have T = 0."""


class WidthFactor(nn.Module):
    """A positive factor for each target as a function of a width: linear in log(width) between knots, constant outside.

    Buffers `log_width` and `factor` (knot, target); one everywhere until set.
    """

    log_width: Tensor
    factor: Tensor

    def __init__(self, targets: int) -> None:
        super().__init__()
        start = torch.arange(KNOTS, dtype=torch.float64).unsqueeze(-1).expand(KNOTS, targets).clone()
        self.register_buffer("log_width", start)
        self.register_buffer("factor", torch.ones(KNOTS, targets, dtype=torch.float64))

    def forward(self, width: Targets) -> Targets:
        """Return the factor (batch, target) at stated widths."""
        left, right = self.log_width[:-1], self.log_width[1:]
        # knots may coincide where many rows are stated alike
        share = ((width.log().unsqueeze(-2) - left) / (right - left).clamp(min=1e-9)).clamp(0, 1)
        return self.factor[0] + (share * self.factor.diff(dim=0)).sum(dim=-2)

    @torch.no_grad()
    def set(self, log_width: Knots, factor: Knots) -> None:
        """Take knots, KNOTS at most, in rising order; the last one's factor holds beyond it."""
        count = len(log_width)
        steps = torch.arange(1, KNOTS - count + 1, dtype=torch.float64, device=log_width.device)
        beyond = log_width[-1:] + steps.unsqueeze(-1)
        self.log_width.copy_(torch.cat([log_width, beyond]))
        self.factor.copy_(torch.cat([factor, factor[-1:].expand(KNOTS - count, -1)]))


class Calibration(nn.Module):
    """Make the stated uncertainties of a distribution in physical units honest.

    `temperature` multiplies the widths of the distribution, `tail` those of its central 95.45 % interval.
    """

    def __init__(self, targets: int) -> None:
        super().__init__()
        self.targets = targets
        self.temperature = WidthFactor(targets)
        self.tail = WidthFactor(targets)

    def reset(self) -> None:
        """Forget what was fitted."""
        for part in (self.temperature, self.tail):
            fresh = WidthFactor(self.targets)
            part.load_state_dict(fresh.state_dict())

    def forward(self, distribution: PredictiveDistribution) -> PredictiveDistribution:
        """Return the distribution with calibrated widths."""
        if isinstance(distribution, Point):
            return distribution
        if isinstance(distribution, Categorical):
            return distribution.temper(self.temperature.factor[0])
        return distribution.temper(self.temperature(distribution.error_bar))

    @torch.no_grad()
    def fit(self, distribution: PredictiveDistribution, targets: Targets, method: Method = "coverage") -> None:
        """Fit on distributions before calibration and the true targets (batch, target), both in physical units.

        coverage: at every stated width, 68.27 % of the targets lie within one error bar, 95.45 % in the interval.
        likelihood: one factor a target that maximises the mean log likelihood (outliers count); interval as above.
        Quantiles and draws have no density that could be tempered: for them it is coverage, whatever the method.
        Classes have one temperature, by the likelihood whatever the method.
        Both may lie on another device than the buffers, which stay where they are.
        A point estimate has nothing to calibrate. Raises UserError when there are no rows or values that are not
        finite.
        """
        distribution.check(targets)
        if len(targets) == 0:
            raise UserError("the uncertainties cannot be calibrated: the validation split is empty")
        if isinstance(distribution, Point):
            return
        if isinstance(distribution, Categorical):
            self._temper_classes(distribution, targets)
            return
        fixed, truth = distribution.map(lambda tensor: tensor.detach().double()), targets.detach().double()
        if not bool((fixed.error_bar.isfinite() & truth.isfinite()).all()):
            raise UserError(
                "the uncertainties cannot be calibrated: predictions or targets of the validation split are not finite"
            )
        fresh = Calibration(self.targets).to(truth.device)
        fresh._fit(fixed, truth, "coverage" if isinstance(fixed, Quantiles | DrawnDistribution) else method)
        self.load_state_dict(fresh.state_dict())

    def _temper_classes(self, distribution: Categorical, targets: Targets) -> None:
        known = (targets == distribution.codes).any(dim=-1)
        if not bool(distribution.log_probs.isfinite().all() & known.all()):
            raise UserError(
                "the probabilities cannot be calibrated: those of the validation split are not finite, or its rows "
                "are of other classes"
            )
        factor = _most_likely_temperature(distribution.map(lambda tensor: tensor.detach().double()), targets)
        self.temperature.set(torch.zeros_like(factor), factor)

    def _fit(self, distribution: PredictiveDistribution, targets: Tensor, method: Method) -> None:
        if method == "coverage":
            self._temper_by_coverage(distribution, targets)
        else:
            factor = _most_likely_factor(distribution, targets).unsqueeze(0)
            self.temperature.set(torch.zeros_like(factor), factor)
        self._stretch_tails(self(distribution), targets)

    def _temper_by_coverage(self, distribution: PredictiveDistribution, targets: Tensor) -> None:
        """Fixed point of T ← T · (68.27 % quantile of |pull| at T): at once for one Gaussian, soon for a mixture."""
        width = distribution.error_bar
        centres, parts = _parts_of_equal_count(width)
        factor = torch.ones_like(centres)
        for _ in range(_ROUNDS):
            tempered = distribution.temper(self.temperature(width))
            pulls = ((targets - tempered.estimate) / tempered.error_bar).abs()
            change = _quantiles(pulls, parts, CENTRAL_68)
            factor = factor * change
            self.temperature.set(centres, factor)
            if bool(((change - 1).abs() < _SETTLED).all()):
                return

    def _stretch_tails(self, distribution: PredictiveDistribution, targets: Tensor) -> None:
        centres, parts = _parts_of_equal_count(distribution.error_bar)
        estimate = distribution.estimate
        low, high = (distribution.quantile(level) for level in ENDS_95)
        error = targets - estimate
        reach = torch.where(error < 0, estimate - low, high - estimate).clamp(min=1e-30)
        self.tail.set(centres, _quantiles(error.abs() / reach, parts, CENTRAL_95))


def interval95(distribution: PredictiveDistribution, calibrations: Many[Calibration]) -> tuple[Targets, Targets]:
    """Return the ends of each target's calibrated central 95.45 % interval.

    `distribution` is calibrated and in physical units; the calibrations are those of its members, if only of one.
    """
    estimate = distribution.estimate
    low, high = (distribution.quantile(level) for level in ENDS_95)
    width = distribution.error_bar
    stretch = torch.stack([calibration.tail(width) for calibration in calibrations]).mean(dim=0)
    return estimate - stretch * (estimate - low), estimate + stretch * (high - estimate)


def _parts_of_equal_count(width: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return the centres in log(width), (knot, target), and for each knot the rows of each target, (rows, target)."""
    logarithm = width.log()
    span = logarithm.quantile(0.9, dim=0) - logarithm.quantile(0.1, dim=0)
    count = max(1, min(KNOTS, len(width) // RECORDS_PER_KNOT)) if bool((span > _NARROWEST_RANGE).all()) else 1
    parts = list(torch.tensor_split(width.argsort(dim=0), count))
    centres = [logarithm.gather(0, rows).median(dim=0).values for rows in parts]
    return torch.stack(centres), parts


def _quantiles(values: Tensor, parts: list[Tensor], level: float) -> Tensor:
    found = [torch.quantile(values.gather(0, rows), level, dim=0) for rows in parts]
    return torch.stack(found).clamp(min=_SMALLEST_FACTOR)


def _most_likely_temperature(distribution: PredictiveDistribution, targets: Tensor) -> Tensor:
    """Return T (1, 1) of p^(1/T): the mean log likelihood is concave in 1/T, so that bisection finds its maximum."""
    assert isinstance(distribution, Categorical)
    stated = distribution.log_probs
    true = distribution.log_prob(targets.detach().double())
    low, high = -_MOST_TEMPERED, _MOST_TEMPERED
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        expected = (distribution.temper(stated.new_tensor(math.exp(-middle))).probabilities * stated).sum(dim=-1)
        low, high = (middle, high) if bool((true - expected).mean() > 0) else (low, middle)
    return stated.new_full((1, 1), math.exp(-0.5 * (low + high)))


def _most_likely_factor(distribution: PredictiveDistribution, targets: Tensor) -> Tensor:
    log_factor = torch.zeros_like(targets[0], requires_grad=True)
    optimizer = torch.optim.LBFGS([log_factor], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = -distribution.temper(log_factor.exp()).log_prob(targets).mean()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    return log_factor.detach().exp()
