"""A Deep Set (Zaheer et al. 2017, arXiv:1703.06114; for jets Komiske, Metodiev, Thaler 2019, arXiv:1810.05165)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from collider.jets.features import MOMENTA
from collider.jets.networks.particles import ParticleEncoder, SeenParticles
from reconstruction.models.conditioning.context import ContextVector
from reconstruction.models.encoders.pooling import make_pooling
from reconstruction.shapes import Lengths


class DeepSetEncoder(ParticleEncoder):
    """A perceptron of each particle, and the mean: particles do not see each other.

    Args:
        in_channels: channels of a ParticlesView.
        width: features of each particle.
        depth: hidden layers of the perceptron.
        pooling: mean or attention.

    """

    def __init__(
        self, in_channels: int, width: int = 128, depth: int = 3, *, pooling: Literal["mean", "attention"] = "mean"
    ) -> None:
        super().__init__(in_channels, width, make_pooling(pooling, width))
        self.embed = nn.Linear(in_channels - MOMENTA, width)
        self.hidden_layers = nn.ModuleList(
            nn.Sequential(nn.GELU(), nn.LayerNorm(width), nn.Linear(width, width)) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)

    @property
    def layers(self) -> tuple[nn.Module, ...]:
        """The layers of the perceptron."""
        return (self.embed, *self.hidden_layers)

    def embedded(self, seen: SeenParticles) -> Tensor:
        """Return a linear map of each particle's features."""
        values: Tensor = self.embed(seen.features)
        return values

    def mixed(
        self, values: Tensor, seen: SeenParticles, context: ContextVector | None, lengths: Lengths | None
    ) -> Tensor:
        """Return what the perceptron makes of each particle alone."""
        for layer, block in enumerate(self.hidden_layers, 1):
            values = self.modulated(block(values), layer, context, lengths)
        normed: Tensor = self.norm(values)
        return normed
