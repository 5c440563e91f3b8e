"""Topological clusters: cells that stand out of the noise, and what touches them.

Cells of at least `seed_sigma` of the noise that have no larger neighbour begin a cluster. In waves, cells beside a
cluster join it: each wave takes those that touch a cell of at least `grow_sigma`, and each joins the neighbour with
the most energy. So showers that overlap are divided along the valley between them, and a cell is in one cluster.

After the clusters of ATLAS (Lampl et al., ATL-LARG-PUB-2008-002) and CMS (JINST 12 (2017) P10003, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from collider.detectors.calorimeters.config import require_between
from collider.detectors.calorimeters.grid import NO_CELL, AngularGrid
from collider.detectors.calorimeters.signals import ReadCells
from collider.detectors.particles import Integers
from reconstruction.errors import UserError

NO_CLUSTER: Final = -1


@dataclass(frozen=True)
class Topology:
    """Which cells begin a cluster, and which let it grow, in σ of the noise; others only join."""

    seed_sigma: float = 5.0
    grow_sigma: float = 3.0

    def __post_init__(self) -> None:
        require_between("clusters", {"seed_sigma": self.seed_sigma, "grow_sigma": self.grow_sigma}, 0, 100)
        if self.grow_sigma > self.seed_sigma:
            raise UserError(
                f"clusters.grow_sigma must be at most seed_sigma ({self.seed_sigma:g}), not {self.grow_sigma:g}"
            )


def cluster_cells(cells: ReadCells, grid: AngularGrid, noise_gev: float, topology: Topology) -> Integers:
    """Return the cluster of each cell (cell,), numbered by event and by the seed's place; NO_CLUSTER for none."""
    beside = neighbour_places(cells, grid)
    energy = cells.energy_gev
    around = np.append(energy, -np.inf)[beside]  # the place −1 is the last: no cell
    # of equal energies the first cell counts as the larger
    first = (around < energy[:, None]) | ((around == energy[:, None]) & (beside > np.arange(len(cells))[:, None]))
    begins = first.all(axis=1) & (energy >= topology.seed_sigma * noise_gev)
    label = np.full(len(cells) + 1, NO_CLUSTER)
    label[:-1][begins] = np.arange(np.count_nonzero(begins))
    grows = np.append(energy >= topology.grow_sigma * noise_gev, False)
    waiting = np.flatnonzero(label[:-1] == NO_CLUSTER)
    while len(waiting):
        near = beside[waiting]
        joinable = np.where((label[near] != NO_CLUSTER) & grows[near], around[waiting], -np.inf)
        best = np.argmax(joinable, axis=1)
        joins = joinable[np.arange(len(waiting)), best] > -np.inf
        if not joins.any():
            break
        label[waiting[joins]] = label[near[joins, best[joins]]]
        waiting = waiting[~joins]
    return label[:-1]


def neighbour_places(cells: ReadCells, grid: AngularGrid) -> Integers:
    """Return the places, among the cells that are read, of the neighbours of each: (cell, neighbour), −1 for none."""
    beside = grid.neighbours(cells.cell)
    keys = cells.event * grid.cells + cells.cell
    wanted = cells.event[:, None] * grid.cells + beside
    place = np.searchsorted(keys, wanted)
    found = (beside != NO_CELL) & (np.append(keys, -1)[place] == wanted)
    return np.where(found, place, -1)
