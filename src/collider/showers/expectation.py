"""What single showers average to, by integration over their fluctuations: the slow way that judges the simulation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc

from collider.showers.materials import AnyMaterial
from collider.showers.parameters import SMALLEST_ALPHA, radial_parameters, shower_parameters

Values = NDArray[np.float64]

NODES: Final = 12
STEP_X0: Final = 0.25


def fluctuations(energy_gev: float, material: AnyMaterial) -> Iterator[tuple[float, float, float]]:
    """Yield T, α and a weight on a grid of two normal numbers (Gauss–Hermite)."""
    found = shower_parameters(energy_gev, material)
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    weights = weights / weights.sum()
    for first, first_weight in zip(nodes, weights, strict=True):
        for second, second_weight in zip(nodes, weights, strict=True):
            common, opposite = np.sqrt((1 + found.rho) / 2) * first, np.sqrt((1 - found.rho) / 2) * second
            t = np.exp(found.mean_ln_t + found.sigma_ln_t * (common + opposite))
            alpha = np.exp(found.mean_ln_alpha + found.sigma_ln_alpha * (common - opposite))
            yield float(t), max(float(alpha), SMALLEST_ALPHA), float(first_weight * second_weight)


def expected_profile(edges_x0: Values, energy_gev: float, material: AnyMaterial) -> Values:
    """Return the mean share of single showers between edges in depth."""
    mean = np.zeros(len(edges_x0) - 1)
    for t, alpha, weight in fluctuations(energy_gev, material):
        mean += weight * np.diff(gammainc(alpha, (alpha - 1) / t * edges_x0))
    return mean


def expected_radius(radius_rm: Values, energy_gev: float, material: AnyMaterial, depth_x0: float) -> Values:
    """Return the mean share of single showers within radii, in R_M, down to a depth."""
    edges = np.arange(0, depth_x0 + STEP_X0, STEP_X0)
    middle = (edges[1:] + edges[:-1]) / 2
    typical = np.exp(shower_parameters(energy_gev, material).mean_ln_alpha)
    square, share = np.asarray(radius_rm)[:, None] ** 2, np.zeros(len(radius_rm))
    for t, alpha, weight in fluctuations(energy_gev, material):
        slices = np.diff(gammainc(alpha, (alpha - 1) / t * edges))
        tau = middle / t * (alpha - 1) / alpha * typical / (typical - 1)
        radial = radial_parameters(np.minimum(tau, 20), energy_gev, material)
        core, tail = np.clip(radial.core, 1e-3, 100), np.clip(radial.tail, 1e-3, 100)
        within = radial.weight * square / (square + core**2)
        within = within + (1 - radial.weight) * square / (square + tail**2)
        share += weight * (within * slices).sum(1)
    return share
