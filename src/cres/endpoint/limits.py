"""Upper limits on the neutrino mass, from the fitted squared mass, which may be negative."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import chi2

from cres.endpoint.fit import EndpointFit, Likelihood, fit_endpoint

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MassLimit:
    """Upper limits on the mass in eV at a confidence level.

    `profile_ev`: where the likelihood, profiled over everything else and relative to its best physical point, has
    risen by the quantile of χ² with one degree of freedom (two-sided); `feldman_cousins_ev`: the unified interval of a
    normal measurement of m² ≥ 0 with the fit's error towards larger m² (MINOS; below zero the likelihood is not
    parabolic). `sensitivity_ev` is the latter's upper limit for m² = 0.
    """

    confidence: float
    mass_squared_ev2: float
    mass_squared_error_ev2: float
    profile_ev: float
    feldman_cousins_ev: float
    sensitivity_ev: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        return asdict(self)


def mass_limit(likelihood: Likelihood, mass_fit: EndpointFit, confidence: float = 0.9) -> MassLimit:
    """Return the limits for a fit with a free squared mass."""
    value, error = mass_fit.values["mass_squared_ev2"], upper_error(mass_fit)
    upper = feldman_cousins_upper(value / error, confidence) * error
    sensitivity = feldman_cousins_upper(0.0, confidence) * error
    return MassLimit(
        confidence,
        value,
        error,
        float(np.sqrt(_profile_upper(likelihood, mass_fit, confidence))),
        float(np.sqrt(upper)),
        float(np.sqrt(sensitivity)),
    )


def upper_error(mass_fit: EndpointFit) -> float:
    """Return the error of the squared mass towards larger values: MINOS where there is one, HESSE otherwise."""
    hesse = mass_fit.errors["mass_squared_ev2"]
    return mass_fit.minos.get("mass_squared_ev2", (-hesse, hesse))[1]


def _profile_upper(likelihood: Likelihood, mass_fit: EndpointFit, confidence: float) -> float:
    """Return the squared mass at which the profile crosses, counted from the best physical point."""
    value, error = mass_fit.values["mass_squared_ev2"], upper_error(mass_fit)
    start = dict(mass_fit.values)

    # remembered, since a second fit from elsewhere differs in the last digits
    @cache
    def profiled(mass_squared: float) -> float:
        fixed = {"mass_squared_ev2": mass_squared}
        fit = fit_endpoint(likelihood, fixed=fixed, start={**start, **fixed})
        start.update(fit.values)
        return fit.nll

    base = mass_fit.nll if value > 0 else profiled(0.0)
    rise = chi2.ppf(confidence, 1)

    def excess(mass_squared: float) -> float:
        return 2 * (profiled(mass_squared) - base) - rise

    low = max(value, 0.0)
    step = 1.5 * max(error, 1e-6)
    high = low + step
    for _ in range(12):
        if excess(high) >= 0:
            break
        step *= 2
        low, high = high, high + step
    else:
        return float("inf")
    return float(brentq(excess, low, high, xtol=1e-3 * max(error, 1e-6)))


@lru_cache(maxsize=4096)
def feldman_cousins_upper(measured: float, confidence: float = 0.9) -> float:
    """Return the upper end of the unified interval for a mean μ ≥ 0, measured as `measured` with a unit normal error.

    Feldman and Cousins, Phys. Rev. D 57 (1998) 3873, section IV.B (their table X: 1.64 at 0 and 2.64 at 1, 90 %).
    """
    # The lower edge of the acceptance interval rises with μ: the limit is where it passes the measurement.
    low, high = max(measured, 0.0), max(measured, 0.0) + 6.0
    for _ in range(32):
        middle = 0.5 * (low + high)
        if _acceptance(middle, confidence)[0] <= measured:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


@lru_cache(maxsize=65536)
def _acceptance(mean: float, confidence: float) -> tuple[float, float]:
    """Return the interval of measurements that is accepted for a mean, ordered by the likelihood ratio.

    R(x) = exp(−(x−μ)²/2) for x ≥ 0 and exp(xμ − μ²/2) for x < 0. Both ends have one R: x₁ follows from x₂.
    """

    def other_end(upper: float) -> float:
        log_ratio = -0.5 * (upper - mean) ** 2
        symmetric = 2 * mean - upper
        if symmetric >= 0:
            return symmetric
        return (log_ratio + 0.5 * mean**2) / mean if mean > 0 else -np.inf

    def missing(upper: float) -> float:
        return float(ndtr(upper - mean) - ndtr(other_end(upper) - mean)) - confidence

    upper = float(brentq(missing, mean, mean + 10.0))
    return float(other_end(upper)), upper
