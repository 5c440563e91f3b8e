"""Helices in a uniform field along z, exactly: where particles cross cylinders and planes.

A charge q with momentum p turns by ω = −q B/p for each length of its path (B along z, so that positive charges turn
clockwise), with B/p in 1/mm = 0.299792458·10⁻³ B[T]/p[GeV] (Review of Particle Physics (2024), section 35.12). After a
path l the transverse place is x₀ + l sinc(ωl/2) R(ωl/2) d, with the transverse part d of the starting direction and a
rotation R: straight lines (q = 0) are the same formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from collider.detectors.particles import Floats, Mask, Particles

FIELD_T: Final = 3.8
GEV_PER_T_MM: Final = 0.299792458e-3
"""Momentum (GeV) of a unit charge whose circle has a radius of 1 mm in 1 T: the speed of light in other units."""
ON_SURFACE_MM: Final = 1e-6
"""What starts this near to a surface is on it."""


@dataclass(frozen=True)
class Crossing:
    """Where helices meet a surface for the first time; not a number where they do not.

    position_mm, direction: (helix, 3), the direction of unit length; length_mm: (helix,) of the path, in space;
    reached: (helix,) whether the surface is met at all: false for a looper whose circle does not reach a radius.
    barrel: (helix,) whether it is the barrel of a cylinder that is met, not one of its ends.
    """

    position_mm: Floats
    direction: Floats
    length_mm: Floats
    reached: Mask
    barrel: Mask


@dataclass(frozen=True)
class Helices:
    """Paths of particles in a field along z.

    start_mm: (helix, 3); direction: (helix, 3) at the start, of unit length (0, 0, 0 for what is at rest, which goes
    nowhere); turn_per_mm: (helix,) radians for each mm of the path, in space, positive anticlockwise; 0: straight.
    """

    start_mm: Floats
    direction: Floats
    turn_per_mm: Floats

    @classmethod
    def of(
        cls, momentum_gev: ArrayLike, start_mm: ArrayLike, charge: ArrayLike, field_t: ArrayLike = FIELD_T
    ) -> Helices:
        """Return the paths from momenta (helix, 3), places (helix, 3) and charges (helix,) in units of e.

        field_t: a number, or (helix,).
        """
        momentum = np.asarray(momentum_gev, dtype=np.float64)
        size = np.sqrt(np.sum(momentum**2, axis=1))
        inverse = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
        turn = -np.asarray(charge, dtype=np.float64) * GEV_PER_T_MM * np.asarray(field_t) * inverse
        return cls(np.asarray(start_mm, dtype=np.float64), momentum * inverse[:, None], turn)

    @classmethod
    def of_particles(cls, particles: Particles, field_t: float = FIELD_T) -> Helices:
        """Return the paths of particles from where they were made."""
        return cls.of(particles.momentum_gev, particles.vertex_mm, particles.charge, field_t)

    def position_mm(self, length_mm: ArrayLike) -> Floats:
        """Return the places (helix, 3) after paths of these lengths (helix,)."""
        length = np.asarray(length_mm, dtype=np.float64)
        half = self.turn_per_mm * length / 2
        chord = length * np.sinc(half / np.pi)
        across = chord[:, None] * _turned(self.direction[:, :2], half)
        along = (self.direction[:, 2] * length)[:, None]
        return self.start_mm + np.concatenate([across, along], axis=1)

    def direction_after(self, length_mm: ArrayLike) -> Floats:
        """Return the directions (helix, 3) after paths of these lengths (helix,)."""
        angle = self.turn_per_mm * np.asarray(length_mm, dtype=np.float64)
        return np.concatenate([_turned(self.direction[:, :2], angle), self.direction[:, 2:]], axis=1)

    def at_radius(self, radius_mm: ArrayLike) -> Crossing:
        """Return the first crossing of a cylinder around the z axis without ends; radius: a number, or (helix,)."""
        length = self.length_to_radius_mm(radius_mm)
        return self._crossing(length, np.isfinite(length))

    def at_plane(self, z_mm: ArrayLike) -> Crossing:
        """Return the crossing of a plane across the z axis; z: a number, or (helix,)."""
        length = self.length_to_plane_mm(z_mm)
        return self._crossing(length, np.zeros(len(length), dtype=bool))

    def at_cylinder(self, radius_mm: ArrayLike, half_length_mm: ArrayLike) -> Crossing:
        """Return where they leave a cylinder around the origin: through its barrel or, when it comes first, an end.

        What starts outside is not said to reach it. A looper reaches an end, after turns.
        """
        radius, half = np.asarray(radius_mm, dtype=np.float64), np.asarray(half_length_mm, dtype=np.float64)
        at, along = self.start_mm, self.direction[:, 2]
        inside = (np.hypot(at[:, 0], at[:, 1]) <= radius + ON_SURFACE_MM) & (np.abs(at[:, 2]) <= half + ON_SURFACE_MM)
        barrel = self.length_to_radius_mm(radius)
        end = self.length_to_plane_mm(np.where(along < 0, -half, half))
        length = np.where(inside, np.fmin(barrel, end), np.nan)
        return self._crossing(length, inside & (np.isnan(end) | (barrel <= end)))

    def length_to_radius_mm(self, radius_mm: ArrayLike) -> Floats:
        """Return the path (helix,) to a cylinder without ends; not a number where it is never met.

        With τ = (2/ω) tan(ωl/2) the circle meets the radius r where A τ² + 2 a τ − D = 0, A = d² + ω n·x₀ − D ω²/4,
        a = d·x₀, D = r² − x₀², n = d turned by a right angle: no small difference of large circles.
        """
        x, d, turn = self.start_mm[:, :2], self.direction[:, :2], self.turn_per_mm
        start = np.hypot(x[:, 0], x[:, 1])
        radius = np.broadcast_to(np.asarray(radius_mm, dtype=np.float64), start.shape)
        rest = (radius - start) * (radius + start)
        along = x[:, 0] * d[:, 0] + x[:, 1] * d[:, 1]
        across = x[:, 1] * d[:, 0] - x[:, 0] * d[:, 1]
        square = d[:, 0] ** 2 + d[:, 1] ** 2 + turn * across - rest * turn**2 / 4
        with np.errstate(divide="ignore", invalid="ignore"):
            root = np.sqrt(along**2 + rest * square)  # not a number: never met
            larger = along + np.where(along < 0, -root, root)
            lengths = np.stack([self._length(-larger / square), self._length(rest / larger)])
        first = np.fmin.reduce(lengths, axis=0)
        moving = (d[:, 0] != 0) | (d[:, 1] != 0)
        return np.where(np.abs(radius - start) <= ON_SURFACE_MM, 0.0, np.where(moving, first, np.nan))

    def length_to_plane_mm(self, z_mm: ArrayLike) -> Floats:
        """Return the path (helix,) to a plane across the z axis; not a number where it is never met."""
        distance = np.asarray(z_mm, dtype=np.float64) - self.start_mm[:, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            length = distance / self.direction[:, 2]
        ahead = np.isfinite(length) & (length >= 0)
        return np.where(np.abs(distance) <= ON_SURFACE_MM, 0.0, np.where(ahead, length, np.nan))

    def _length(self, tau: Floats) -> Floats:
        """Return the path that comes first among those of a τ; not a number where it lies behind for ever."""
        turn = self.turn_per_mm
        straight = turn == 0
        safe = np.where(straight, 1.0, turn)
        length = np.where(straight, tau, 2 / safe * np.arctan(safe * tau / 2))
        length = np.where((length < 0) & ~straight, length + 2 * np.pi / np.abs(safe), length)
        return np.where((length >= 0) & np.isfinite(length), length, np.nan)

    def _crossing(self, length: Floats, barrel: Mask) -> Crossing:
        reached = np.isfinite(length)
        return Crossing(self.position_mm(length), self.direction_after(length), length, reached, barrel & reached)


def _turned(vectors: Floats, angle: Floats) -> Floats:
    """Return transverse vectors (helix, 2) turned anticlockwise."""
    cos, sin = np.cos(angle), np.sin(angle)
    x, y = vectors[:, 0], vectors[:, 1]
    return np.stack([x * cos - y * sin, x * sin + y * cos], axis=1)


def bending_radius_mm(pt_gev: ArrayLike, charge: ArrayLike = 1, field_t: float = FIELD_T) -> NDArray[np.float64]:
    """Return the radius of the circle across the field: pT/(0.2998 |q| B); infinite without charge."""
    with np.errstate(divide="ignore"):
        return np.asarray(pt_gev, dtype=np.float64) / (GEV_PER_T_MM * field_t * np.abs(np.asarray(charge, np.float64)))
