"""Mass peaks fitted by iminuit: unbinned extended likelihood, errors, goodness in bins, toys."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from iminuit import Minuit
from iminuit.cost import ExtendedUnbinnedNLL, NormalConstraint
from scipy.stats import chi2

from collider.detectors.particles import Floats
from collider.detectors.physics import densities

FEWEST: Final = 30
"""Events in a window with which a peak is fitted."""
LEAST_IN_A_BIN: Final = 5.0
TAIL_POWER: Final = 3.0
"""Of both tails: a few hundred events do not tell it."""
MASS, SIGMA, SIGNAL, BACKGROUND = "mass", "sigma", "signal", "background"
LOW, HIGH, SLOPE = "low_tail", "high_tail", "slope"
HELD: Final = {LOW: (1.5, 0.5), HIGH: (2.0, 0.5), SLOPE: (0.0, 2.0)}
"""Where tails begin, in σ, and the slope of the background across half of the window: few events tell little."""
_NO_TAILS: Final = (6.0, 3.0, 6.0, 3.0)
_NOTHING: Final = 0.5
"""Fewer expected events of a background than that are none: it is left out of the fit."""


@dataclass(frozen=True)
class PeakModel:
    """A peak over a background in a window, all in GeV.

    mass_gev: where it begins to look; sigma_gev: the same of the resolution; width_gev: of the Breit–Wigner
    distribution, None for a Crystal Ball function alone; tails: whether its two tails are fitted, else it is a Gaussian
    distribution; degree: of the background's polynomial, None for an exponential. held: parameters that a Gaussian term
    in the likelihood holds near a value, with its spread.
    """

    window_gev: tuple[float, float]
    mass_gev: float
    sigma_gev: float
    width_gev: float | None = None
    tails: bool = True
    degree: int | None = None
    held: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def below(self) -> list[str]:
        """Names of the yields of the background."""
        return [BACKGROUND] if self.degree is None else [f"{BACKGROUND}_{i}" for i in range(self.degree + 1)]

    @property
    def names(self) -> list[str]:
        """Names of the parameters, in order."""
        shape = [MASS, SIGMA, *([LOW, HIGH] if self.tails else [])]
        return [*shape, SIGNAL, *self.below, *([SLOPE] if self.degree is None else [])]

    @property
    def constraints(self) -> dict[str, tuple[float, float]]:
        """What is held near a value."""
        return {name: pair for name, pair in (HELD | dict(self.held)).items() if name in self.names}

    def start(self, masses: Floats) -> dict[str, float]:
        """Return where a fit of these masses begins."""
        count = len(masses)
        begin = {SIGMA: self.sigma_gev, LOW: 1.5, HIGH: 2.0, SLOPE: 0.0, SIGNAL: 0.8 * count, MASS: self.mass_gev}
        return {name: begin.get(name, 0.2 * count / len(self.below)) for name in self.names}

    def limits(self, name: str, count: int) -> tuple[float, float]:
        """Return between what a parameter is fitted."""
        low, high = self.window_gev
        known = {
            MASS: (low, high),
            SIGMA: (0.05 * self.sigma_gev, (high - low) / 2),
            LOW: (0.2, 6.0),
            HIGH: (0.2, 6.0),
            SLOPE: (-8.0, 8.0),
        }
        return known.get(name, (0.0, 2.0 * count + 10))

    def parts(self, x: Floats, values: Mapping[str, float]) -> tuple[Floats, Floats]:
        """Return the expected events for each GeV at masses, of the peak and of the background."""
        tails = (values[LOW], TAIL_POWER, values[HIGH], TAIL_POWER) if self.tails else _NO_TAILS
        shape = (x, self.window_gev, values[MASS], values[SIGMA], tails)
        peak = densities.peak(*shape) if self.width_gev is None else densities.resonance(*shape, self.width_gev)
        if self.degree is None:
            below = values[BACKGROUND] * densities.exponential(x, self.window_gev, values[SLOPE])
        else:
            terms = [densities.bernstein(x, self.window_gev, i, self.degree) for i in range(self.degree + 1)]
            below = np.sum([values[name] * term for name, term in zip(self.below, terms, strict=True)], axis=0)
        return values[SIGNAL] * peak, below

    def total(self, values: Mapping[str, float]) -> float:
        """Return the expected events in the window."""
        return values[SIGNAL] + sum(values[name] for name in self.below)

    def inside(self, masses: Floats) -> Floats:
        """Return the masses within the window."""
        low, high = self.window_gev
        return np.asarray(masses[(masses >= low) & (masses <= high)], dtype=np.float64)


@dataclass(frozen=True)
class PeakFit:
    """What a fit says; `said` is a sentence where there is none.

    values, errors: by parameter, GeV and events; chi2 with ndof degrees of freedom, in bins of five expected events or
    more; edges, counts, expected: those bins.
    """

    model: PeakModel
    events: int
    values: Mapping[str, float] = field(default_factory=dict)
    errors: Mapping[str, float] = field(default_factory=dict)
    valid: bool = False
    chi2: float = float("nan")
    ndof: int = 0
    edges: Floats = field(default_factory=lambda: np.zeros(0))
    counts: Floats = field(default_factory=lambda: np.zeros(0))
    expected: Floats = field(default_factory=lambda: np.zeros(0))
    said: str = ""

    @property
    def probability(self) -> float:
        """Probability of a larger χ²."""
        return float(chi2.sf(self.chi2, self.ndof)) if self.ndof > 0 else float("nan")

    @property
    def pulls(self) -> Floats:
        """(counted − expected)/√expected of each bin."""
        return (self.counts - self.expected) / np.sqrt(np.maximum(self.expected, 1e-9))

    def to_dict(self) -> dict[str, Any]:
        """Return it in plain types."""
        found: dict[str, Any] = {"events": self.events, "window_gev": list(self.model.window_gev)}
        if self.said:
            return found | {"no_fit": self.said}
        units = {MASS: "mass_gev", SIGMA: "resolution_gev", LOW: "low_tail_sigma", HIGH: "high_tail_sigma"}
        parameters = {
            units.get(name, name): {
                "value": value,
                "error": self.errors[name] if math.isfinite(self.errors[name]) else None,
            }
            for name, value in self.values.items()
        }
        probability = self.probability if self.ndof > 0 else None
        return (
            found | parameters | {"valid": self.valid, "chi2": self.chi2, "ndof": self.ndof, "probability": probability}
        )


def fitted(masses: Floats, model: PeakModel) -> PeakFit:
    """Return the fit of a peak; too few events, or a fit that does not converge, say so."""
    inside = model.inside(masses)
    count = len(inside)
    if count < FEWEST:
        return PeakFit(model, count, said=f"{count} events between {model.window_gev[0]:g} and {model.window_gev[1]:g} "
                       f"GeV: a fit takes {FEWEST}")  # fmt: skip
    minimum = _minimised(inside, model)
    if not np.isfinite(minimum.fval):
        return PeakFit(model, count, said=f"the fit of {count} events did not converge")
    values, errors = minimum.values.to_dict(), minimum.errors.to_dict()
    errors = {name: math.nan if minimum.fixed[name] else float(errors[name]) for name in values}
    values[BACKGROUND], errors[BACKGROUND] = _background(minimum, model)
    edges, counts, expected = _binned(inside, model, values)
    ndof = len(counts) - minimum.nfit
    valid = bool(minimum.valid and minimum.accurate)  # a covariance that is not HESSE's states no errors
    statistic = float(((counts - expected) ** 2 / expected).sum())
    return PeakFit(model, count, values, errors, valid, statistic, ndof, edges, counts, expected)


def _background(minimum: Minuit, model: PeakModel) -> tuple[float, float]:
    """Return the sum of the background's yields and its error, NaN where none is fitted."""
    total = sum(minimum.values[name] for name in model.below)
    fitted = [name for name in model.below if not minimum.fixed[name]]
    if not fitted or minimum.covariance is None:
        return total, math.nan
    variance = sum(minimum.covariance[one, other] for one in fitted for other in fitted)
    return total, math.sqrt(max(variance, 0.0))


def _minimised(inside: Floats, model: PeakModel) -> Minuit:
    def density(x: Floats, *values: float) -> tuple[float, Floats]:
        named = dict(zip(model.names, values, strict=True))
        peak, below = model.parts(x, named)
        return model.total(named), peak + below + 1e-12

    cost = ExtendedUnbinnedNLL(inside, density, name=model.names)
    for name, (value, spread) in model.constraints.items():
        cost = cost + NormalConstraint(name, value, spread)
    minimum = Minuit(cost, **model.start(inside))
    for name in model.names:
        minimum.limits[name] = model.limits(name, len(inside))
    minimum.migrad()
    if not minimum.valid:
        minimum.simplex().migrad()
    _without_nothing(minimum, model)
    minimum.hesse()
    return minimum


def _without_nothing(minimum: Minuit, model: PeakModel) -> None:
    """Leave out parts of the background of which there is nothing: at a limit errors are none."""
    while empty := [one for one in model.below if not minimum.fixed[one] and minimum.values[one] < _NOTHING]:
        for name in empty:
            minimum.values[name] = 0.0
            minimum.fixed[name] = True
        if SLOPE in model.names:
            minimum.fixed[SLOPE] = True
        minimum.migrad()  # without them another one may be nothing, too


def _binned(inside: Floats, model: PeakModel, values: Mapping[str, float]) -> tuple[Floats, Floats, Floats]:
    """Return edges of bins with LEAST_IN_A_BIN expected events or more, and what is counted and expected in each."""
    grid = np.linspace(*model.window_gev, 2001)
    density = np.add(*model.parts(grid, values))
    running = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(grid))])
    bins = int(np.clip(np.sqrt(len(inside)) * 2, 5, 60))
    starts = [0]
    least = max(LEAST_IN_A_BIN, running[-1] / (4 * bins))
    narrowest = len(grid) // bins
    for place in range(1, len(grid)):
        if running[place] - running[starts[-1]] >= least and place - starts[-1] >= narrowest:
            starts.append(place)
    if len(starts) > 1 and running[-1] - running[starts[-1]] < least:
        starts.pop()
    starts = [*starts, len(grid) - 1] if starts[-1] != len(grid) - 1 else starts
    edges = grid[starts]
    counts = np.histogram(inside, edges)[0].astype(np.float64)
    return edges, counts, np.diff(running[starts])
