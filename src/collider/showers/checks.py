"""One check of a simulation: what was measured, what is expected, how far apart they may be, and how likely that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from scipy.stats import norm

LEVEL: Final = 0.01
"""A report fails when the least of the p-values, corrected for their number, is below."""


@dataclass(frozen=True)
class Check:
    """A measured figure beside an expected one.

    uncertainty: statistical, one standard deviation, of their difference; tolerance: what the reference itself may be
    off, allowed before statistics begin. p_value: chance of a difference so far beyond the tolerance, or larger.
    corrected_p: after Holm's correction for the number of checks.
    """

    name: str
    reference: str
    measured: float
    expected: float
    uncertainty: float
    tolerance: float
    unit: str
    source: str
    corrected_p: float = float("nan")

    @property
    def p_value(self) -> float:
        """Two-sided, of the part of the difference that the tolerance leaves."""
        beyond = max(0.0, abs(self.measured - self.expected) - self.tolerance)
        if beyond == 0:
            return 1.0
        return float(2 * norm.sf(beyond / self.uncertainty)) if self.uncertainty > 0 else 0.0

    @property
    def passed(self) -> bool:
        """Whether the corrected p-value is above the level."""
        return self.corrected_p >= LEVEL

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, and whether it passed."""
        return {**vars(self), "p_value": self.p_value, "passed": self.passed}


def corrected(checks: Sequence[Check]) -> list[Check]:
    """Return the checks with p-values corrected for their number: Holm, Scand. J. Statist. 6 (1979) 65."""
    order = np.argsort([check.p_value for check in checks])
    adjusted = np.zeros(len(checks))
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(checks) - rank) * checks[i].p_value))
        adjusted[i] = largest
    return [replace(check, corrected_p=float(p)) for check, p in zip(checks, adjusted, strict=True)]
