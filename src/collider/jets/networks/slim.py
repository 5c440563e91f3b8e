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
from collider.jets.features import KINEMATIC
from collider.jets.networks.particles import ParticleEncoder, SeenParticles
from reconstruction.errors import UserError
from reconstruction.models.conditioning.context import ContextVector
from reconstruction.models.encoders.pooling import make_pooling
from reconstruction.models.precision import in_precision
from reconstruction.shapes import Float, Lengths

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

    def embedded(self, seen: SeenParticles) -> Tensor:
        """Return the scalars of each particle: no boost changes them."""
        there = (seen.series[..., 3:4] > 0).to(seen.features.dtype)
        scalars: Tensor = self.embed(torch.cat([there, seen.features[..., self.places]], dim=-1))
        return scalars

    def mixed(
        self, values: Tensor, seen: SeenParticles, context: ContextVector | None, lengths: Lengths | None
    ) -> Tensor:
        """Return the scalars, and invariants of the four-vectors, after all blocks."""
        vectors, scalars = self.network.linear_in(seen.momenta[..., [3, 0, 1, 2]].unsqueeze(-1), values)
        told = {} if seen.real is None else {"attn_mask": seen.real[:, None, None, :]}
        for layer, block in enumerate(self.network.blocks, 1):
            vectors, scalars = block(vectors, scalars, **told)
            scalars = self.modulated(scalars, layer, context, lengths)
        vectors, scalars = self.network.linear_out(vectors, scalars)
        normed: Tensor = self.norm(scalars + self.squares(in_precision(squared(vectors), scalars.dtype)))
        return normed


def squared(vectors: Float[Tensor, "*batch 4 channel"]) -> Float[Tensor, "*batch channel"]:
    """Return ± ln(1 + |v²|), the sign that of v², of four-vectors (E, px, py, pz)."""
    square = (vectors.square() * vectors.new_tensor(METRIC).unsqueeze(-1)).sum(dim=-2)
    return square.sign() * square.abs().log1p()
