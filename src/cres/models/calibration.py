"""Temperatures that make predicted uncertainties honest, fitted on the validation split."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from cres.errors import UserError
from cres.models.distributions import Point, PredictiveDistribution
from cres.models.quantiles import Quantiles
from cres.shapes import Targets

CENTRAL_FRACTION = 0.682689
"""Probability of ±1 standard deviation of a Gaussian."""
_ROUNDS = 12


def fit_temperature(
    distribution: PredictiveDistribution, targets: Targets, method: Literal["likelihood", "coverage"] = "likelihood"
) -> Float[Tensor, "target"]:
    """Return the factor for each target's width, to be used with `distribution.temper`.

    likelihood: the factors that maximise the mean log likelihood (outliers count).
    coverage: the factors with which 68.27 % of the targets lie within one error bar (outliers do not count).
    Distributions without a density are calibrated by coverage; a point estimate has nothing to calibrate: ones.
    Raises UserError when there are no electrons or values that are not finite.
    """
    distribution.check(targets)
    if len(targets) == 0:
        raise UserError("the temperature cannot be fitted: the validation split is empty")
    if isinstance(distribution, Point):
        return torch.ones_like(targets[0])
    by_coverage = _by_coverage(distribution.map(Tensor.detach), targets)
    if not bool(by_coverage.isfinite().all()):
        raise UserError(
            "the temperature cannot be fitted: predictions or targets of the validation split are not finite"
        )
    if method == "coverage" or isinstance(distribution, Quantiles):
        return by_coverage
    return _by_likelihood(distribution, targets, by_coverage)


def _by_coverage(distribution: PredictiveDistribution, targets: Tensor) -> Tensor:
    """Fixed point of T ← T · (the 68.27 % quantile of |pull| at T): at once for one Gaussian, soon for a mixture."""
    temperature = torch.ones_like(targets[0])
    for _ in range(_ROUNDS):
        tempered = distribution.temper(temperature)
        pulls = ((targets - tempered.estimate) / tempered.error_bar).abs()
        temperature = temperature * torch.quantile(pulls, CENTRAL_FRACTION, dim=0).clamp(min=1e-6)
    return temperature


def _by_likelihood(distribution: PredictiveDistribution, targets: Tensor, start: Tensor) -> Tensor:
    fixed = distribution.map(lambda tensor: tensor.detach().double())
    fixed_targets = targets.detach().double()
    log_temperature = torch.log(start.double()).requires_grad_()
    optimizer = torch.optim.LBFGS([log_temperature], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = -fixed.temper(log_temperature.exp()).log_prob(fixed_targets).mean()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    return log_temperature.detach().exp().to(targets.dtype)
