"""Profiles of showers in closed form: energy against depth, and the share of it within a depth or a radius."""

from __future__ import annotations

import itertools
import math
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gamma, gammainc

from collider.showers.grid import CylindricalGrid, Grid, checked_grid
from collider.showers.materials import AnyMaterial
from collider.showers.parameters import Values, checked_energies, radial_parameters, shower_parameters, together
from reconstruction.errors import UserError

SLICE_X0: Final = 0.1
"""Slices of mean showers in cells."""


def longitudinal_profile(depth_x0: ArrayLike, energy_gev: ArrayLike, material: AnyMaterial) -> Values:
    """Return the mean profile (1/E) dE/dt, per X0; depth and energy broadcast.

    f(t) = (βt)^{α−1} β e^{−βt}/Γ(α), β = (α − 1)/T                  Longo and Sestili, NIM 128 (1975) 283.
    """
    energies, t = _before_the_front_as_there(energy_gev, depth_x0)
    found = shower_parameters(energies, material)
    alpha, beta = found.mean_alpha, found.mean_beta
    return (beta * t) ** (alpha - 1) * beta * np.exp(-beta * t) / gamma(alpha)


def depth_containment(depth_x0: ArrayLike, energy_gev: ArrayLike, material: AnyMaterial) -> Values:
    """Return the share of the energy that the mean shower leaves before a depth, P(α, βt); they broadcast."""
    energies, t = _before_the_front_as_there(energy_gev, depth_x0)
    found = shower_parameters(energies, material)
    return np.asarray(gammainc(found.mean_alpha, found.mean_beta * t))


def _before_the_front_as_there(energy_gev: ArrayLike, depth_x0: ArrayLike) -> tuple[Values, Values]:
    """Return energies and depths, broadcast; before the front of the material there is nothing, as at it."""
    energies, depths = together(checked_energies(energy_gev), depth_x0, "depth_x0")
    return energies, np.maximum(depths, 0)


def radius_containment(
    radius_rm: ArrayLike, energy_gev: float, material: AnyMaterial, depth_x0: float = 40.0, steps: int = 2000
) -> Values:
    """Return the share of the mean shower's energy within radii, in R_M, down to a depth, over all of it there.

    Within a slice p r²/(r² + R_C²) + (1 − p) r²/(r² + R_T²); the slices are weighed with the longitudinal profile.
    Raises UserError for radii that are negative.
    """
    _, radii = together(np.zeros(()), radius_rm, "radius_rm")
    if not (radii >= 0).all():
        raise UserError("radius_rm must be 0 or more, in Molière radii")
    edges = np.linspace(0, depth_x0, steps + 1)
    weights = np.diff(depth_containment(edges, energy_gev, material))
    found = shower_parameters(energy_gev, material)
    radial = radial_parameters((edges[1:] + edges[:-1]) / 2 / found.mean_t, energy_gev, material)
    square = radii[..., None] ** 2
    core, tail = square / (square + radial.core**2), square / (square + radial.tail**2)
    share = radial.weight * core + (1 - radial.weight) * tail
    return (share * weights).sum(-1) / weights.sum()


def mean_shower(energy_gev: float, material: AnyMaterial, grid: Grid) -> Values:
    """Return the mean shower of an electron along the axis in the cells of a grid, in GeV, (layer, …) as `grid.shape`.

    In closed form within slices of at most a tenth of X0; what a Monte Carlo of mean profiles would tend to.
    """
    found = shower_parameters(energy_gev, material)
    layers = np.asarray(checked_grid(grid).depth_edges_cm) / material.radiation_length_cm
    cells = np.zeros(grid.shape)
    for layer, (near, far) in enumerate(itertools.pairwise(layers)):
        edges = np.linspace(near, far, max(2, math.ceil((far - near) / SLICE_X0) + 1))
        weights = energy_gev * np.diff(depth_containment(edges, energy_gev, material))
        radial = radial_parameters((edges[1:] + edges[:-1]) / 2 / found.mean_t, energy_gev, material)
        for weight, core, tail, p in zip(weights, radial.core, radial.tail, radial.weight, strict=True):
            scale = material.moliere_radius_cm
            cells[layer] += weight * (p * _shares(grid, core * scale) + (1 - p) * _shares(grid, tail * scale))
    return cells


def _shares(grid: Grid, radius_cm: float) -> Values:
    """Return the share of 2rR²/(r² + R²)² in the cells of one layer."""
    if isinstance(grid, CylindricalGrid):
        square = np.asarray(grid.radius_edges_cm) ** 2
        rings = np.diff(square / (square + radius_cm**2)) / grid.sectors
        return np.broadcast_to(rings, (grid.sectors, len(rings)))
    x, y = np.meshgrid(grid.x_edges_cm, grid.y_edges_cm, indexing="ij")
    across, up = np.hypot(x, radius_cm), np.hypot(y, radius_cm)
    # the integral of R²/π/(x² + y² + R²)² over x and y
    corner = (x / across * np.arctan(y / across) + y / up * np.arctan(x / up)) / (2 * np.pi)
    return np.asarray(np.diff(np.diff(corner, axis=0), axis=1))


def depth_of_maximum(edges_x0: ArrayLike, profile: ArrayLike) -> float:
    """Return where a profile in bins is largest, in X0: a gamma distribution through the bins above half of that.

    ln f = (α − 1) ln t − βt + c is linear in α, β and c; T = (α − 1)/β. `profile` is the energy in each bin; bins may
    differ in thickness. Raises UserError for an empty profile.
    """
    edges, energy = np.asarray(edges_x0, dtype=np.float64), np.asarray(profile, dtype=np.float64)
    density, middle = energy / np.diff(edges), (edges[1:] + edges[:-1]) / 2
    if not density.max() > 0:
        raise UserError("a profile without energy has no maximum")
    near = np.flatnonzero(density > density.max() / 2)
    best = float(middle[density.argmax()])
    if len(near) < 4:
        return best
    design = np.stack([np.log(middle[near]), -middle[near], np.ones(len(near))], axis=1)
    weight = np.sqrt(density[near])
    power, beta, _ = np.linalg.lstsq(design * weight[:, None], np.log(density[near]) * weight, rcond=None)[0]
    return float(power / beta) if beta > 0 and edges[0] < power / beta < edges[-1] else best
