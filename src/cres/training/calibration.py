"""Honest uncertainties: one factor for the stated standard deviations of each target, fitted on validation."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Calibration = Literal["coverage", "likelihood", "none"]

CENTRAL = 0.682689492137086
FEWEST = 20
"""With fewer electrons than this the factor would be noise, and stays 1."""


def fit_temperature(residual: NDArray[Any], std: NDArray[Any], method: Calibration) -> NDArray[np.float64]:
    """Return the factor (target,) that multiplies `std` (rows, target), from residuals of the same shape.

    coverage: the 68.27 % quantile of |residual/std|, so that as many truths lie within one standard deviation; it does
    not look at the tails. likelihood: the rms of residual/std, where the Gaussian likelihood is largest (Guo et al.
    2017, arXiv:1706.04599, for regression); tails widen it.
    """
    factor = np.ones(residual.shape[1])
    if method == "none":
        return factor
    for i in range(residual.shape[1]):
        pull = residual[:, i] / std[:, i]
        pull = np.abs(pull[np.isfinite(pull)])
        if len(pull) >= FEWEST:
            factor[i] = np.quantile(pull, CENTRAL) if method == "coverage" else np.sqrt(np.mean(pull**2))
    return factor
