"""A Deep Set (Zaheer et al. 2017, arXiv:1703.06114; for jets Komiske, Metodiev, Thaler 2019, arXiv:1810.05165)."""

from __future__ import annotations

from typing import Literal

from torch import nn

from collider.jets.features import MOMENTA, within
from collider.jets.networks.transformer import HiddenParticles, ParticleEncoder
from reconstruction.models.conditioning.context import ContextVector
from reconstruction.models.encoders.base import Sequence
from reconstruction.models.encoders.pooling import make_pooling
from reconstruction.models.encoders.positions import valid_positions
from reconstruction.shapes import Lengths, Series


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

    def sequence(
        self,
        series: Series,
        lengths: Lengths | None = None,
        context: ContextVector | None = None,
        hidden: HiddenParticles | None = None,
    ) -> Sequence:
        """Return (batch, particle, width) features, zero beyond each jet's particles."""
        real = None if lengths is None else valid_positions(lengths, series.shape[1])
        series = within(series, real)
        if hidden is not None:
            series = hidden.hide(series)
        values = self.embed(self.scales(series)[0])
        if hidden is not None:
            values = hidden.stand_in(values)
        values = self.modulated(values, 0, context, lengths)
        for layer, block in enumerate(self.hidden_layers, 1):
            values = self.modulated(block(values), layer, context, lengths)
        values = self.norm(values)
        return Sequence(values if real is None else values * real.unsqueeze(-1).to(values.dtype), lengths)
