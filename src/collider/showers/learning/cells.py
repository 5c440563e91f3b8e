"""Where the cells of a calorimeter are, in its own lengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collider.showers.grid import CartesianGrid, CylindricalGrid, Grid
from reconstruction.errors import UserError

CYLINDRICAL: Final = "cylindrical"


@dataclass(frozen=True)
class CellLayout:
    """Cells in layers. kind: cylindrical or cartesian; shape: (layers, sectors, rings) or (layers, x, y).

    depth_edges_x0 (layers + 1,), in X0; across_edges_rm, in R_M: edges of the rings, or multiples of a square's side.
    """

    kind: str
    shape: tuple[int, int, int]
    depth_edges_x0: tuple[float, ...]
    across_edges_rm: tuple[float, ...]

    def facts(self) -> dict[str, Any]:
        """Return what a model is built with and what must agree, in plain types."""
        return {
            "grid": self.kind,
            "grid_shape": list(self.shape),
            "depth_edges_x0": list(self.depth_edges_x0),
            "across_edges_rm": list(self.across_edges_rm),
            "layers": self.shape[0],
            "sectors": self.shape[1],
            "rings": self.shape[2],
            "depth_x0": self.depth_edges_x0[-1],
            "width_rm": self.across_edges_rm[-1],
        }

    def with_thicker_layers(self, together: int) -> CellLayout:
        """Return the cells where so many layers are one. Raises UserError where they do not come out even."""
        layers = self.shape[0]
        if together < 1 or layers % together:
            even = ", ".join(str(count) for count in range(1, layers + 1) if layers % count == 0)
            raise UserError(f"{layers} layers cannot be read {together} together: give one of {even}")
        shape = (layers // together, *self.shape[1:])
        return CellLayout(self.kind, shape, self.depth_edges_x0[::together], self.across_edges_rm)

    def built(self) -> Grid:
        """Return the grid, depths in X0 and distances in R_M."""
        if self.kind == CYLINDRICAL:
            return CylindricalGrid(self.depth_edges_x0, self.across_edges_rm, self.shape[1])
        side = self.across_edges_rm[1] - self.across_edges_rm[0]
        x, y = (tuple(side * (i - count / 2) for i in range(count + 1)) for count in self.shape[1:])
        return CartesianGrid(self.depth_edges_x0, x, y)

    def places(self) -> NDArray[np.float64]:
        """Return the place of each cell for a network, (cell, 3): x, y, depth.

        Distances r from the axis as ln(1 + r/R_M), so that far cells do not dwarf all others; depth in tens of X0.
        """
        x, y, z = self.built().centres_cm.T
        radius = np.hypot(x, y)
        shrunk = np.log1p(radius) / np.where(radius > 0, radius, 1.0)
        return np.stack([x * shrunk, y * shrunk, z / 10], axis=1)
