"""Honest uncertainties for estimators without a likelihood: the spread of their residuals on the training split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cres.errors import UserError
from reconstruction.levels import CENTRAL_68

Array = NDArray[np.float64]
FEWEST_PER_BIN = 25


@dataclass(frozen=True)
class LocalSpread:
    """The half-width that holds 68.27 % of the absolute residuals, as a function of one observed quantity."""

    centres: Array
    widths: Array

    @classmethod
    def fit(cls, observed: Array, residuals: Array, bins: int = 12) -> LocalSpread:
        """Fit on (rows,) training residuals in bins of equal population; fewer bins where rows are few."""
        if len(observed) < FEWEST_PER_BIN:
            message = f"only {len(observed)} training electrons: at least {FEWEST_PER_BIN} are needed for uncertainties"
            raise UserError(message)
        bins = max(1, min(bins, len(observed) // FEWEST_PER_BIN))
        parts = np.array_split(np.argsort(observed, kind="stable"), bins)
        centres = [float(np.median(observed[part])) for part in parts]
        widths = [float(np.quantile(np.abs(residuals[part]), CENTRAL_68)) for part in parts]
        return cls(np.array(centres), np.array(widths))

    def __call__(self, observed: Array) -> Array:
        """Return the standard uncertainty, interpolated between the bins, constant beyond them."""
        return np.interp(observed, self.centres, self.widths)


@dataclass(frozen=True)
class LocalOffset:
    """The median residual as a function of one observed quantity, linear between bins and constant beyond them."""

    centres: Array
    medians: Array

    @classmethod
    def fit(cls, observed: Array, residuals: Array, bins: int = 8) -> LocalOffset:
        """Fit on (rows,) training residuals in bins of equal population; fewer bins where rows are few."""
        bins = max(1, min(bins, len(observed) // FEWEST_PER_BIN))
        parts = np.array_split(np.argsort(observed, kind="stable"), bins)
        medians = [float(np.median(residuals[part])) for part in parts]
        return cls(np.array([float(np.median(observed[part])) for part in parts]), np.array(medians))

    def __call__(self, observed: Array) -> Array:
        """Return the offset."""
        return np.interp(observed, self.centres, self.medians)
