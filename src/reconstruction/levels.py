"""Probabilities that error bars stand for: those of one and of two standard deviations of a Gaussian."""

from __future__ import annotations

CENTRAL_68 = 0.682689492137086
"""Within one standard deviation, erf(1/√2)."""
CENTRAL_95 = 0.954499736103642
"""Within two, erf(2/√2)."""
ENDS_68 = ((1 - CENTRAL_68) / 2, (1 + CENTRAL_68) / 2)
"""Levels of the quantiles that enclose the central 68.27 %."""
ENDS_95 = ((1 - CENTRAL_95) / 2, (1 + CENTRAL_95) / 2)
"""Levels of the quantiles that enclose the central 95.45 %."""
