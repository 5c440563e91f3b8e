"""Scales of the particles' features, fitted on the training split and part of the encoder: fine-tuning keeps them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from collider.jets.features import MOMENTA, NAMES, STANDARDISED, features_in
from reconstruction.models.precision import in_precision
from reconstruction.models.scaling import Standardise
from reconstruction.shapes import Float, Lengths, Series

FITTED_ROWS = 1 << 18
"""So many particles tell their mean and their spread."""


class ParticleScales(nn.Module):
    """Features standardised where they have no scale of their own, and the energy in whose units momenta are given."""

    keeps: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.names = NAMES[features_in(channels)]
        self.features = Standardise(len(self.names))
        self.energy = Standardise(1)
        kept = [name not in STANDARDISED for name in self.names]
        self.register_buffer("keeps", torch.tensor(kept), persistent=False)

    @property
    def fitted(self) -> bool:
        """Whether the scales are known."""
        return self.features.fitted

    def fit(self, particles: Float[Tensor, "row channel"]) -> None:
        """Fit on particles of the training split."""
        self.features.fit(particles[:, MOMENTA:])
        self.features.shift[self.keeps] = 0.0
        self.features.scale[self.keeps] = 1.0
        # of a four-vector only one scale for all: components are not shifted, nor scaled apart
        self.energy.fit(particles[:, 3:4])
        self.energy.scale.copy_(self.energy.shift)
        self.energy.shift.zero_()

    def forward(self, series: Series) -> tuple[Tensor, Tensor]:
        """Return features (batch, particle, feature) and momenta (batch, particle, 4) in their scales."""
        features = series[..., MOMENTA:]
        scaled = self.features(features.flatten(0, 1)).view_as(features)
        momenta = series[..., :MOMENTA]
        return scaled, self.energy(momenta.reshape(-1, 1)).view_as(momenta)


def real_particles(batches: Iterable[tuple[Series, Lengths | None]]) -> Iterable[Series]:
    """Yield batches of series, until there are particles enough, with zeros where no particle is."""
    seen = 0
    for series, lengths in batches:
        real = series[..., 3] > 0
        if lengths is not None:
            real = real & (torch.arange(series.shape[1], device=series.device) < lengths.unsqueeze(1))
        seen += int(real.sum())
        yield in_precision(series * real.unsqueeze(-1).to(series.dtype), torch.float32)
        if seen >= FITTED_ROWS:
            return
