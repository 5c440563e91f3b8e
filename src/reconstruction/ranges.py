"""What numbers may be: intervals with or without their ends, and those that are used everywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Allowed:
    """Numbers from `low` to `high`, with or without the ends."""

    low: float | int = -math.inf
    high: float | int = math.inf
    above: bool = False
    """Whether `low` itself is excluded."""
    below: bool = False
    """Whether `high` itself is excluded."""

    def __contains__(self, number: float | int) -> bool:
        if not math.isfinite(number):
            return False
        low = number > self.low if self.above else number >= self.low
        return low and (number < self.high if self.below else number <= self.high)

    def __str__(self) -> str:
        """Say what is allowed."""
        low = "" if self.low == -math.inf else f"{'more than ' if self.above else ''}{self.low:g}"
        if self.high >= LARGE:
            return f"{low}{'' if self.above else ' or more'}" if low else "a finite number"
        high = f"{'less than ' if self.below else ''}{self.high:g}"
        return f"from {low} to {high}" if low else f"{high} or less"

    def wanted(self, number: float | int) -> str:
        """Say what is allowed to who gave another number: the upper end, too, where it lies beyond a large one."""
        return f"at most {self.high}" if LARGE <= self.high < number < math.inf else str(self)


LARGE = 2**31 - 1
"""From here on, an upper end is one that nobody means: only who gives more is told it."""

FINITE = Allowed()
SIZE = Allowed(1, LARGE)
COUNT = Allowed(0, 2**63 - 1)
SEED = Allowed(0, 2**32 - 1)
POSITIVE = Allowed(0, above=True)
NOT_NEGATIVE = Allowed(0)
SHARE = Allowed(0, 1)
PROBABILITY = Allowed(0, 1, below=True)
