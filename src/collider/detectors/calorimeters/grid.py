"""Cells in pseudorapidity × azimuth × depth, of one size all over, pointing to the origin."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collider.detectors.particles import Floats, Integers, Mask

NO_CELL: Final = -1


@dataclass(frozen=True)
class AngularGrid:
    """Square cells: `sectors` around the beam, `rings` along η, as many on either side, in `layers` of depth.

    A cell's number is (layer · rings + ring) · sectors + sector; ring 0 is at the lowest η, sector 0 begins at φ = −π.
    """

    rings: int
    sectors: int
    layers: int = 1

    @property
    def pitch(self) -> float:
        """Size of a cell in η and, in rad, in φ: 2π/sectors."""
        return 2 * np.pi / self.sectors

    @property
    def largest_eta(self) -> float:
        """Where the cells end."""
        return self.rings * self.pitch / 2

    @property
    def cells(self) -> int:
        """How many there are."""
        return self.layers * self.rings * self.sectors

    def cell_of(self, eta: NDArray[Any], phi: NDArray[Any], layer: NDArray[Any]) -> tuple[Integers, Mask]:
        """Return the cell at each place, and whether there is one; a layer is taken as it is."""
        ring = np.floor((eta + self.largest_eta) / self.pitch).astype(np.int64)
        sector = np.floor((phi + np.pi) / self.pitch).astype(np.int64) % self.sectors
        return (layer * self.rings + ring) * self.sectors + sector, (ring >= 0) & (ring < self.rings)

    def ring_sector(self, cell: Integers) -> tuple[Integers, Integers]:
        """Return the ring and the sector of cells."""
        return cell // self.sectors % self.rings, cell % self.sectors

    def layer(self, cell: Integers) -> Integers:
        """Return the layer of cells."""
        return cell // (self.rings * self.sectors)

    def centre(self, cell: Integers) -> tuple[Floats, Floats]:
        """Return η and φ of the middle of cells."""
        ring, sector = (one.astype(np.float64) for one in self.ring_sector(cell))
        return (ring + 0.5) * self.pitch - self.largest_eta, (sector + 0.5) * self.pitch - np.pi

    def neighbours(self, cell: Integers) -> Integers:
        """Return the cells that touch each, (cell, neighbour), at corners too, NO_CELL where there is none.

        Of another layer, only the cells before and behind.
        """
        ring, sector = self.ring_sector(cell)
        layer = self.layer(cell)
        step = self._steps
        other_layer, other_ring = layer[:, None] + step[:, 0], ring[:, None] + step[:, 1]
        there = (other_layer >= 0) & (other_layer < self.layers) & (other_ring >= 0) & (other_ring < self.rings)
        place = (other_layer * self.rings + other_ring) * self.sectors + (sector[:, None] + step[:, 2]) % self.sectors
        return np.where(there, place, NO_CELL)

    @cached_property
    def _steps(self) -> Integers:
        beside = [(0, *step) for step in itertools.product((-1, 0, 1), repeat=2) if step != (0, 0)]
        return np.array([*beside, (-1, 0, 0), (1, 0, 0)][: None if self.layers > 1 else 8], dtype=np.int64)
