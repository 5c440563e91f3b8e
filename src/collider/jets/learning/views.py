"""What a network sees of a jet: its particles, with what is known of each; and the mass of their sum as a yardstick."""

from __future__ import annotations

import torch

from collider.jets.features import MOMENTA, FeatureSet, channels_of, mass_of, series_of, total
from collider.jets.learning.data import PARTICLES
from collider.jets.schema import TRUE_MASS
from reconstruction.models.encoders.views import RecordView, View
from reconstruction.records.batch import Inputs
from reconstruction.shapes import Lengths, Series, Targets
from reconstruction.training.network.yardstick import Yardstick

LEAST_MASS_GEV = 1.0
"""Jets that are lighter count as much: their mass is that of a few particles, and is in none of them."""


class ParticlesView(RecordView):
    """A position for each particle: its four-vector and features; ln pT and ln mass of their sum as scalars.

    Args:
        features: kin (kinematics), kinpid (with charge and type) or full (with impact parameters), as of JetClass.

    """

    reads, scalar_count = PARTICLES, 2

    def __init__(self, features: FeatureSet = "full") -> None:
        super().__init__()
        self.features: FeatureSet = features
        self.channels = channels_of(features)

    def forward(self, series: Series) -> View:
        """Return the view."""
        four = total(series[..., :MOMENTA])
        pt = four[:, :2].square().sum(dim=1).sqrt()
        scalars = torch.stack([pt.clamp(min=LEAST_MASS_GEV), mass_of(four).clamp(min=LEAST_MASS_GEV)], dim=1).log()
        return View(series_of(series, self.features), scalars.to(series.dtype))

    def lengths(self, lengths: Lengths, samples: int, positions: int) -> Lengths:
        """Return the number of particles."""
        return lengths


class SumMass(Yardstick):
    """Measures the mass of the particle-level jet in the mass of the sum of what was seen."""

    def __init__(self, targets: tuple[str, ...]) -> None:
        super().__init__()
        self.measured = [name == TRUE_MASS for name in targets]

    def forward(self, inputs: Inputs) -> Targets:
        """Return the mass of the sum for masses, 1 for other targets."""
        mass = mass_of(total(inputs[PARTICLES][..., :MOMENTA])).clamp(min=LEAST_MASS_GEV).unsqueeze(1)
        return torch.cat([mass if measured else torch.ones_like(mass) for measured in self.measured], dim=1)
