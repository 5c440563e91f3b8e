"""A graph network over cells: each hears the nearest of its own layer and the nearest of others."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reconstruction.errors import UserError
from reconstruction.models.conditioning.context import ContextVector
from reconstruction.models.encoders.base import Encoder, Sequence
from reconstruction.models.encoders.pooling import PoolingName, make_pooling
from reconstruction.models.encoders.positions import valid_positions
from reconstruction.shapes import Bool, Float, Int, Lengths, Series

SAME_LAYER = 1e-6
Cells = Float[Tensor, "batch cell width"]
Neighbours = Int[Tensor, "graph cell neighbour"]
Heard = Bool[Tensor, "graph cell neighbour"]


class EdgeConvolution(nn.Module):
    """x_i + W mean_j φ(A x_i + B x_j + C (p_j − p_i)) over the neighbours j of a cell at p_i.

    The edge convolution of Wang et al. 2019, arXiv:1801.07829, with a mean in place of its maximum: energies add up.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.own, self.other = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.way = nn.Linear(3, width, bias=False)
        self.output = nn.Linear(width, width)

    def forward(
        self, values: Cells, places: Float[Tensor, "graph cell 3"], neighbours: Neighbours, heard: Heard
    ) -> Cells:
        """Return the features of the next layer."""
        even = self.norm(values)
        ways = gathered(places, neighbours) - places.unsqueeze(2)
        said = self.own(even).unsqueeze(2) + gathered(self.other(even), neighbours) + self.way(ways)
        weight = heard.to(values.dtype)
        weight = weight / weight.sum(2, keepdim=True).clamp(min=1)
        return values + self.output((nn.functional.gelu(said) * weight.unsqueeze(-1)).sum(2))


class GraphEncoder(Encoder):
    """Edge convolutions over the k nearest cells, half of them in a cell's own layer and half in others.

    Args:
        in_channels: channels of a cell; the last three are its place, x, y and depth.
        width: features of each cell.
        depth: number of convolutions.
        neighbours: of each cell, an even number.
        pooling: "mean", "attention" or "last".

    """

    def __init__(
        self,
        in_channels: int,
        width: int = 24,
        depth: int = 2,
        *,
        neighbours: int = 8,
        pooling: PoolingName = "mean",
    ) -> None:
        if in_channels < 4 or neighbours < 2 or neighbours % 2:
            raise UserError(
                "a graph network needs cells with at least 4 channels, the last three their place (CellsView), and an "
                f"even number of neighbours, not {in_channels} channels and {neighbours} neighbours"
            )
        super().__init__(in_channels, width, 1, make_pooling(pooling, width))
        self.each = neighbours // 2
        self.project = nn.Linear(2 * in_channels - 3, width)
        self.blocks = nn.ModuleList(EdgeConvolution(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, width)

    @property
    def layers(self) -> tuple[nn.Module, ...]:
        """Input projection, convolutions and the last layer."""
        return (self.project, *self.blocks, self.output)

    def sequence(
        self, series: Series, lengths: Lengths | None = None, context: ContextVector | None = None
    ) -> Sequence:
        """Return (batch, cell, width) features, zero beyond each shower's cells."""
        valid = None if lengths is None else valid_positions(lengths, series.shape[1])
        if valid is not None:
            series = series * valid.unsqueeze(-1).to(series.dtype)
        energies, places = series[..., :-3], series[..., -3:]
        values = self.project(torch.cat([energies, energies * energies.abs(), places], dim=-1))
        if valid is None and bool((places == places[:1]).all()):
            places = places[:1]  # one graph for all
        neighbours, heard = nearest(places, valid, self.each)
        values = self.modulated(values, 0, context, lengths)
        for layer, block in enumerate(self.blocks, 1):
            values = self.modulated(block(values, places, neighbours, heard), layer, context, lengths)
        values = self.output(nn.functional.gelu(self.norm(values)))
        values = self.modulated(values, len(self.blocks) + 1, context, lengths)
        return Sequence(values if valid is None else values * valid.unsqueeze(-1).to(values.dtype), lengths)


def gathered(values: Float[Tensor, "batch cell width"], neighbours: Neighbours) -> Float[Tensor, "batch cell k width"]:
    """Return what the neighbours of each cell hold; one graph serves a whole batch."""
    if len(neighbours) == 1:
        return values[:, neighbours[0]]
    batch = torch.arange(values.shape[0], device=values.device).reshape(-1, 1, 1)
    return values[batch, neighbours]


def nearest(
    places: Float[Tensor, "graph cell 3"], valid: Bool[Tensor, "graph cell"] | None, each: int
) -> tuple[Neighbours, Heard]:
    """Return the `each` nearest cells of a cell's own layer and of others, and which of them there are."""
    away = (places.unsqueeze(2) - places.unsqueeze(1)).square().sum(-1)
    depth = places[..., 2]
    same = (depth.unsqueeze(2) - depth.unsqueeze(1)).abs() < SAME_LAYER
    barred = torch.eye(places.shape[1], dtype=torch.bool, device=places.device).unsqueeze(0)
    if valid is not None:
        barred = barred | ~valid.unsqueeze(1)
    found = [
        away.masked_fill(barred | left_out, torch.inf).topk(min(each, places.shape[1]), dim=2, largest=False)
        for left_out in (~same, same)
    ]
    indices = torch.cat([one.indices for one in found], dim=2)
    return indices, torch.cat([one.values for one in found], dim=2).isfinite()
