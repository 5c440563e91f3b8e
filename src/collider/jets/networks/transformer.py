"""The Particle Transformer: attention that knows pairs of particles (Qu, Li, Qian 2022, arXiv:2202.03772)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from collider.jets.features import MOMENTA
from collider.jets.networks.blocks import ClassAttention, ParticleBlock
from collider.jets.networks.pairs import PairBias, pair_features, upper
from collider.jets.networks.particles import ParticleEncoder, SeenParticles
from collider.jets.networks.scales import real_particles
from reconstruction.errors import UserError
from reconstruction.models.conditioning.context import ContextVector
from reconstruction.models.encoders.pooling import Pooling, make_pooling
from reconstruction.shapes import Lengths, Series

PoolingKind = Literal["class", "mean", "attention"]
MOST_PAIRS = 1 << 19


def make_particle_pooling(kind: PoolingKind, width: int, heads: int, depth: int, expansion: int) -> Pooling:
    """Return the pooling of this name: class attention, or one of the core's."""
    return ClassAttention(width, heads, depth, expansion) if kind == "class" else make_pooling(kind, width)


class ParticleTransformer(ParticleEncoder):
    """Particle Transformer: blocks of attention with pair bias, then class attention.

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
    ) -> None:
        if width % heads:
            raise UserError(f"the width of a Particle Transformer is a multiple of its heads, {heads}, not {width}")
        super().__init__(in_channels, width, make_particle_pooling(pooling, width, heads, class_depth, expansion))
        features = in_channels - MOMENTA
        self.embed = self.make_embedding(features, width)
        self.pairs = PairBias(pair_width, heads) if pair_width else None
        self.blocks = nn.ModuleList(ParticleBlock(width, heads, expansion, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def make_embedding(self, features: int, width: int) -> nn.Module:
        """Return the network that embeds a particle, which is called with its features and its momentum."""
        return FeatureEmbedding(features, width)

    def finished(self, values: Tensor) -> Tensor:
        """Return the features of the last block as they are handed on."""
        normed: Tensor = self.norm(values)
        return normed

    @property
    def layers(self) -> tuple[nn.Module, ...]:
        """Embedding of particles and pairs, then the blocks."""
        first = [self.embed, *([] if self.pairs is None else [self.pairs])]
        return (nn.ModuleList(first), *self.blocks)

    def fit(self, batches: Iterable[tuple[Series, Lengths | None]]) -> None:
        """Fit the scales of particles and of pairs on series of the training split."""
        series = list(real_particles(batches))
        super().fit((one, None) for one in series)
        if self.pairs is not None:
            pairs = _pairs_of(series)
            if len(pairs):
                self.pairs.scale.fit(pairs)
            else:  # where one particle of each jet is read
                self.pairs.scale.leave()

    def embedded(self, seen: SeenParticles) -> Tensor:
        """Return the embedding of each particle."""
        values: Tensor = self.embed(seen.features, seen.momenta)
        return values

    def mixed(
        self, values: Tensor, seen: SeenParticles, context: ContextVector | None, lengths: Lengths | None
    ) -> Tensor:
        """Return the particles after all blocks."""
        bias = None
        if self.pairs is not None:
            bias = self.pairs(seen.series[..., :MOMENTA], seen.series[..., 3] > 0)
        for layer, block in enumerate(self.blocks, 1):
            values = self.modulated(block(values, bias, seen.real), layer, context, lengths)
        return self.finished(values)


class FeatureEmbedding(nn.Module):
    """A perceptron of each particle's features; it does not look at its momentum."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(features, width), nn.GELU(), nn.LayerNorm(width), nn.Linear(width, width), nn.GELU()
        )

    def forward(self, features: Tensor, momenta: Tensor) -> Tensor:
        """Return the embedded particles."""
        embedded: Tensor = self.network(features)
        return embedded


def _pairs_of(series: list[Series]) -> Tensor:
    """Return the features of pairs of particles, (pair, 4), of as many jets as are needed."""
    found, count = [], 0
    for one in series:
        real = one[..., 3] > 0
        first, second = upper(one.shape[1], one.device)
        kept = pair_features(one[..., :MOMENTA])[real[:, first] & real[:, second]]
        found.append(kept)
        count += len(kept)
        if count >= MOST_PAIRS:
            break
    return torch.cat(found)
