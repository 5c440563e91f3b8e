"""The binned twin of the likelihood: Poisson counts in bins of calibrated energy, one average resolution."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy
from scipy.stats import chi2

from cres.endpoint.efficiency import ENERGY_UNIT_EV
from cres.endpoint.likelihood import (
    SMALLEST_DENSITY,
    Constraint,
    FitWindow,
    Physics,
    Values,
    efficiency_change,
    lagrange_weights,
    place_in,
    resolution_nodes,
    spectrum_model,
)
from cres.endpoint.response import Response

Array = NDArray[np.float64]


@dataclass
class BinnedLikelihood:
    """Poisson likelihood of a histogram, relative to the saturated model, so that 2 nll tests the fit's goodness.

    `bins` over the window. The resolution is the average over all classes of stated uncertainty: what each electron
    knows about itself is lost, which costs precision beside the unbinned likelihood.
    """

    energy_ev: Array
    std_ev: Array
    response: Response
    window: FitWindow
    physics: Physics = field(default_factory=Physics)
    constraints: Mapping[str, Constraint] = field(default_factory=dict)
    bins: int = 90

    def __post_init__(self) -> None:
        """Select and histogram the electrons, and build the migration matrix."""
        usable = self.response.passes(self.std_ev) & np.isfinite(self.energy_ev)
        calibrated, _ = self.response.calibrate(self.energy_ev[usable], self.std_ev[usable])
        self.calibrated_ev = calibrated[self.window.contains(calibrated)]
        self.edges_ev = np.linspace(self.window.low_ev, self.window.high_ev, self.bins + 1)
        self.counts = np.histogram(self.calibrated_ev, self.edges_ev)[0].astype(np.float64)
        self.model = spectrum_model(self.window, self.physics)
        self._distance = (self.model.grid_ev - self.response.centre_ev) / ENERGY_UNIT_EV
        self._place = place_in(self.window, self.model.grid_ev)
        centres = 0.5 * (self.edges_ev[1:] + self.edges_ev[:-1])
        self._from_middle = 0.5 * self.window.width_ev * place_in(self.window, centres) / ENERGY_UNIT_EV
        self._scales = resolution_nodes(self.constraints)
        self._migration = [self.response.probability_in(self.model.grid_ev, self.edges_ev, s) for s in self._scales]

    @property
    def electrons(self) -> int:
        """Number of electrons in the histogram."""
        return round(float(self.counts.sum()))

    @property
    def calibrated_range_ev(self) -> tuple[float, float]:
        """Edges of the lowest and of the highest bin with electrons."""
        filled = np.flatnonzero(self.counts)
        if not len(filled):
            return self.window.low_ev, self.window.high_ev
        return float(self.edges_ev[filled[0]]), float(self.edges_ev[filled[-1] + 1])

    def expected(self, values: Values) -> Array:
        """Return the expected electrons in each bin, (bin,)."""
        shape = self.model.varied(values) * efficiency_change(values, self._distance, self._place)
        weights = lagrange_weights(values["resolution_scale"], self._scales)
        signal = sum((w * (shape @ m) for w, m in zip(weights, self._migration, strict=True)), np.zeros(self.bins))
        signal = np.maximum(signal, 0.0)
        total = max(float(signal.sum()), SMALLEST_DENSITY)
        tilt = np.maximum(1 + values["background_slope"] * self._from_middle, 0.0)
        return values["signal"] * signal / total + values["background"] / self.bins * tilt

    def nll(self, values: Values) -> float:
        """Return −ln L relative to the saturated model (half the Baker–Cousins χ²), with constraints."""
        expected = np.maximum(self.expected(values), SMALLEST_DENSITY)
        poisson = expected - self.counts + xlogy(self.counts, self.counts / expected)
        penalty = sum(constraint.penalty(values[name]) for name, constraint in self.constraints.items())
        return float(poisson.sum() + penalty)

    def refilled(self, calibrated_ev: Array) -> BinnedLikelihood:
        """Return the same likelihood for other electrons, given by calibrated energies; nothing else is computed."""
        other = copy(self)
        other.calibrated_ev = calibrated_ev[self.window.contains(calibrated_ev)]
        other.counts = np.histogram(other.calibrated_ev, self.edges_ev)[0].astype(np.float64)
        return other

    def asimov(self, values: Values) -> BinnedLikelihood:
        """Return the same likelihood for the data set that the parameters expect, which has no fluctuations."""
        other = copy(self)
        other.counts = self.expected(values)
        return other

    def goodness(self, values: Values, free: int) -> tuple[float, int, float]:
        """Return Baker–Cousins χ², degrees of freedom and p-value, with bins merged until each expects 5 electrons."""
        expected, counts = _merged(self.expected(values), self.counts, 5.0)
        statistic = float(2 * (expected - counts + xlogy(counts, counts / expected)).sum())
        degrees = max(len(counts) - free, 1)
        return statistic, degrees, float(chi2.sf(statistic, degrees))


def _merged(expected: Array, counts: Array, minimum: float) -> tuple[Array, Array]:
    """Merge neighbours from the left until each expects `minimum`; the rest joins the last one."""
    edges = [0]
    total = 0.0
    for index, value in enumerate(expected):
        total += value
        if total >= minimum:
            edges.append(index + 1)
            total = 0.0
    starts = np.array(edges[:-1] if len(edges) > 1 else [0])
    return np.add.reduceat(expected, starts), np.add.reduceat(counts, starts)
