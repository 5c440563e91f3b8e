"""Energy from the carrier frequency alone: a smooth curve fitted on the training split. What the pitch angle costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cres.errors import UserError
from cres.estimation.simple.local_spread import LocalSpread

Array = NDArray[np.float64]
DEGREE = 7
FEWEST_ELECTRONS = 50
REWEIGHTING_ROUNDS = 20


@dataclass(frozen=True)
class CarrierCurve:
    """Energy (or another target) as a smooth function of the carrier, with the local spread of the training residuals.

    A Chebyshev polynomial minimises the sum of absolute residuals (iteratively reweighted least squares), so that
    records whose highest peak is noise do not bend it.
    """

    polynomial: np.polynomial.Chebyshev
    spread: LocalSpread

    @classmethod
    def fit(cls, carrier_hz: Array, target: Array, degree: int = DEGREE) -> CarrierCurve:
        """Fit on the (rows,) carriers and true values of the training split."""
        if len(carrier_hz) < FEWEST_ELECTRONS:
            message = f"only {len(carrier_hz)} training electrons: a carrier curve needs {FEWEST_ELECTRONS} or more"
            raise UserError(message)
        domain = [float(carrier_hz.min()), float(carrier_hz.max())]
        scale = float(np.std(target)) or 1.0
        weights = np.ones_like(target)
        for _ in range(REWEIGHTING_ROUNDS):
            curve = np.polynomial.Chebyshev.fit(carrier_hz, target, degree, domain=domain, w=np.sqrt(weights))
            weights = 1 / np.hypot((target - curve(carrier_hz)) / scale, 1e-2)
        return cls(curve, LocalSpread.fit(carrier_hz, target - curve(carrier_hz)))

    def __call__(self, carrier_hz: Array) -> tuple[Array, Array]:
        """Return the value and its standard uncertainty; carriers beyond the training range count as its ends."""
        inside = np.clip(carrier_hz, *self.polynomial.domain)
        return self.polynomial(inside), self.spread(inside)
