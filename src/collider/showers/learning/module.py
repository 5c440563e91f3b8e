"""The module of showers: views of cells, an encoder for each, and the energy in units of what was seen."""

from __future__ import annotations

from typing import Any, Literal, Protocol, runtime_checkable

from collider.showers.learning.data import CELLS
from collider.showers.learning.turns import Turn
from collider.showers.learning.views import Deposit, ShowerView, measured_in_deposit
from collider.showers.networks import VolumeEncoder
from reconstruction.errors import UserError
from reconstruction.models.conditioning.context import ConditionOptions
from reconstruction.training.learning.learner import Learner
from reconstruction.training.network.corruption import Corruption, Link
from reconstruction.training.network.reconstructor import (
    EncoderFactory,
    HeadFactory,
    Reconstructor,
    build_reconstructor,
)


@runtime_checkable
class CellViewFactory(Protocol):
    """Make a view of the cells of a grid."""

    def __call__(
        self,
        grid: str,
        grid_shape: tuple[int, int, int],
        depth_edges_x0: tuple[float, ...],
        across_edges_rm: tuple[float, ...],
    ) -> ShowerView:
        """Return the view."""
        ...


class ShowerModule(Learner):
    """Learns showers.

    Args:
        grid: Kind of the cells' grid, cylindrical or cartesian; linked from the data.
        grid_shape: Layers, sectors and rings (or squares in x and y); linked from the data.
        depth_edges_x0: Edges of the layers in X0; linked from the data.
        across_edges_rm: Edges of the rings, or multiples of a square's side, in R_M; linked from the data.
        targets: What is estimated; linked from the data.
        views: What is made of the cells, by name: LayersView or CellsView.
        encoders: An encoder for each view, under the same name.
        head: PointHead, GaussianHead, MixtureHead or QuantileHead; CategoricalHead for `particle`, the kind of shower.
        energy_in: What energies are learned in: deposit, the sum of all cells, so that the error of the ratio is σ/E
            at 1 GeV as at 100 GeV; or gev, for cells whose noise drowns their sum.
        turn: In training, turn and mirror showers around the axis: right where all sides of the calorimeter are alike.
        fusion: How features of several views are joined.
        condition: Settings of the calorimeter that the model is told with each shower.

    """

    system_name = "collider.showers"

    def __init__(
        self,
        grid: str,
        grid_shape: tuple[int, int, int],
        depth_edges_x0: tuple[float, ...],
        across_edges_rm: tuple[float, ...],
        targets: tuple[str, ...],
        views: dict[str, CellViewFactory],
        encoders: dict[str, EncoderFactory],
        head: HeadFactory,
        energy_in: Literal["deposit", "gev"] = "deposit",
        turn: bool = True,
        fusion: Literal["gated", "concatenate"] = "gated",
        condition: ConditionOptions | None = None,
        **training: Any,
    ) -> None:
        facts = {
            "grid": grid,
            "grid_shape": tuple(grid_shape),
            "depth_edges_x0": tuple(depth_edges_x0),
            "across_edges_rm": tuple(across_edges_rm),
        }
        yardstick = Deposit(targets) if energy_in == "deposit" and any(map(measured_in_deposit, targets)) else None
        parts = (views, encoders, head, fusion)
        reconstructor = build_reconstructor(facts, targets, *parts, yardstick=yardstick, condition=condition)
        _require_sectors(reconstructor, grid_shape[1])
        turns = [Link(Turn(grid, grid_shape), CELLS, training_only=True, scaled=False)] if turn else []
        super().__init__(
            reconstructor,
            Corruption(*turns),
            weight_column=None,
            denoising=None,
            masking=None,
            super_resolution=None,
            generation=None,
            **training,
        )


def _require_sectors(reconstructor: Reconstructor, sectors: int) -> None:
    """Raise UserError where a convolution takes the cells of a layer for others than they are."""
    for name, encoder in reconstructor.fusion.encoders.items():
        if isinstance(encoder, VolumeEncoder) and encoder.sectors != sectors:
            raise UserError(
                f"model.encoders.{name} has {encoder.sectors} sectors, and the data have {sectors}: set its sectors to "
                f"{sectors}"
            )
