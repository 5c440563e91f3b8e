"""LorentzParT: a Particle Transformer between two linear maps that know the Lorentz group.

The maps (EquiLinear of L-GATr, Spinner et al. 2024, arXiv:2405.14806) take four-vectors as multivectors and commute
with Lorentz transformations; the transformer between them does not, and neither do features such as pT. How much the
whole changes under boosts is measured (`collider.jets.learning.invariance`).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from collider.generation.wheels import wheel
from collider.jets.features import KINEMATIC, SEED_VECTOR
from collider.jets.networks.transformer import FeatureEmbedding, ParticleTransformer, PoolingKind

COMPONENTS = 16
"""Of a multivector of space and time."""
VectorKind = Literal["momenta", "seed"]


def equivariant_linear(inputs: int, outputs: int) -> Any:
    """Return the most general linear map of multivectors that commutes with Lorentz transformations."""
    lgatr, layers = wheel("lgatr"), wheel("lgatr.layers")
    return layers.EquiLinear(
        in_mv_channels=inputs, out_mv_channels=outputs, primitives=lgatr.PrimitivesConfig(),
        in_s_channels=0, out_s_channels=0,
    )  # fmt: skip


class LorentzParticleTransformer(ParticleTransformer):
    """A Particle Transformer whose particles enter and leave as multivectors.

    Args:
        in_channels: channels of a ParticlesView.
        width: features of each particle.
        depth: blocks of attention between particles.
        heads: attention heads; the width is a multiple of their number.
        pair_width: width of the network that makes the bias of a pair; 0 leaves pairs out.
        class_depth: blocks of class attention.
        expansion: width of the feed-forward parts, in widths.
        dropout: dropout in the blocks.
        pooling: class (attention of a token), mean or attention.
        multivectors: multivectors that each particle becomes, and is made into again.
        vectors: momenta, true four-vectors (E, px, py, pz); or seed, (pT, Δη, Δφ, E) taken for one as others did,
            which no Lorentz transformation acts on.

    """

    def __init__(
        self,
        in_channels: int,
        width: int = 64,
        depth: int = 4,
        *,
        heads: int = 4,
        pair_width: int = 16,
        class_depth: int = 2,
        expansion: int = 4,
        dropout: float = 0.0,
        pooling: PoolingKind = "class",
        multivectors: int = 8,
        vectors: VectorKind = "momenta",
    ) -> None:
        self._embedding = (multivectors, vectors)  # before the parent asks for it
        super().__init__(
            in_channels, width, depth,
            heads=heads, pair_width=pair_width, class_depth=class_depth, expansion=expansion, dropout=dropout,
            pooling=pooling,
        )  # fmt: skip
        self.leaving = LeavingMultivectors(width, multivectors)

    def make_embedding(self, features: int, width: int) -> nn.Module:
        """Return the embedding of multivectors."""
        return EnteringMultivectors(features, width, *self._embedding)

    def finished(self, values: Tensor) -> Tensor:
        """Return the features of the last block with what the second map makes of them."""
        return super().finished(values + self.leaving(values))


class EnteringMultivectors(nn.Module):
    """Four-vectors → multivectors → features, beside what is no vector: charge, type, impact parameters."""

    def __init__(self, features: int, width: int, multivectors: int, vectors: VectorKind) -> None:
        super().__init__()
        self.vectors = vectors
        self.places = [KINEMATIC.index(name) for name in SEED_VECTOR]
        self.linear = equivariant_linear(1, multivectors)
        self.project = nn.Linear(COMPONENTS * multivectors, width)
        self.beside = FeatureEmbedding(features, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Tensor, momenta: Tensor) -> Tensor:
        """Return the embedded particles."""
        if self.vectors == "seed":
            vector = torch.stack([features[..., place] for place in self.places], dim=-1)
        else:
            vector = momenta[..., [3, 0, 1, 2]]
        multivector = wheel("lgatr").embed_vector(vector).unsqueeze(-2)
        entered, _ = self.linear(multivector)
        embedded: Tensor = self.norm(self.project(entered.flatten(-2)) + self.beside(features, momenta))
        return embedded


class LeavingMultivectors(nn.Module):
    """Features → multivectors → features: the second map."""

    def __init__(self, width: int, multivectors: int) -> None:
        super().__init__()
        self.enter = nn.Linear(width, COMPONENTS * multivectors)
        self.linear = equivariant_linear(multivectors, multivectors)
        self.project = nn.Linear(COMPONENTS * multivectors, width)

    def forward(self, values: Tensor) -> Tensor:
        """Return what is added to the features."""
        left, _ = self.linear(self.enter(values).unflatten(-1, (-1, COMPONENTS)))
        projected: Tensor = self.project(left.flatten(-2))
        return projected
