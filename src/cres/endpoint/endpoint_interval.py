"""Intervals of the endpoint that hold what they say, also for few electrons and where the likelihood is no parabola.

The interval is where 2 Δ(−ln L), profiled over the numbers of electrons, stays below a critical value: 1 for many
electrons (68 %, Wilks); for few it is measured on pseudo-experiments of the fitted model, because then the electrons
nearest to the endpoint decide, and the statistic is wider than χ². The same pseudo-experiments say how far the largest
likelihood lies from the truth in the median.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.stats import chi2

from cres.endpoint.belt import Expectation, draw_sample
from cres.endpoint.fit import EndpointFit
from cres.endpoint.likelihood import FitWindow, Physics
from cres.endpoint.mass_scan import edge_profile, scan
from cres.endpoint.response import Response
from cres.endpoint.smeared import ScanSample, SmearedSpectra
from reconstruction.levels import CENTRAL_68

Array = NDArray[np.float64]


FEW_ELECTRONS = 200
"""With fewer electrons the critical value is measured."""
INTERVAL_TOYS = 400
FINE_STEPS = 40
NEAR_SIGMAS, NEAREST_EV = 8.0, 4.0
"""The profile is first taken this near to its lowest point, in expected standard deviations and in eV."""


@dataclass(frozen=True)
class EndpointInterval:
    """The 68 % interval of the endpoint in eV and the critical value it rests on; `toys` 0: that of χ².

    An end is nan where the likelihood does not rise to the critical value within the window. `bias_ev` is the median
    distance of the best endpoint from the true one in the pseudo-experiments, nan without them.
    """

    best_ev: float
    low_ev: float
    high_ev: float
    critical: float
    toys: int
    bias_ev: float = float("nan")

    @property
    def median_unbiased_ev(self) -> float:
        """The best endpoint less its expected bias, as often above the truth as below; nan without a bias."""
        return self.best_ev - self.bias_ev

    @property
    def found(self) -> bool:
        """Whether both ends were found."""
        return bool(np.isfinite(self.low_ev) and np.isfinite(self.high_ev))

    def holds(self, endpoint_ev: float) -> bool:
        """Return whether an endpoint lies inside; an end that was not found is open."""
        return not (endpoint_ev < self.low_ev or endpoint_ev > self.high_ev)

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        return asdict(self)


def massless(response: Response, window: FitWindow, physics: Physics) -> SmearedSpectra:
    """Return the tables of a massless neutrino, whose edge is the endpoint."""
    return SmearedSpectra(response, window, physics, np.zeros(1))


def endpoint_interval(
    spectra: SmearedSpectra, sample: ScanSample, *, toys: int | None = None, seed: int = 0
) -> EndpointInterval:
    """Return the interval; `toys` None: 400 pseudo-experiments for fewer than 200 electrons, none for more."""
    number = (INTERVAL_TOYS if len(sample) < FEW_ELECTRONS else 0) if toys is None else toys
    critical, bias = float(chi2.ppf(CENTRAL_68, 1)), float("nan")
    centre = float(scan(spectra, sample).edge_ev[0])
    if number:
        expected = fitted_expectation(spectra, sample)
        statistic, distance = endpoint_statistics(spectra, expected, number, seed)
        critical, bias = float(np.quantile(statistic, CENTRAL_68)), float(np.median(distance))
    reach = max(NEAR_SIGMAS * spectra.window.width_ev / np.sqrt(3 * max(len(sample), 1)), NEAREST_EV)
    for edges in (np.flatnonzero(np.abs(spectra.edges_ev - centre) < reach), np.arange(len(spectra.edges_ev))):
        best, low, high = _crossings(spectra, sample, edges, critical)
        if np.isfinite(low) and np.isfinite(high):
            break
    offset = spectra.physics.endpoint_offset_ev
    return EndpointInterval(best + offset, low + offset, high + offset, critical, number, bias)


def interval_of_profile(fit: EndpointFit) -> EndpointInterval:
    """Return the interval of a fit's own profile (MINOS); an end is nan where it found none."""
    low, high = fit.minos.get("endpoint_ev", (float("nan"), float("nan")))
    best = fit.endpoint_ev
    return EndpointInterval(best, best + low, best + high, float(chi2.ppf(CENTRAL_68, 1)), 0)


def _crossings(
    spectra: SmearedSpectra, sample: ScanSample, edges: NDArray[np.int64], critical: float
) -> tuple[float, float, float]:
    """Return the best of some edges and where 2 Δ(−ln L) crosses the critical value on either side, nan if nowhere."""
    at = spectra.edges_ev[edges]
    rise = CubicSpline(at, 2 * edge_profile(spectra, sample, edges=edges))
    fine = np.linspace(at[0], at[-1], FINE_STEPS * (len(at) - 1) + 1)
    values = rise(fine)
    lowest = int(np.argmin(values))
    outside = values - values[lowest] > critical
    below, above = np.flatnonzero(outside[:lowest]), np.flatnonzero(outside[lowest:])
    low = float(fine[below[-1] + 1]) if len(below) else float("nan")
    high = float(fine[lowest + above[0] - 1]) if len(above) else float("nan")
    return float(fine[lowest]), low, high


def fitted_expectation(spectra: SmearedSpectra, sample: ScanSample) -> Expectation:
    """Return the massless model that fits a sample best."""
    profile = scan(spectra, sample)
    share = float(profile.background_share[0])
    return Expectation(float(profile.edge_ev[0]), len(sample) * (1 - share), len(sample) * share)


def endpoint_statistics(
    spectra: SmearedSpectra, expected: Expectation, toys: int, seed: int = 0
) -> tuple[Array, Array]:
    """Return 2 Δ(−ln L) of the true endpoint over the best one, and best less true in eV, of toys, (toys,) each."""
    # the nearest edge of the tables, so that the truth is one of the points that are compared
    truth = int(np.argmin(np.abs(spectra.edges_ev - expected.endpoint_ev)))
    expected = Expectation(float(spectra.edges_ev[truth]), expected.signal, expected.background)
    statistic, distance = np.empty(toys), np.empty(toys)
    for index in range(toys):
        sample = draw_sample(spectra, expected, 0.0, np.random.default_rng([seed, 7, index]))
        at_truth = edge_profile(spectra, sample, edges=np.array([truth]))[0]
        best = scan(spectra, sample)
        statistic[index] = max(2 * (at_truth - best.nll[0]), 0.0)
        distance[index] = best.edge_ev[0] - expected.endpoint_ev
    return statistic, distance
