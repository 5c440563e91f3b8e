"""The best linear combination of several estimates of one number, with errors and correlations that are learned.

x̂ = wᵀx with w = V⁻¹1/(1ᵀV⁻¹1), V the covariance of the errors: no other unbiased linear combination is narrower
(Lyons, Gibaut, Clifford, NIM A270 (1988) 110). Without correlations the weights are the inverse variances, and
σ = (Σ 1/σᵢ²)^(−½).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from reconstruction.errors import UserError
from reconstruction.models import Calibration, Gaussian

Floats = NDArray[np.float64]
CLIPPED: Final = 3.0
"""Errors that are larger, in units of those that are stated, count as this much for a correlation."""
FEWEST: Final = 100
"""Rows from which something can be learned."""
FEWEST_APART: Final = 200
"""Rows of a set of estimators from which it has error bars of its own: so many tell 68 % to 3 %."""
FEWEST_TOGETHER: Final = 50
"""A correlation of so many rows counts half: that of few is drawn to none."""
LARGEST_CORRELATION: Final = 0.95


@dataclass(frozen=True)
class LearnedWeights:
    """What was learned of estimators: (estimator,) each, (estimator, estimator) for the correlation.

    response: what its estimates are multiplied with; inflation: what its error bars are; calibration: of the error bar
    of the combination, as a function of that; own: the same of sets of estimators that speak together (whether each
    does), of which there were FEWEST_APART rows or more: muons are few among hadrons.
    """

    names: tuple[str, ...]
    response: Floats
    inflation: Floats
    correlation: Floats
    calibration: Calibration
    own: Mapping[tuple[bool, ...], Calibration]

    @classmethod
    def learned(cls, names: tuple[str, ...], estimates: Floats, errors: Floats, truth: Floats) -> LearnedWeights:
        """Learn from rows: estimates, errors (row, estimator), not a number where one says nothing; truth (row,).

        The response is the median of truth over estimate, weighted with the inverse relative errors; with it the errors
        lie within `inflation` error bars in 68.27 % of the rows; the correlation is that of errors over error bars.
        Raises UserError for fewer than FEWEST rows of one.
        """
        for name, column in zip(names, estimates.T, strict=True):
            count = int(np.isfinite(column).sum())
            if count < FEWEST:
                raise UserError(
                    f"the weight of {name} cannot be learned of {count} rows of the validation split: give the table "
                    f"{FEWEST} or more of them"
                )
        response = np.array([_response(x, s, truth) for x, s in zip(estimates.T, errors.T, strict=True)])
        pulls = (estimates * response - truth[:, None]) / errors
        inflation = np.array([np.quantile(np.abs(p[np.isfinite(p)]), 0.6827) for p in pulls.T])
        correlation = _correlations(pulls / inflation)
        first = cls(names, response, inflation, correlation, Calibration(1), {})
        mean, std = first.combined(estimates, errors)
        said = np.isfinite(mean)
        own = {
            pattern: _calibrated(mean[rows], std[rows], truth[rows])
            for pattern, rows in _sets(estimates, errors).items()
            if len(rows) >= FEWEST_APART
        }
        return replace(first, calibration=_calibrated(mean[said], std[said], truth[said]), own=own)

    def scaled(self, estimates: Floats, errors: Floats) -> tuple[Floats, Floats]:
        """Return estimates and errors (row, estimator) of each by itself, with its response and inflation."""
        return estimates * self.response, errors * self.inflation

    def combined(self, estimates: Floats, errors: Floats) -> tuple[Floats, Floats]:
        """Return the combination (row,) with its calibrated error bar, not a number where no one says anything."""
        values, sigma = self.scaled(estimates, errors)
        mean, std = np.full(len(values), np.nan), np.full(len(values), np.nan)
        for pattern, rows in _sets(estimates, errors).items():
            own = np.flatnonzero(pattern)
            mean[rows], stated = best_linear(
                values[np.ix_(rows, own)], sigma[np.ix_(rows, own)], self.correlation[np.ix_(own, own)]
            )
            calibration = self.own.get(pattern, self.calibration)
            std[rows] = calibration(_gaussian(mean[rows], stated)).error_bar[:, 0].numpy()
        return mean, std

    def bound(self, estimates: Floats, errors: Floats) -> Floats:
        """Return (Σ 1/σᵢ²)^(−½) of each row: what independent estimates with these error bars could give at best."""
        _, sigma = self.scaled(estimates, errors)
        information = np.nansum(np.where(np.isfinite(estimates), sigma**-2.0, np.nan), axis=1)
        return np.where(information > 0, 1 / np.sqrt(np.where(information > 0, information, 1.0)), np.nan)

    def facts(self) -> dict[str, Any]:
        """Return what was learned in plain types."""
        return {
            "response": dict(zip(self.names, self.response.tolist(), strict=True)),
            "inflation": dict(zip(self.names, self.inflation.tolist(), strict=True)),
            "correlation": {name: dict(zip(self.names, row, strict=True))
                            for name, row in zip(self.names, self.correlation.tolist(), strict=True)},
        }  # fmt: skip


def best_linear(values: Floats, sigma: Floats, correlation: Floats) -> tuple[Floats, Floats]:
    """Return x̂ and σ (row,) of estimates and errors (row, estimator) with one correlation of all rows."""
    inverse = np.linalg.inv(correlation) / (sigma[:, :, None] * sigma[:, None, :])
    weight = inverse.sum(axis=2)
    total = weight.sum(axis=1)
    return (weight * values).sum(axis=1) / total, 1 / np.sqrt(total)


def _response(estimate: Floats, error: Floats, truth: Floats) -> float:
    """Return the factor r for which Σ |truth − r · estimate|/error is least: a weighted median of their ratio."""
    there = np.isfinite(estimate) & np.isfinite(error) & (estimate > 0)
    if not there.any():
        return 1.0
    ratio, weight = truth[there] / estimate[there], estimate[there] / error[there]
    order = np.argsort(ratio)
    # a row says as much of the factor as its relative error is small
    share = np.cumsum(weight[order])
    return float(ratio[order][np.searchsorted(share, share[-1] / 2)])


def _correlations(pulls: Floats) -> Floats:
    """Return the correlation of errors (row, estimator), drawn to none where few rows have both; positive definite."""
    clipped = np.clip(pulls, -CLIPPED, CLIPPED)
    count = pulls.shape[1]
    found = np.eye(count)
    for one in range(count):
        for other in range(one):
            both = np.isfinite(clipped[:, one]) & np.isfinite(clipped[:, other])
            a, b = clipped[both, one], clipped[both, other]
            size = np.sqrt((a * a).sum() * (b * b).sum())
            if size > 0:
                drawn = (a * b).sum() / size * both.sum() / (both.sum() + FEWEST_TOGETHER)
                found[one, other] = found[other, one] = np.clip(drawn, -LARGEST_CORRELATION, LARGEST_CORRELATION)
    lowest = np.linalg.eigvalsh(found)[0]
    least = 1 - LARGEST_CORRELATION
    if lowest < least:  # of pairs that were measured on different rows
        shrink = (1 - least) / (1 - lowest)
        found = shrink * found + (1 - shrink) * np.eye(count)
    return found


def _sets(estimates: Floats, errors: Floats) -> dict[tuple[bool, ...], NDArray[np.int64]]:
    """Return the rows of each set of estimators that speak together; rows of which none speaks are left out."""
    there = np.isfinite(estimates) & np.isfinite(errors)
    patterns = np.unique(there[there.any(axis=1)], axis=0)
    return {tuple(map(bool, one)): np.flatnonzero((there == one).all(axis=1)) for one in patterns}


def _calibrated(mean: Floats, std: Floats, truth: Floats) -> Calibration:
    """Return a calibration that is fitted to rows."""
    made = Calibration(1)
    made.fit(_gaussian(mean, std), torch.from_numpy(truth).unsqueeze(1))
    return made


def _gaussian(mean: Floats, std: Floats) -> Gaussian:
    return Gaussian(torch.from_numpy(mean).unsqueeze(1), torch.from_numpy(std).reshape(-1, 1, 1))
