"""A slim L-GATr: attention between particles that is equivariant throughout, so that its features are invariant.

Four-vectors and scalars are two streams that meet in Minkowski products alone (L-GATr, Spinner et al. 2024,
arXiv:2405.14806; its slim form is `LGATrSlim` of the library lgatr). What leaves are scalars: no boost and no rotation
of the jet changes them, as long as no feature that changes is fed.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from collider.generation.wheels import wheel
from collider.jets.features import KINEMATIC, within
from collider.jets.networks.transformer import HiddenParticles, ParticleEncoder
from reconstruction.errors import UserError
from reconstruction.models.conditioning.context import ContextVector
from reconstruction.models.encoders.base import Sequence
from reconstruction.models.encoders.pooling import make_pooling
from reconstruction.models.encoders.positions import valid_positions
from reconstruction.models.precision import in_precision
from reconstruction.shapes import Float, Lengths, Series

ScalarKind = Literal["invariant", "all"]
METRIC = (1.0, -1.0, -1.0, -1.0)
"""Of (E, px, py, pz)."""


class SlimLorentzTransformer(ParticleEncoder):
    """A slim L-GATr of four-vectors (E, px, py, pz) and of what no boost changes: charge, type, impact parameters.

    Args:
        in_channels: channels of a ParticlesView.
        width: scalars of each particle.
        depth: blocks of attention between particles.
        vectors: four-vectors of each particle.
        heads: attention heads; width and vectors are multiples of their number.
        expansion: width of the feed-forward parts, in widths.
        pooling: mean or attention.
        scalars: invariant; or all, pT, energy and directions too, which breaks the invariance: an ablation.

    """

    def __init__(
        self,
        in_channels: int,
        width: int = 64,
        depth: int = 4,
        *,
        vectors: int = 16,
        heads: int = 4,
        expansion: int = 2,
        pooling: Literal["mean", "attention"] = "mean",
        scalars: ScalarKind = "invariant",
    ) -> None:
        for name, value in (("width", width), ("vectors", vectors)):
            if value % heads:
                raise UserError(f"the {name} of a slim L-GATr is a multiple of its heads, {heads}, not {value}")
        super().__init__(in_channels, width, make_pooling(pooling, width))
        names = self.scales.names
        self.places = [place for place, name in enumerate(names) if scalars == "all" or name not in KINEMATIC]
        self.embed = nn.Linear(1 + len(self.places), width)  # the first says that a particle is there
        self.network = wheel("lgatr").LGATrSlim(
            num_blocks=depth, in_v_channels=1, out_v_channels=vectors, hidden_v_channels=vectors,
            in_s_channels=width, out_s_channels=width, hidden_s_channels=width, num_heads=heads, mlp_ratio=expansion,
        )  # fmt: skip
        self.squares = nn.Linear(vectors, width)
        self.norm = nn.LayerNorm(width)

    @property
    def layers(self) -> tuple[nn.Module, ...]:
        """What enters, then the blocks."""
        return (nn.ModuleList([self.embed, self.network.linear_in]), *self.network.blocks)

    def sequence(
        self,
        series: Series,
        lengths: Lengths | None = None,
        context: ContextVector | None = None,
        hidden: HiddenParticles | None = None,
    ) -> Sequence:
        """Return (batch, particle, width) invariant features, zero beyond each jet's particles."""
        # a jet without particles attends to its first place: a softmax over nothing is not a number
        real = None if lengths is None else valid_positions(lengths.clamp(min=1), series.shape[1])
        series = within(series, real)
        if hidden is not None:
            series = hidden.hide(series)
        features, momenta = self.scales(series)
        there = (series[..., 3:4] > 0).to(features.dtype)
        scalars = self.embed(torch.cat([there, features[..., self.places]], dim=-1))
        if hidden is not None:
            scalars = hidden.stand_in(scalars)
        scalars = self.modulated(scalars, 0, context, lengths)
        vectors, scalars = self.network.linear_in(momenta[..., [3, 0, 1, 2]].unsqueeze(-1), scalars)
        told = {} if real is None else {"attn_mask": real[:, None, None, :]}
        for layer, block in enumerate(self.network.blocks, 1):
            vectors, scalars = block(vectors, scalars, **told)
            scalars = self.modulated(scalars, layer, context, lengths)
        vectors, scalars = self.network.linear_out(vectors, scalars)
        values = self.norm(scalars + self.squares(in_precision(squared(vectors), scalars.dtype)))
        return Sequence(values if real is None else values * real.unsqueeze(-1).to(values.dtype), lengths)


def squared(vectors: Float[Tensor, "*batch 4 channel"]) -> Float[Tensor, "*batch channel"]:
    """Return ± ln(1 + |v²|), the sign that of v², of four-vectors (E, px, py, pz)."""
    square = (vectors.square() * vectors.new_tensor(METRIC).unsqueeze(-1)).sum(dim=-2)
    return square.sign() * square.abs().log1p()
