"""Intervals of the squared neutrino mass and limits on the mass: three constructions, side by side.

None rests on the curvature of the likelihood at its minimum: near m² = 0 and for few electrons it is no parabola.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import chi2

from cres.endpoint.belt import Belt, from_profile, make_belt
from cres.endpoint.mass_scan import MassProfile, marginal, scan
from cres.endpoint.smeared import ScanSample, SmearedSpectra

Array = NDArray[np.float64]

SMALLEST_TAIL = 0.01
"""A posterior that still has this part of its peak at the largest squared mass is cut there, not ended."""
BELT_MASSES = 7
DEFAULT_TOYS = 60


@dataclass(frozen=True)
class MassInterval:
    """An interval of m² in eV²; `high_ev2` is infinite where the scan ends before the interval does."""

    low_ev2: float
    high_ev2: float

    @property
    def limit_ev(self) -> float:
        """Upper limit on the mass."""
        return float(np.sqrt(self.high_ev2))

    def holds(self, mass_squared_ev2: float) -> bool:
        """Return whether a squared mass lies inside."""
        return bool(self.low_ev2 <= mass_squared_ev2 <= self.high_ev2)

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        return asdict(self) | {"limit_ev": self.limit_ev}


@dataclass(frozen=True)
class MassLimits:
    """What a data set says about the squared mass at a confidence level.

    `best_ev2` with the 68 % interval of the profile likelihood (`lower_ev2`, `upper_ev2`, which are errors with sign;
    nan where the scan does not reach them); `neyman` (None without pseudo-experiments) with Feldman–Cousins ordering
    and the `belt` of its critical values; `profile`, where 2 Δ(−ln L) over the best m² ≥ 0 stays below the quantile of
    χ² with one degree of freedom; `bayesian`, from 0 to the quantile of the posterior that is flat in 0 ≤ m² ≤
    `scanned_to_ev2`. `posterior_open` tells that this upper end of the prior, not the data, ends it.
    """

    confidence: float
    electrons: int
    best_ev2: float
    lower_ev2: float
    upper_ev2: float
    neyman: MassInterval | None
    profile: MassInterval
    bayesian: MassInterval
    scanned_to_ev2: float
    posterior_open: bool
    scanned: MassProfile
    posterior: Array
    belt: Belt | None

    def problems(self) -> list[str]:
        """Return what the reader has to know, a sentence each."""
        said = []
        if not np.isfinite(self.upper_ev2):
            said.append(
                f"the likelihood does not fall towards large masses: m² is not measured ({self.electrons} electrons)"
            )
        elif self.best_ev2 <= self.scanned.mass_squared_ev2[0]:
            said.append(f"the best m² lies below {self.best_ev2:.0f} eV², where the scan begins")
        if self.posterior_open:
            said.append(
                f"the Bayesian mass limit rests on the prior's upper end, {np.sqrt(self.scanned_to_ev2):.0f} eV: "
                "the data do not exclude it"
            )
        return said

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        return {
            "confidence": self.confidence,
            "mass_squared_ev2": self.best_ev2,
            "mass_squared_errors_ev2": [self.lower_ev2, self.upper_ev2],
            "neyman": None if self.neyman is None else self.neyman.to_dict(),
            "profile": self.profile.to_dict(),
            "bayesian": self.bayesian.to_dict(),
            "prior_upper_end_ev2": self.scanned_to_ev2,
            "belt": None if self.belt is None else self.belt.to_dict(),
            "problems": self.problems(),
        }


def mass_grid_ev2(largest_mass_ev: float, negative: bool = True) -> Array:
    """Return squared masses to scan: fine near zero, to `largest_mass_ev`, and the mirror image of half of them."""
    masses = np.concatenate([np.arange(0.0, 20.0, 2.0), np.arange(20.0, 40.0, 4.0), np.arange(40.0, 1e3, 8.0)])
    masses = np.append(masses[masses < 0.95 * largest_mass_ev], largest_mass_ev)
    below = -(masses[masses > 0][::2][::-1] ** 2) if negative else np.empty(0)
    return np.concatenate([below, masses**2])


def mass_limits(
    spectra: SmearedSpectra, sample: ScanSample, confidence: float = 0.9, toys: int = DEFAULT_TOYS, seed: int = 0
) -> MassLimits:
    """Return the three constructions for electrons; `toys` pseudo-experiments at each of seven masses make the belt."""
    scanned = scan(spectra, sample)
    belt = None
    if toys:
        first = int(np.searchsorted(spectra.mass_squared_ev2, 0.0))
        chosen = np.unique(np.linspace(first, len(spectra.mass_squared_ev2) - 1, BELT_MASSES).astype(int))
        belt = make_belt(spectra, from_profile(scanned, len(sample)), chosen.tolist(), toys, confidence, seed)
    return construct(spectra, sample, scanned, belt, confidence)


def construct(
    spectra: SmearedSpectra, sample: ScanSample, scanned: MassProfile, belt: Belt | None, confidence: float
) -> MassLimits:
    """Return the three constructions from a scanned likelihood and a belt."""
    physical = scanned.physical()
    squares, rise = physical.mass_squared_ev2, physical.rise()
    best, lowest = scanned.best()
    errors = _crossings(scanned.mass_squared_ev2, 2 * (scanned.nll - lowest) - 1.0, best)
    logarithm = marginal(spectra, sample, physical)
    posterior = np.exp(logarithm - logarithm.max())
    return MassLimits(
        confidence,
        len(sample),
        best,
        errors[0] - best,
        errors[1] - best,
        None if belt is None else accepted(squares, rise - belt.at(squares)),
        accepted(squares, rise - chi2.ppf(confidence, 1)),
        MassInterval(0.0, _quantile(squares, posterior, confidence)),
        float(squares[-1]),
        bool(posterior[-1] > SMALLEST_TAIL),
        scanned,
        posterior,
        belt,
    )


def accepted(squares: Array, excess: Array) -> MassInterval:
    """Return the hull of where `excess` is not positive, linear between the points; at least the lowest point."""
    inside = np.flatnonzero(excess <= 0)
    if not len(inside):
        lowest = float(squares[int(np.argmin(excess))])
        return MassInterval(lowest, lowest)
    first, last = int(inside[0]), int(inside[-1])
    low = float(squares[0]) if first == 0 else _zero(squares, excess, first - 1)
    high = float("inf") if last == len(squares) - 1 else _zero(squares, excess, last)
    return MassInterval(low, high)


def _zero(x: Array, y: Array, left: int) -> float:
    return float(x[left] + (x[left + 1] - x[left]) * y[left] / (y[left] - y[left + 1]))


def _crossings(x: Array, excess: Array, best: float) -> tuple[float, float]:
    """Return where `excess` becomes positive on either side of the best point; nan where it does not."""
    below = np.flatnonzero((x < best) & (excess > 0))
    above = np.flatnonzero((x > best) & (excess > 0))
    low = float("nan") if not len(below) else _zero(x, excess, int(below[-1]))
    high = float("nan") if not len(above) else _zero(x, excess, int(above[0]) - 1)
    return low, high


def _quantile(x: Array, density: Array, probability: float) -> float:
    fine = np.linspace(x[0], x[-1], 20_001)
    cumulative = np.cumsum(np.exp(np.interp(fine, x, np.log(np.maximum(density, 1e-300)))))
    return float(np.interp(probability * cumulative[-1], cumulative, fine))


@lru_cache(maxsize=4096)
def feldman_cousins_upper(measured: float, confidence: float = 0.9) -> float:
    """Return the upper end of the unified interval for a mean μ ≥ 0, measured as `measured` with a unit normal error.

    Feldman and Cousins, Phys. Rev. D 57 (1998) 3873, section IV.B (their table X: 1.64 at 0 and 2.64 at 1, 90 %). For
    what is normal: the sensitivities of large experiments.
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
