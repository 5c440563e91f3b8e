"""Edge convolutions: what each object of a set hears of its nearest neighbours   Wang et al. 2019, arXiv:1801.07829"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from reconstruction.models.encoders.base import Encoder
from reconstruction.models.encoders.pooling import PoolingName, make_pooling
from reconstruction.shapes import Bool, Float, Int

Objects = Float[torch.Tensor, "batch object width"]
Neighbours = Int[torch.Tensor, "batch object neighbour"]
Heard = Bool[torch.Tensor, "batch object neighbour"]
Pairs = Float[torch.Tensor, "batch object neighbour feature"]
AllPairs = Float[torch.Tensor, "batch object object feature"]


class EdgeConv(nn.Module):
    """φ(S x_i + mean_j h(x_i, x_j − x_i, u_ij)) over the neighbours j of an object i      arXiv:1902.08570, fig. 1

    h has `depth` linear layers, a norm and φ = ReLU behind each; u_ij is what is known of the pair beside the features.
    The norm is over the features of an edge, so that events do not see each other, in place of one over the batch. Of
    W (x_i, x_j − x_i) the part of i and that of j are computed once an object, not once an edge.
    """

    def __init__(self, in_width: int, width: int, pair_features: int, depth: int) -> None:
        super().__init__()
        self.own, self.other = nn.Linear(in_width, width), nn.Linear(in_width, width, bias=False)
        self.pair = nn.Linear(pair_features, width, bias=False) if pair_features else None
        self.further = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.shortcut = nn.Linear(in_width, width)

    def forward(
        self, values: Objects, pairs: Pairs | None, neighbours: Neighbours, heard: Heard
    ) -> Float[torch.Tensor, "batch object told"]:
        """Return the features of the next block; `pairs` are those of the neighbours."""
        said = self.own(values).unsqueeze(2) + gathered(self.other(values), neighbours)
        if self.pair is not None and pairs is not None:
            said = said + self.pair(pairs)
        said = torch.relu(self.norms[0](said))
        for layer, norm in zip(self.further, list(self.norms)[1:], strict=True):
            said = torch.relu(norm(layer(said)))
        weight = heard.to(values.dtype)
        weight = weight / weight.sum(2, keepdim=True).clamp(min=1)
        return torch.relu(self.shortcut(values) + (said * weight.unsqueeze(-1)).sum(2))


class EdgeConvEncoder(Encoder):
    """Abstract encoder of edge convolutions: objects are projected, then hear their neighbours block after block.

    in_channels: of an object; project_channels: how many the projection reads. width: features of an object that the
    first block reads; widths: features behind each block. pair_features: what an edge knows beside both ends.
    neighbours: of each object. depth: linear layers on each edge of a block. A context modulates the objects before the
    first block and behind each.
    """

    def __init__(
        self,
        in_channels: int,
        project_channels: int,
        width: int,
        widths: Sequence[int],
        pair_features: int,
        neighbours: int,
        depth: int,
        pooling: PoolingName,
    ) -> None:
        super().__init__(in_channels, widths[-1], 1, make_pooling(pooling, widths[-1]))
        self.neighbours = neighbours
        self.project = nn.Linear(project_channels, width)
        made = zip((width, *widths[:-1]), widths, strict=True)
        self.blocks = nn.ModuleList(EdgeConv(read, told, pair_features, depth) for read, told in made)
        self._widths = (width, *widths)

    @property
    def layers(self) -> tuple[nn.Module, ...]:
        """Input projection and blocks."""
        return (self.project, *self.blocks)

    @property
    def modulated_widths(self) -> tuple[int, ...]:
        """Width behind the projection and behind each block."""
        return self._widths


def gathered(values: Objects, neighbours: Neighbours) -> Float[torch.Tensor, "batch object neighbour width"]:
    """Return what the neighbours of each object hold."""
    batch, objects, count = neighbours.shape
    place = neighbours.reshape(batch, objects * count, 1).expand(-1, -1, values.shape[-1])
    return values.gather(1, place).reshape(batch, objects, count, values.shape[-1])


def of_neighbours(features: AllPairs, neighbours: Neighbours) -> Pairs:
    """Return what is known of each object with its neighbours, of what is known of all pairs."""
    return features.gather(2, neighbours.unsqueeze(-1).expand(-1, -1, -1, features.shape[-1]))


def nearest_objects(
    places: Objects, valid: Bool[torch.Tensor, "batch object"] | None, neighbours: int
) -> tuple[Neighbours, Heard]:
    """Return the nearest others of each object, as many as there are places for, and which of them there are."""
    count = places.shape[1]
    exact = places.detach().to(torch.promote_types(places.dtype, torch.float32))
    away = (exact.unsqueeze(2) - exact.unsqueeze(1)).square().sum(-1)
    barred = torch.eye(count, dtype=torch.bool, device=places.device).unsqueeze(0)
    if valid is not None:
        barred = barred | ~valid.unsqueeze(1)
    found = away.masked_fill(barred, torch.inf).topk(min(neighbours, count - 1), dim=2, largest=False)
    return found.indices, found.values.isfinite()
