"""What is known of a cluster: energy, place, width, depth, what lies before or behind it, and whose it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.spatial import cKDTree

from collider.detectors.calorimeters.clusters import NO_CLUSTER
from collider.detectors.calorimeters.grid import AngularGrid
from collider.detectors.calorimeters.points import NO_PARTICLE, Deposits, sums
from collider.detectors.calorimeters.signals import ReadCells
from collider.detectors.particles import Floats, Integers
from collider.generation.kinematics import phi_difference

LOGARITHMIC: Final = 4.7
"""w₀ of the weights max(0, w₀ + ln(E_i/E)): cells of less than 0.9 % count for nothing; Awes et al., NIM A311 (1992)
130, with the value of CMS (JINST 8 (2013) P09009)."""
BEHIND: Final = 0.15
"""ΔR around a cluster within which the other calorimeter's energy counts as before or behind it."""


@dataclass(frozen=True)
class Shapes:
    """Clusters of one calorimeter, (cluster,) each, by event.

    event; energy_gev: sum of the cells; seed_gev: of the largest; cells: how many; eta, phi: barycentre with
    logarithmic weights; sigma_eta, sigma_phi: widths with the same weights, 0 for one cell; front_share: share of the
    energy in the first depth; particle: the one that left most in its cells, NO_PARTICLE for noise; particle_share: of
    what all particles left in them, 0 for noise.
    """

    event: Integers
    energy_gev: Floats
    seed_gev: Floats
    cells: Integers
    eta: Floats
    phi: Floats
    sigma_eta: Floats
    sigma_phi: Floats
    front_share: Floats
    particle: Integers
    particle_share: Floats

    def __len__(self) -> int:
        return len(self.event)


def shapes_of(cells: ReadCells, label: Integers, deposits: Deposits, grid: AngularGrid) -> Shapes:
    """Return the shapes of clusters; label (cell,): the cluster of each cell; deposits: the truth."""
    inside = np.flatnonzero(label != NO_CLUSTER)
    of, count = label[inside], int(label.max(initial=NO_CLUSTER)) + 1
    chosen = cells.kept(inside)
    energy = sums(of, chosen.energy_gev, count)
    seed = np.zeros(count)
    np.maximum.at(seed, of, chosen.energy_gev)
    largest = np.zeros(count, dtype=np.int64)
    largest[of[chosen.energy_gev == seed[of]]] = np.flatnonzero(chosen.energy_gev == seed[of])
    weight = np.maximum(LOGARITHMIC + np.log(chosen.energy_gev / energy[of]), 0.0)
    # a cluster of many equal cells has no weight otherwise
    weight = np.where(sums(of, weight, count)[of] > 0, weight, 1.0)
    total = sums(of, weight, count)
    eta, phi = grid.centre(chosen.cell)
    away = phi_difference(phi, phi[largest][of])  # φ around the largest cell: no edge at ±π

    def mean(values: Floats) -> Floats:
        return sums(of, weight * values, count) / total

    mean_eta, mean_away = mean(eta), mean(away)
    particle, share = _whose(cells, label, deposits, grid, count)
    return Shapes(
        event=chosen.event[largest],
        energy_gev=energy,
        seed_gev=seed,
        cells=np.bincount(of, minlength=count),
        eta=mean_eta,
        phi=phi_difference(phi[largest] + mean_away, 0.0),
        sigma_eta=np.sqrt(mean((eta - mean_eta[of]) ** 2)),
        sigma_phi=np.sqrt(mean((away - mean_away[of]) ** 2)),
        front_share=sums(of, chosen.energy_gev * (grid.layer(chosen.cell) == 0), count) / energy,
        particle=particle,
        particle_share=share,
    )


def _whose(
    cells: ReadCells, label: Integers, deposits: Deposits, grid: AngularGrid, count: int
) -> tuple[Integers, Floats]:
    """Return the particle that left most in each cluster, and its share of what all left there."""
    keys, wanted = cells.event * grid.cells + cells.cell, deposits.event * grid.cells + deposits.cell
    place = np.searchsorted(keys, wanted)
    read = np.append(keys, -1)[place] == wanted
    of = np.append(label, NO_CLUSTER)[place]
    there = np.flatnonzero(read & (of != NO_CLUSTER))
    most = int(deposits.particle.max(initial=0)) + 1
    pairs, where = np.unique(of[there] * most + deposits.particle[there], return_inverse=True)
    left = sums(where, deposits.energy_gev[there], len(pairs))
    order = np.lexsort((left, pairs // most))
    last = order[np.flatnonzero(np.diff(pairs[order] // most, append=count + 1))]
    particle, share = np.full(count, NO_PARTICLE), np.zeros(count)
    particle[pairs[last] // most] = pairs[last] % most
    total = sums(pairs // most, left, count)
    share[pairs[last] // most] = left[last] / total[pairs[last] // most]
    return particle, share


def energy_around(shapes: Shapes, others: ReadCells, grid: AngularGrid) -> Floats:
    """Return the energy (cluster,) of another calorimeter's cells, of this grid, within ΔR = 0.15 of each cluster."""
    if not len(shapes) or not len(others):
        return np.zeros(len(shapes))
    eta, phi = grid.centre(others.cell)
    near = _tree(shapes.event, shapes.eta, shapes.phi).sparse_distance_matrix(
        _tree(others.event, eta, phi), BEHIND, output_type="coo_matrix"
    )
    return sums(near.row.astype(np.int64), others.energy_gev[near.col], len(shapes))


def _tree(event: Integers, eta: Floats, phi: Floats) -> cKDTree:
    """Return places in η and φ, those of other events far away."""
    turn = 2 * np.pi
    place = np.stack([eta, np.where(phi % turn < turn, phi % turn, 0.0), event.astype(np.float64)], axis=1)
    return cKDTree(place, boxsize=np.array([0.0, turn, 0.0]))
