"""Is a stated uncertainty honest? Coverage curve, spread against stated uncertainty, and a verdict in one sentence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from cres.evaluation.bootstrap import CENTRAL_68, CENTRAL_95, Array
from cres.evaluation.metrics import coverage, pulls, sigma68

FEWEST = 50
"""Below this number of electrons no verdict is given."""

COVERAGE_TOLERANCE = 0.02
"""Deviation of a coverage from its nominal value that does not matter in practice."""

WIDTH_TOLERANCE = 0.05
"""Deviation of the robust pull width from one that does not matter in practice."""

BIAS_TOLERANCE = 0.1
"""Median pull, in standard deviations, that does not matter in practice."""

_SIGNIFICANCE = 3.0
# Standard errors of a unit Gaussian sample of n, times sqrt(n): of its median, sqrt(π/2), and of its σ68,
# sqrt(p(1 − 2p)/2)/φ(1) with p = 0.1587 the probability beyond one side.
_MEDIAN_ERROR = float(np.sqrt(np.pi / 2))
_TAIL = (1 - CENTRAL_68) / 2
_WIDTH_ERROR = float(np.sqrt(_TAIL * (1 - 2 * _TAIL) / 2) / (np.exp(-0.5) / np.sqrt(2 * np.pi)))


@dataclass(frozen=True)
class Verdict:
    """Whether the stated uncertainties are honest: `calibrated` is None where there are too few electrons to say.

    `findings` are sentences, `label` is one or two words for a table.
    """

    calibrated: bool | None
    label: str
    findings: tuple[str, ...]


def calibration_verdict(residual: Array, std: Array) -> Verdict:
    """Judge stated standard deviations (rows,) by residuals (rows,).

    A deviation counts when it is larger than a practical tolerance and than three standard errors of a sample of this
    size. Over-confidence, under-confidence, bias and heavy tails each have their own finding.
    """
    pull = pulls(residual, std)
    pull = pull[np.isfinite(pull)]
    if len(pull) < FEWEST:
        reason = f"{len(pull)} electrons with an uncertainty are too few for a verdict ({FEWEST} are needed)"
        return Verdict(None, "too few", (reason,))
    findings = {**_bias(pull), **_width(pull)}
    if not findings:
        findings = _tails(pull)
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


def _width(pull: Array) -> dict[str, str]:
    width, inside = sigma68(pull), coverage(pull, np.ones(len(pull)))
    binomial = float(np.sqrt(CENTRAL_68 * (1 - CENTRAL_68)))
    wide = abs(width - 1) > _limit(WIDTH_TOLERANCE, _WIDTH_ERROR, len(pull))
    if not wide and abs(inside - CENTRAL_68) <= _limit(COVERAGE_TOLERANCE, binomial, len(pull)):
        return {}
    confident = "over" if (width > 1 if wide else inside < CENTRAL_68) else "under"
    return {
        f"{confident}-confident": f"{confident}-confident: the 1σ interval holds the truth for {100 * inside:.1f} % "
        f"(68.3 % expected), and pulls are {width:.2f} wide"
    }


def _tails(pull: Array) -> dict[str, str]:
    inside = coverage(pull, np.ones(len(pull)), 2.0)
    binomial = float(np.sqrt(CENTRAL_95 * (1 - CENTRAL_95)))
    if abs(inside - CENTRAL_95) <= _limit(COVERAGE_TOLERANCE, binomial, len(pull)):
        return {}
    shape = "heavy" if inside < CENTRAL_95 else "light"
    return {
        f"{shape} tails": f"{shape} tails: the 2σ interval holds the truth for {100 * inside:.1f} % (95.4 % expected)"
    }


def _limit(tolerance: float, error_of_one: float, count: int) -> float:
    return max(tolerance, _SIGNIFICANCE * error_of_one / float(np.sqrt(count)))
