"""What a network sees of an event: an object a position, the missing momentum first."""

from __future__ import annotations

from typing import Final

import torch

from collider.generation.objects import JET
from collider.generation.smearing import ELECTRON, MUON
from collider.higgs.networks.particle_net import KINEMATICS
from reconstruction.models.conditioning.context import Settings
from reconstruction.models.encoders.views import RecordView, View
from reconstruction.random.keyed import KeyedRandom
from reconstruction.random.transforms import RandomTransform
from reconstruction.shapes import Lengths, Series

OBJECTS: Final = "objects"
"""Name of the one input: (batch, 1 + object, channel), the missing momentum before the objects of the file."""
MISSING: Final = 0
"""Code of the missing momentum among the kinds of objects."""
KINDS: Final = (MISSING, JET, ELECTRON, MUON)
CHANNELS: Final = (
    "object_kind",
    "object_charge",
    "object_b_tag",
    "object_isolation",
    "object_mass_gev",
    "object_pt_gev",
    "object_eta",
    "object_phi_rad",
)
"""What is seen of an object, in the order of the input. Not what the generator alone knows: where it comes from."""
LEAST_GEV: Final = 1e-3


class ObjectsView(RecordView):
    """Objects with their kind as switches, charge, tag, isolation, mass, and ln(pT/GeV), η, cos φ, sin φ at the end.

    told_of: masses in GeV that the model is told, whose logarithms stand before ln pT of each object, 0 where they are
    not known. Scalars: ln of the sum of all pT, and the number of objects.
    """

    reads, scalar_count = OBJECTS, 2

    def __init__(self, told_of: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.told_of = told_of
        self.channels = len(KINDS) + len(CHANNELS) + len(told_of)

    def forward(self, series: Series) -> View:
        """Return the view."""
        kind, charge, tag, isolation, mass, pt, eta, phi = series.unbind(-1)
        switches = [(kind == code).to(series.dtype) for code in KINDS]
        there = pt > 0
        log_pt = pt.clamp(min=LEAST_GEV).log()
        seen = [charge, tag, torch.log1p(isolation.clamp(min=0)), torch.log1p(mass.clamp(min=0)) / 4]
        told = torch.stack([*switches, *seen, log_pt, eta, phi.cos(), phi.sin()], dim=-1)
        objects = there[:, 1:].sum(1).to(series.dtype)
        return View(told, torch.stack([pt.sum(1).clamp(min=LEAST_GEV).log(), objects], dim=1))

    def with_settings(self, made: View, settings: Settings) -> View:
        """Return the view with the logarithms of masses (batch, mass) before the kinematics."""
        logs = torch.where(settings > 0, settings, 1.0).log().to(made.series.dtype)
        told = logs.unsqueeze(1).expand(-1, made.series.shape[1], -1)
        series = torch.cat([made.series[..., :-KINEMATICS], told, made.series[..., -KINEMATICS:]], dim=-1)
        return made._replace(series=series)

    def lengths(self, lengths: Lengths, samples: int, positions: int) -> Lengths:
        """Return how many positions are real: as many as before."""
        return lengths

    def lengths_told(self, series: Series) -> Lengths:
        """Return the objects with a momentum, and the missing momentum before them."""
        return 1 + (series[:, 1:, CHANNELS.index("object_pt_gev")] > 0).sum(1)


class Turned(RandomTransform):
    """Turn an event around the beam and exchange its ends: proton collisions look the same from all of these sides."""

    def forward(self, series: Series, random: KeyedRandom, scale: float | torch.Tensor = 1.0) -> Series:
        """Return the turned objects; `scale` has no meaning here."""
        drawn = random.uniform(3, stream="turned").to(series.dtype)
        angle = (2 * torch.pi * drawn[:, 0]).unsqueeze(1)
        ends, mirror = (1 - 2 * (drawn[:, 1:] >= 0.5).to(series.dtype)).unbind(1)
        eta, phi = series[..., -2] * ends.unsqueeze(1), series[..., -1] * mirror.unsqueeze(1) + angle
        return torch.cat([series[..., :-2], eta.unsqueeze(-1), phi.unsqueeze(-1)], dim=-1)
