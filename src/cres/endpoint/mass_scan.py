"""The likelihood along the squared mass, everything else profiled or integrated out, on tabulated spectra.

The density of electron i is b_i [f + (1 − f) ρ_i(m², e)], ρ signal over background density, f the share of background;
the extended term, which holds the sum of both, is the same for all m² and leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cres.endpoint.smeared import Placed, ScanSample, SmearedSpectra

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

COARSE_STEPS = 8
"""Steps of the tables (0.2 eV) between the edges that are looked at first; around the best each one is."""
ANCHORS, COARSE_NEWTON_STEPS = 10, 4
"""All edges are looked at for every tenth squared mass only; between them the best edge moves smoothly."""
NEAR_STEPS, WALK = 5, 4
FIRST_SHARE, NEWTON_STEPS, SETTLED = 0.1, 20, 1e-5
LARGEST_SHARE = 0.999
SMALLEST_RATIO = 1e-12
SHARES = 14
"""Background shares over which a marginal likelihood is integrated (Gauss–Legendre in √f)."""
MARGINAL_STEPS = 3


@dataclass(frozen=True)
class MassProfile:
    """Along `mass_squared_ev2` (mass,): −ln L but for a constant, the best edge in eV and share of background there."""

    mass_squared_ev2: Array
    nll: Array
    edge_ev: Array
    background_share: Array

    def endpoint_ev(self, mass_squared_ev2: float) -> float:
        """Return the best endpoint at a squared mass: the edge plus the mass."""
        edge = np.interp(mass_squared_ev2, self.mass_squared_ev2, self.edge_ev)
        return float(edge + np.sqrt(max(mass_squared_ev2, 0.0)))

    def share(self, mass_squared_ev2: float) -> float:
        """Return the best share of background at a squared mass."""
        return float(np.interp(mass_squared_ev2, self.mass_squared_ev2, self.background_share))

    def physical(self) -> MassProfile:
        """Return the part with m² ≥ 0."""
        part = self.mass_squared_ev2 >= 0
        return MassProfile(*(a[part] for a in (self.mass_squared_ev2, self.nll, self.edge_ev, self.background_share)))

    def best(self) -> tuple[float, float]:
        """Return the squared mass of the smallest −ln L, by a parabola through its neighbours, and that −ln L."""
        return parabola_minimum(self.mass_squared_ev2, self.nll)

    def rise(self) -> Array:
        """Return 2 Δ(−ln L) over the smallest value, (mass,)."""
        return np.asarray(2 * (self.nll - self.best()[1]))


def scan(spectra: SmearedSpectra, sample: ScanSample, masses: Sequence[int] | None = None) -> MassProfile:
    """Return the profile likelihood of electrons along m², at the indices `masses` of the tables (all of them)."""
    chosen = list(range(len(spectra.mass_squared_ev2))) if masses is None else list(masses)
    placed = spectra.placed(sample)
    anchors = sorted({*chosen[::ANCHORS], chosen[-1]})
    centres = np.interp(chosen, anchors, [_coarse(spectra, placed, mass) for mass in anchors])
    found = np.empty((len(chosen), 3))
    share = FIRST_SHARE
    for row, (mass, centre) in enumerate(zip(chosen, centres, strict=True)):
        found[row] = _best_edge(spectra, placed, mass, round(centre), share)
        # from above the root Newton's method comes down to it
        share = 1.3 * found[row, 2] + 0.01
    return MassProfile(spectra.mass_squared_ev2[chosen], found[:, 0], found[:, 1], found[:, 2])


def edge_profile(spectra: SmearedSpectra, sample: ScanSample, mass: int = 0, edges: Indices | None = None) -> Array:
    """Return −ln L at edges of the tables (all, or those of the indices), the share of background profiled, (edge,)."""
    chosen = np.arange(len(spectra.edges_ev)) if edges is None else edges
    return _profiled(spectra.ratio(spectra.placed(sample), mass, chosen))[0]


def marginal(spectra: SmearedSpectra, sample: ScanSample, profile: MassProfile) -> Array:
    """Return ln of the likelihood integrated over edge and share of background, flat in both, (mass,) of the profile.

    Flat in the numbers of signal and background electrons is flat in the share: their sum factors out.
    """
    node, weight = np.polynomial.legendre.leggauss(SHARES)
    root = 0.5 * (node + 1)
    share, weight = root**2, weight * root
    values, placed = np.empty(len(profile.nll)), spectra.placed(sample)
    indices = np.searchsorted(spectra.mass_squared_ev2, profile.mass_squared_ev2)
    reach = 6 * spectra.window.width_ev / np.sqrt(3 * max(len(sample), 1)) + 4.0
    for row, (mass, edge) in enumerate(zip(indices, profile.edge_ev, strict=True)):
        near = np.flatnonzero(np.abs(spectra.edges_ev - edge) < reach)[::MARGINAL_STEPS]
        ratio = np.maximum(spectra.ratio(placed, int(mass), near), SMALLEST_RATIO)
        logarithm = np.stack([np.log(f + (1 - f) * ratio).sum(axis=0) for f in share])
        top = logarithm.max()
        values[row] = top + np.log(weight @ np.exp(logarithm - top).sum(axis=1))
    return values


def parabola_minimum(x: Array, y: Array) -> tuple[float, float]:
    """Return place and value of the minimum of a parabola through the lowest point and its neighbours."""
    lowest = int(np.argmin(y))
    if lowest in (0, len(x) - 1):
        return float(x[lowest]), float(y[lowest])
    near = slice(lowest - 1, lowest + 2)
    centre, scale = x[lowest], x[lowest + 1] - x[lowest - 1]
    curvature, slope, value = np.polyfit((x[near] - centre) / scale, y[near], 2)
    if curvature <= 0:
        return float(x[lowest]), float(y[lowest])
    place = -slope / (2 * curvature)
    return float(centre + scale * place), float(value + slope * place / 2)


def _coarse(spectra: SmearedSpectra, placed: Placed, mass: int) -> int:
    """Return the index of the best edge on a coarse grid over the window."""
    edges = np.arange(0, len(spectra.edges_ev), COARSE_STEPS)
    return int(edges[int(np.argmin(_profiled(spectra.ratio(placed, mass, edges), steps=COARSE_NEWTON_STEPS)[0]))])


def _best_edge(
    spectra: SmearedSpectra, placed: Placed, mass: int, centre: int, first_share: float
) -> tuple[float, float, float]:
    """Return −ln L, edge and share of background at their best, near the index `centre` of an edge or anywhere."""
    last = len(spectra.edges_ev) - 1
    middle = centre
    for attempt in range(WALK + 1):
        reach = NEAR_STEPS if attempt < WALK else COARSE_STEPS
        middle = middle if attempt < WALK else _coarse(spectra, placed, mass)
        near = np.arange(max(middle - reach, 0), min(middle + reach, last) + 1)
        nll, share = _profiled(spectra.ratio(placed, mass, near), first_share)
        lowest = int(np.argmin(nll))
        if 0 < lowest < len(near) - 1:
            break
        # the best lies further that way; after some steps it is looked for anywhere
        middle = int(near[lowest])
    edge, value = parabola_minimum(spectra.edges_ev[near], nll)
    return value, edge, float(share[lowest])


def _profiled(ratio: Array, first_share: float = FIRST_SHARE, steps: int = NEWTON_STEPS) -> tuple[Array, Array]:
    """Return −ln L and the share of background that makes it smallest, (edge,); ratio: (electron, edge).

    The derivative times f, F(f) = Σ f(1 − ρ)/(ρ + f(1 − ρ)), is concave: from where it is negative, Newton's method
    comes down to its root without passing it; the root at f = 0 is reached where no background is wanted.
    """
    ratio = np.maximum(ratio, SMALLEST_RATIO)
    excess = 1 - ratio
    share = np.full(ratio.shape[1], first_share)
    for _ in range(steps):
        mixed = ratio + share * excess
        term = excess / mixed
        value, slope = share * term.sum(axis=0), np.einsum("ne,ne->e", term, ratio / mixed)
        # left of the largest value a tangent leads away
        wanted = np.where(slope < 0, share - value / np.minimum(slope, -1e-300), 0.5 * (share + 1))
        moved = np.clip(wanted, 0.0, LARGEST_SHARE)
        settled = np.abs(moved - share).max() < SETTLED
        share = moved
        if settled:
            break
    return -np.log(ratio + share * excess).sum(axis=0), share
