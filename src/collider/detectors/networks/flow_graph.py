"""Particle flow as a graph: tracks and clusters about a candidate, with edges that are learned.

Edge convolutions (arXiv:1801.07829) over the nearest in η and φ. What an edge knows beside both ends is what rules of
particle flow look at: how far apart they are, how their energies compare, and whether they were linked.
"""

from __future__ import annotations

import torch

from reconstruction.errors import UserError
from reconstruction.models.conditioning.context import ContextVector
from reconstruction.models.edges import EdgeConvEncoder, nearest_objects, of_neighbours
from reconstruction.models.encoders.base import Sequence
from reconstruction.models.encoders.pooling import PoolingName
from reconstruction.models.encoders.positions import valid_positions
from reconstruction.shapes import Float, Lengths, Series

GRAPH_CHANNELS = 4
"""The last channels of an object: η and φ from those of the candidate, ln(E/GeV), the number of whom it belongs to."""
EDGE_FEATURES = 5
NEAR = 0.05
"""Distance in η and φ below which they are told linearly, and logarithmically above: a few towers."""
LEAST_APART = 0.005


class FlowGraphEncoder(EdgeConvEncoder):
    """Edge convolutions over tracks and clusters about a candidate: one graph in η and φ for all blocks.

    Of the numbers of whom objects belong to it is only known whether two are the same: neither the order of objects nor
    how they are counted matters.

    Args:
        in_channels: channels of an object; the last four are η and φ from those of the candidate, ln(E/GeV), and the
            number of the candidate that it belongs to.
        width: features of an object that the first block reads.
        widths: features behind each block.
        neighbours: of each object, k; fewer where there are fewer others.
        depth: linear layers on each edge of a block.
        pooling: "mean", "attention" or "last"; all but the last are blind to the order of the objects.

    """

    def __init__(
        self,
        in_channels: int,
        width: int = 32,
        widths: tuple[int, ...] = (32, 48),
        *,
        neighbours: int = 8,
        depth: int = 2,
        pooling: PoolingName = "attention",
    ) -> None:
        if in_channels < GRAPH_CHANNELS or neighbours < 1 or depth < 1 or not widths or min(width, *widths) < 1:
            raise UserError(
                f"a graph of particle flow needs objects with at least {GRAPH_CHANNELS} channels, the last of them η, "
                "φ, ln E and whom they belong to (NeighboursView), and at least one neighbour, layer and width, not "
                f"{in_channels} channels, {neighbours} neighbours, a depth of {depth} and widths of {[width, *widths]}"
            )
        super().__init__(in_channels, in_channels - 1, width, widths, EDGE_FEATURES, neighbours, depth, pooling)

    def sequence(
        self, series: Series, lengths: Lengths | None = None, context: ContextVector | None = None
    ) -> Sequence:
        """Return (batch, object, width) features, zero beyond each candidate's objects."""
        valid = None if lengths is None else valid_positions(lengths, series.shape[1])
        if valid is not None:
            series = series * valid.unsqueeze(-1).to(series.dtype)
        graph = series[..., -GRAPH_CHANNELS:]
        eta, phi, log_energy, _ = graph.unbind(-1)
        told = torch.stack([told_distance(eta), told_distance(phi), log_energy], dim=-1)
        values = self.project(torch.cat([series[..., :-GRAPH_CHANNELS], told], dim=-1))
        values = self.modulated(values, 0, context, lengths)
        places = torch.stack([eta, phi.cos(), phi.sin()], dim=-1)  # the chord knows no seam
        near, heard = nearest_objects(places, valid, self.neighbours)
        edges = of_neighbours(edge_features(graph), near)
        for layer, block in enumerate(self.blocks, 1):
            values = self.modulated(block(values, edges, near, heard), layer, context, lengths)
        return Sequence(values if valid is None else values * valid.unsqueeze(-1).to(values.dtype), lengths)


def told_distance(away: torch.Tensor) -> torch.Tensor:
    """Return a distance in η or φ of either sign, asinh(d/NEAR)."""
    return torch.asinh(away / NEAR)


def edge_features(graph: Float[torch.Tensor, "batch object 4"]) -> Float[torch.Tensor, "batch object object 5"]:
    """Return what is known of object i with object j: of the last channels of both.

    asinh(Δη/NEAR) and asinh(sin Δφ/NEAR) from i to j, ln √(ΔR² + LEAST_APART²) with the chord in φ, ln(E_j/E_i), and
    whether both belong to the same candidate.
    """
    eta, phi, log_energy, owner = graph.unbind(-1)
    along, turn, energies = (part.unsqueeze(1) - part.unsqueeze(2) for part in (eta, phi, log_energy))
    chord = 2 * torch.sin(turn / 2)
    apart = (along.square() + chord.square() + LEAST_APART**2).sqrt()
    same = (owner.unsqueeze(1) == owner.unsqueeze(2)).to(graph.dtype)
    return torch.stack([told_distance(along), told_distance(turn.sin()), apart.log(), energies, same], dim=-1)
