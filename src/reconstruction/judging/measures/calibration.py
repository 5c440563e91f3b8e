"""Is a stated uncertainty honest? Coverage curve, spread against stated uncertainty, and a verdict in one sentence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from reconstruction.judging.measures.bootstrap import Array
from reconstruction.judging.measures.metrics import coverage, pulls
from reconstruction.judging.tables.judged import rows_word
from reconstruction.levels import CENTRAL_68, CENTRAL_95

FEWEST = 50
"""Below this number of rows no verdict is given."""

COVERAGE_TOLERANCE = 0.02
"""Deviation of a coverage from its nominal value that does not matter in practice."""

BIAS_TOLERANCE = 0.1
"""Median pull, in standard deviations, that does not matter in practice."""

_SIGNIFICANCE = 3.0
# Standard error of the median of a unit Gaussian sample of n, times sqrt(n).
_MEDIAN_ERROR = float(np.sqrt(np.pi / 2))


@dataclass(frozen=True)
class Verdict:
    """Whether the stated uncertainties are honest: `calibrated` is None where there are too few rows to say.

    `findings` are sentences, `label` is one or two words for a table.
    """

    calibrated: bool | None
    label: str
    findings: tuple[str, ...]


def calibration_verdict(residual: Array, std: Array, two_sigma: Array | None = None) -> Verdict:
    """Judge stated standard deviations (rows,) by residuals (rows,).

    `two_sigma` is the distance to the stated 95.45 % limit on the truth's side, two standard deviations where it is not
    given. What is judged are the figures of the tables themselves, their 1σ and 2σ coverage and their pull bias, so
    that words and figures cannot disagree. A deviation counts when it is larger than a practical tolerance and than
    three standard errors of a sample of this size. Over-confidence, under-confidence, bias and heavy tails each have
    their own finding.
    """
    pull = pulls(residual, std)
    pull = pull[np.isfinite(pull)]
    two_sigma = 2 * std if two_sigma is None else two_sigma
    if len(pull) < FEWEST:
        reason = f"{len(pull)} {rows_word()} with an uncertainty are too few for a verdict ({FEWEST} are needed)"
        return Verdict(None, "too few", (reason,))
    findings = {**_bias(pull), **_width(coverage(residual, std), len(pull))}
    if not findings:
        findings = _tails(coverage(residual, two_sigma), len(pull))
    if not findings:
        return Verdict(True, "calibrated", ("the stated intervals hold the truth as often as they say",))
    return Verdict(False, " and ".join(findings), tuple(findings.values()))


def coverage_curve(residual: Array, std: Array, points: int = 41) -> tuple[Array, Array, Array]:
    """Return nominal probability, observed coverage of the central interval, and its binomial standard error."""
    pull = np.abs(pulls(residual, std))
    pull = np.sort(pull[np.isfinite(pull)])
    nominal = np.linspace(0, 1, points)[1:-1]
    if not len(pull):
        return nominal, np.full(len(nominal), np.nan), np.full(len(nominal), np.nan)
    observed = np.searchsorted(pull, ndtri(0.5 + nominal / 2), side="right") / len(pull)
    return nominal, observed, np.sqrt(nominal * (1 - nominal) / len(pull))


def _bias(pull: Array) -> dict[str, str]:
    median = float(np.median(pull))
    if abs(median) <= _limit(BIAS_TOLERANCE, _MEDIAN_ERROR, len(pull)):
        return {}
    side = "high" if median > 0 else "low"
    return {"biased": f"biased: half of the estimates are more than {abs(median):.2f} σ too {side}"}


def _width(inside: float, count: int) -> dict[str, str]:
    if not _differs(inside, CENTRAL_68, count):
        return {}
    confident = "over-confident" if inside < CENTRAL_68 else "under-confident"
    return {
        confident: f"{confident}: the stated 1σ interval holds the truth for {100 * inside:.1f} % (68.3 % expected)"
    }


def _tails(inside: float, count: int) -> dict[str, str]:
    if not _differs(inside, CENTRAL_95, count):
        return {}
    tails = "heavy tails" if inside < CENTRAL_95 else "light tails"
    return {tails: f"{tails}: the stated 95.4 % interval holds the truth for {100 * inside:.1f} %"}


def _differs(inside: float, nominal: float, count: int) -> bool:
    binomial = float(np.sqrt(nominal * (1 - nominal)))
    return abs(inside - nominal) > _limit(COVERAGE_TOLERANCE, binomial, count)


def _limit(tolerance: float, error_of_one: float, count: int) -> float:
    return max(tolerance, _SIGNIFICANCE * error_of_one / float(np.sqrt(count)))
