"""Cells that a shower is read out in: layers along the axis, divided in squares or in rings and sectors; in cm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collider.showers.arrays import Arrays
from reconstruction.errors import UserError

Edges = tuple[float, ...]


@dataclass(frozen=True)
class CartesianGrid:
    """Boxes: edges along the depth z and across, x and y, in cm; a shower enters at z = 0."""

    depth_edges_cm: Edges
    x_edges_cm: Edges
    y_edges_cm: Edges

    def __post_init__(self) -> None:
        for name in ("depth_edges_cm", "x_edges_cm", "y_edges_cm"):
            object.__setattr__(self, name, _checked_edges(name, getattr(self, name)))
        _from_the_front(self.depth_edges_cm)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of cells: (layers, x, y)."""
        return len(self.depth_edges_cm) - 1, len(self.x_edges_cm) - 1, len(self.y_edges_cm) - 1

    @property
    def cells(self) -> int:
        """Number of all cells."""
        return math.prod(self.shape)

    def places(self, xp: Arrays, layer: Any, x: Any, y: Any) -> tuple[Any, Any]:
        """Return the flat number of each point's cell and whether there is one; `layer` is −1 outside."""
        across, up = xp.bins(xp.floats(self.x_edges_cm), x), xp.bins(xp.floats(self.y_edges_cm), y)
        layers, width, height = self.shape
        inside = (across >= 0) & (across < width) & (up >= 0) & (up < height) & (layer >= 0) & (layer < layers)
        return (layer * width + across) * height + up, inside

    @cached_property
    def centres_cm(self) -> NDArray[np.float64]:
        """Centres of all cells, (cells, 3): x, y, z."""
        z, x, y = np.meshgrid(*map(_centres, (self.depth_edges_cm, self.x_edges_cm, self.y_edges_cm)), indexing="ij")
        return np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1)


@dataclass(frozen=True)
class CylindricalGrid:
    """Rings and sectors around the z axis: edges along the depth and in radius, in cm, and the number of sectors.

    Flat order is that of the CaloChallenge: radius runs first, then the angle, then the layer.
    """

    depth_edges_cm: Edges
    radius_edges_cm: Edges
    sectors: int = 1

    def __post_init__(self) -> None:
        for name in ("depth_edges_cm", "radius_edges_cm"):
            object.__setattr__(self, name, _checked_edges(name, getattr(self, name)))
        _from_the_front(self.depth_edges_cm)
        if self.radius_edges_cm[0] < 0:
            raise UserError(f"radius_edges_cm begin at {self.radius_edges_cm[0]:g}: a radius is 0 or more")
        if self.sectors < 1:
            raise UserError(f"the number of sectors must be 1 or more, not {self.sectors}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of cells: (layers, sectors, rings)."""
        return len(self.depth_edges_cm) - 1, self.sectors, len(self.radius_edges_cm) - 1

    @property
    def cells(self) -> int:
        """Number of all cells."""
        return math.prod(self.shape)

    def places(self, xp: Arrays, layer: Any, x: Any, y: Any) -> tuple[Any, Any]:
        """Return the flat number of each point's cell and whether there is one; `layer` is −1 outside."""
        turn = xp.arctan2(y, x) / (2 * math.pi)
        return self.polar_places(xp, layer, x**2 + y**2, turn - xp.floor(turn))

    def polar_places(self, xp: Arrays, layer: Any, square: Any, turn: Any) -> tuple[Any, Any]:
        """Return the same for the square of the radius and the angle in turns, from 0 to 1."""
        ring = xp.bins(xp.floats([edge**2 for edge in self.radius_edges_cm]), square)
        sector = xp.clip(xp.whole(turn * self.sectors), 0, self.sectors - 1)
        layers, sectors, rings = self.shape
        inside = (ring >= 0) & (ring < rings) & (layer >= 0) & (layer < layers)
        return (layer * sectors + sector) * rings + ring, inside

    @cached_property
    def centres_cm(self) -> NDArray[np.float64]:
        """Centres of all cells, (cells, 3): x, y, z."""
        turn = (np.arange(self.sectors) + 0.5) / self.sectors
        z, angle, radius = np.meshgrid(
            _centres(self.depth_edges_cm), 2 * np.pi * turn, _centres(self.radius_edges_cm), indexing="ij"
        )
        return np.stack([(radius * np.cos(angle)).ravel(), (radius * np.sin(angle)).ravel(), z.ravel()], axis=1)


Grid = CartesianGrid | CylindricalGrid


def checked_grid(grid: Grid) -> Grid:
    """Return a grid. Raises UserError for anything else."""
    if not isinstance(grid, CartesianGrid | CylindricalGrid):
        raise UserError(f"{grid!r} is no grid: take CylindricalGrid or CartesianGrid of collider.showers")
    return grid


def _centres(edges: Edges) -> NDArray[np.float64]:
    return (np.asarray(edges[1:]) + np.asarray(edges[:-1])) / 2


def _checked_edges(name: str, edges: Any) -> Edges:
    try:
        found = np.asarray(edges, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.zeros(0)
    if found.ndim != 1 or len(found) < 2 or not (np.isfinite(found).all() and (np.diff(found) > 0).all()):
        raise UserError(f"{name} must be two or more numbers in cm that grow, such as [0, 1, 2]")
    return tuple(found.tolist())


def _from_the_front(edges: Edges) -> None:
    if edges[0] < 0:
        raise UserError(f"depth_edges_cm begin at {edges[0]:g} cm, before the front of the calorimeter: 0 or more")
