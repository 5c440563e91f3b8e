"""What a network sees of the cells: a position for each layer, or one for each cell with its place."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from collider.showers.learning.cells import CellLayout
from collider.showers.learning.data import CELLS
from collider.showers.learning.files import is_layer
from reconstruction.models.encoders.views import RecordView, View
from reconstruction.records.batch import Inputs
from reconstruction.shapes import Features, Series, Targets
from reconstruction.training.network.yardstick import Yardstick

ENERGY = "energy_gev"

LEAST_GEV = 0.01
"""A shower that deposits less counts as this much: what it entered with cannot be measured in it."""


def seen_gev(cells: Series) -> Features:
    """Return the sum of all cells (batch, 1) in GeV, never less than LEAST_GEV."""
    return cells.sum(1).clamp(min=LEAST_GEV)


def rooted(cells: Series) -> Series:
    """Return ±√|share of the sum|, in units of cells' mean share: cells differ by powers of ten, roots by a few.

    Shares, because energies of 1 and of 100 GeV then look alike; the sum is a scalar beside them.
    """
    share = cells / seen_gev(cells).unsqueeze(1) * cells.shape[1]
    return share.sign() * share.abs().sqrt()


def measured_in_deposit(target: str) -> bool:
    """Return whether a target is an energy that grows with what was seen."""
    return target == ENERGY or is_layer(target)


class ShowerView(RecordView):
    """A view of cells, with ln(sum/GeV) as its scalar. Its arguments are facts of the data.

    Args:
        grid: Kind of the grid.
        grid_shape: Layers, sectors, rings.
        depth_edges_x0: Edges of the layers.
        across_edges_rm: Edges across.
        together: Neighbouring layers that are read as one: what a calorimeter with thicker layers would see.

    """

    reads, scalar_count = CELLS, 1
    places: Tensor
    """(cell, 3): x, y, depth."""

    def __init__(
        self,
        grid: str,
        grid_shape: tuple[int, int, int],
        depth_edges_x0: tuple[float, ...],
        across_edges_rm: tuple[float, ...],
        together: int = 1,
    ) -> None:
        super().__init__()
        self.together = together
        whole = CellLayout(grid, grid_shape, tuple(depth_edges_x0), tuple(across_edges_rm))
        self.cells = whole.with_thicker_layers(together)
        self.register_buffer("places", torch.from_numpy(self.cells.places()).float(), persistent=False)
        self.channels = self.channels_of(self.cells)

    @abstractmethod
    def channels_of(self, cells: CellLayout) -> int:
        """Return the channels of a position."""

    @abstractmethod
    def positions(self, roots: Series) -> Series:
        """Return the series for the encoder, of the roots of all cells' shares (batch, cell, 1)."""

    def forward(self, series: Series) -> View:
        """Return the view."""
        return View(self.positions(rooted(self.joined(series))), seen_gev(series).log())

    def joined(self, series: Series) -> Series:
        """Return the cells (batch, cell, 1) of layers that are read as one."""
        if self.together == 1:
            return series
        # len() would fix the batch of an exported program
        layers = series.reshape(series.shape[0], self.cells.shape[0], self.together, -1)
        return layers.sum(2).reshape(series.shape[0], -1, 1)


class LayersView(ShowerView):
    """A position for each layer, a channel for each of its cells."""

    def channels_of(self, cells: CellLayout) -> int:
        """Return the cells of a layer."""
        return cells.shape[1] * cells.shape[2]

    def positions(self, roots: Series) -> Series:
        """Return (batch, layer, cell of it)."""
        return roots.reshape(roots.shape[0], self.cells.shape[0], self.channels)


class CellsView(ShowerView):
    """A position for each cell, with its place as the last three channels."""

    def channels_of(self, cells: CellLayout) -> int:
        """Return the root and the place."""
        return 4

    def positions(self, roots: Series) -> Series:
        """Return (batch, cell, root and place)."""
        return torch.cat([roots, self.places.to(roots.dtype).expand(roots.shape[0], -1, -1)], dim=-1)


class Deposit(Yardstick):
    """Measures the energy that entered, and that of a layer, in the energy that was seen.

    Their ratio is 1 up to leakage and fluctuations at 1 GeV as at 100 GeV, and the error of the ratio is σ/E. Of a
    layer it is its share.
    """

    def __init__(self, targets: tuple[str, ...]) -> None:
        super().__init__()
        self.measured = [measured_in_deposit(name) for name in targets]

    def forward(self, inputs: Inputs) -> Targets:
        """Return the sum of the cells for energies, 1 for other targets."""
        seen = seen_gev(inputs[CELLS].double())
        return torch.cat([seen if measured else torch.ones_like(seen) for measured in self.measured], dim=1)
