"""What all encoders of the particles of a jet have in common, whether or not particles are hidden from them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from collider.jets.features import within
from collider.jets.networks.scales import ParticleScales, real_particles
from reconstruction.models.conditioning.context import ContextVector
from reconstruction.models.encoders.base import Encoder, Sequence
from reconstruction.models.encoders.pooling import Pooling
from reconstruction.models.encoders.positions import valid_positions
from reconstruction.models.precision import in_precision
from reconstruction.shapes import Bool, Float, Lengths, Series


class HiddenParticles(NamedTuple):
    """Particles that are hidden, and what stands in their place."""

    places: Bool[Tensor, "batch particle"]
    tokens: Float[Tensor, "batch particle width"]

    def hide(self, series: Series) -> Series:
        """Return a series without them."""
        return within(series, ~self.places)

    def stand_in(self, values: Tensor) -> Tensor:
        """Return embedded particles with the tokens in the place of those that are hidden."""
        return torch.where(self.places.unsqueeze(-1), in_precision(self.tokens, values.dtype), values)


class SeenParticles(NamedTuple):
    """Particles as an encoder may see them."""

    series: Series
    """Zero where there is none, or where it is hidden."""
    features: Tensor
    """Standardised."""
    momenta: Tensor
    """Four-vectors, in units of the training's mean energy."""
    real: Bool[Tensor, "batch particle"] | None
    """Which places are filled, or stand for a particle that is hidden; of a jet without particles, the first."""


class ParticleEncoder(Encoder):
    """An encoder of the particles of a jet: a series of a `ParticlesView`, in any order, and of any number.

    A subclass embeds particles (`embedded`) and lets them look at each other (`mixed`). `scales` standardise features.
    """

    takes_channels = False
    of_tokens = True

    def __init__(self, in_channels: int, width: int, pooling: Pooling) -> None:
        super().__init__(in_channels, width, 1, pooling)
        self.scales = ParticleScales(in_channels)

    @property
    def fitted(self) -> bool:
        """Whether the scales are known."""
        return self.scales.fitted

    def fit(self, batches: Iterable[tuple[Series, Lengths | None]]) -> None:
        """Fit the scales on series of the training split."""
        series = list(real_particles(batches))
        self.scales.fit(torch.cat([one[one[..., 3] > 0] for one in series]))

    @abstractmethod
    def embedded(self, seen: SeenParticles) -> Tensor:
        """Return what each particle is alone, (batch, particle, width)."""

    @abstractmethod
    def mixed(
        self, values: Tensor, seen: SeenParticles, context: ContextVector | None, lengths: Lengths | None
    ) -> Tensor:
        """Return what each is beside the others, of embedded particles that were told the context."""

    def sequence(
        self,
        series: Series,
        lengths: Lengths | None = None,
        context: ContextVector | None = None,
        hidden: HiddenParticles | None = None,
    ) -> Sequence:
        """Return (batch, particle, width) features before pooling, zero beyond each jet's particles."""
        # a jet without particles attends to its first place: a softmax over nothing is not a number
        real = None if lengths is None else valid_positions(lengths.clamp(min=1), series.shape[1])
        series = within(series, real)
        if hidden is not None:
            series = hidden.hide(series)
        features, momenta = self.scales(series)
        seen = SeenParticles(series, features, momenta, real)
        values = self.embedded(seen)
        if hidden is not None:
            values = hidden.stand_in(values)
        values = self.mixed(self.modulated(values, 0, context, lengths), seen, context, lengths)
        return Sequence(values if real is None else values * real.unsqueeze(-1).to(values.dtype), lengths)
