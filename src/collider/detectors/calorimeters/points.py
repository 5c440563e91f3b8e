"""Points of energy along the paths of particles through both calorimeters, and the cells that they fall into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from collider.detectors.calorimeters.config import Calorimeters
from collider.detectors.calorimeters.grid import AngularGrid
from collider.detectors.helix import Helices
from collider.detectors.particles import Floats, Integers, Mask, Particles

MM_PER_CM: Final = 10.0
NO_PARTICLE: Final = -1


@dataclass(frozen=True)
class Entries:
    """Particles that reach the front of the ECAL.

    particle: (entry,) their places among all; position_mm, direction: (entry, 3) there; gap_mm: (entry,) path from
    there to the front of the HCAL, which is straight: the field between the two is left out.
    """

    particle: Integers
    position_mm: Floats
    direction: Floats
    gap_mm: Floats

    @classmethod
    def of(cls, particles: Particles, calorimeters: Calorimeters, field_t: float) -> Entries:
        """Return them, by helices; loopers of less than the radius' momentum enter through an end."""
        ecal, hcal = calorimeters.ecal, calorimeters.hcal
        front = Helices.of_particles(particles, field_t).at_cylinder(ecal.radius_mm, ecal.half_length_mm)
        place = np.flatnonzero(front.reached)
        position, direction = front.position_mm[place], front.direction[place]
        straight = Helices(position, direction, np.zeros(len(place)))
        return cls(place, position, direction, straight.at_cylinder(hcal.radius_mm, hcal.half_length_mm).length_mm)

    def __len__(self) -> int:
        return len(self.particle)


@dataclass(frozen=True)
class Points:
    """Points of energy: (point,) each.

    entry: whose; in_hcal: in which calorimeter; depth_cm: in it, along the path; across_cm, turn: distance from the
    path and angle around it in turns; energy_gev: what the calorimeter sees of it, on the scale of electrons.
    """

    entry: Integers
    in_hcal: Mask
    depth_cm: Floats
    across_cm: Floats
    turn: Floats
    energy_gev: Floats

    @classmethod
    def joined(cls, parts: Sequence[Points]) -> Points:
        """Return several sets as one."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


@dataclass(frozen=True)
class Deposits:
    """What particles leave in cells, before any electronics: (deposit,) each, particle by particle.

    particle: place among all; event: place of its event; cell; energy_gev.
    """

    particle: Integers
    event: Integers
    cell: Integers
    energy_gev: Floats


def sums(place: Integers, values: Floats, count: int) -> Floats:
    """Return the sums of the values at each of so many places, float64 also where there are none."""
    return np.bincount(place, values, count).astype(np.float64)


def placed(depth: Floats, start: Floats, unit_cm: tuple[float, float], ecal_depth_cm: float) -> tuple[Mask, Floats]:
    """Return whether a depth is in the HCAL, and the depth in its calorimeter in cm.

    start: where the counting begins, in cm of both calorimeters one after the other; depth: from there on, in a unit
    (X0 or λ) that has another length, unit_cm, in each.
    """
    whole = ecal_depth_cm / unit_cm[0]
    begins = np.where(start < ecal_depth_cm, start / unit_cm[0], whole + (start - ecal_depth_cm) / unit_cm[1])
    there = begins + depth
    behind = there >= whole
    return behind, np.where(behind, (there - whole) * unit_cm[1], there * unit_cm[0])


def deposits(
    points: Points, entries: Entries, particles: Particles, calorimeters: Calorimeters, hcal: bool
) -> Deposits:
    """Return what falls into the cells of one calorimeter; what leaves it at its end or beside the cells is lost."""
    part = calorimeters.hcal if hcal else calorimeters.ecal
    edges = np.asarray(calorimeters.hcal.depth_edges_cm if hcal else (0.0, calorimeters.ecal.depth_cm))
    layer = np.searchsorted(edges, points.depth_cm, side="right") - 1
    chosen = np.flatnonzero((points.in_hcal == hcal) & (layer >= 0) & (layer < part.grid.layers))
    eta, phi = _directions(points, entries, chosen, hcal)
    cell, there = part.grid.cell_of(eta, phi, layer[chosen])
    chosen, cell = chosen[there], cell[there]
    return _summed(entries.particle[points.entry[chosen]], cell, points.energy_gev[chosen], particles, part.grid)


def _directions(points: Points, entries: Entries, chosen: Integers, hcal: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return η and φ of points as seen from the origin; float32, a micrometre in metres."""
    entry = points.entry[chosen]
    along = MM_PER_CM * points.depth_cm[chosen] + (entries.gap_mm[entry] if hcal else 0.0)
    across = (MM_PER_CM * points.across_cm[chosen]).astype(np.float32)
    angle = np.float32(2 * np.pi) * points.turn[chosen].astype(np.float32)
    u, v, w = across * np.cos(angle), across * np.sin(angle), along.astype(np.float32)
    start, first, second, axis = (
        values.astype(np.float32)
        for values in (entries.position_mm, *across_axes(entries.direction), entries.direction)
    )
    x, y, z = (
        start[:, i][entry] + u * first[:, i][entry] + v * second[:, i][entry] + w * axis[:, i][entry] for i in range(3)
    )
    return np.arcsinh(z / np.maximum(np.hypot(x, y), np.float32(1e-3))), np.arctan2(y, x)


def across_axes(direction: Floats) -> tuple[Floats, Floats]:
    """Return two unit vectors across each direction (vector, 3): Duff et al., JCGT 6 (2017) 1."""
    x, y, z = direction.T
    sign = np.where(z < 0, -1.0, 1.0)
    a = -1 / (sign + z)
    b = x * y * a
    first = np.stack([1 + sign * x**2 * a, sign * b, -sign * x], axis=1)
    return first, np.stack([b, sign + y**2 * a, -y], axis=1)


def _summed(
    particle: Integers, cell: Integers, energy_gev: Floats, particles: Particles, grid: AngularGrid
) -> Deposits:
    table = sparse.coo_array((energy_gev, (particle, cell)), shape=(len(particles), grid.cells)).tocsr()
    table.sum_duplicates()
    whose = np.repeat(np.arange(len(particles)), np.diff(table.indptr))
    return Deposits(whose, particles.event[whose], table.indices.astype(np.int64), table.data)
