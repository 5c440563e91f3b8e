"""What the muon stations are: where they stand, how much iron is before them, how well they measure; from YAML."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from collider.detectors.calorimeters.config import require_between
from collider.showers import Material, material
from reconstruction.errors import UserError

STATIONS: Final = 4


@dataclass(frozen=True)
class MuonStations:
    """Closed cylinders of several layers of chambers, with iron before each.

    radius_mm, half_length_mm, absorber_cm: of each station and of the iron (and coil) before it, across; hole: no
    station beyond this |η|. return_field_t: along z in the iron, against the solenoid's. layers of chambers are
    layer_gap_mm apart; efficiency: of one; resolution_mm: along φ, and across (z in the barrel, r at the ends);
    noise_hits: mean number in an event. punch_through_gev: energy of a hadron's shower that reaches a station for one
    charged particle there.
    """

    radius_mm: tuple[float, ...] = (4200.0, 5000.0, 6100.0, 7200.0)
    half_length_mm: tuple[float, ...] = (6900.0, 8200.0, 9300.0, 10300.0)
    absorber_cm: tuple[float, ...] = (30.0, 40.0, 63.0, 63.0)
    material: str = "Fe"
    hole: float = 2.4
    coil_radius_mm: float = 3000.0
    coil_half_length_mm: float = 6300.0
    return_field_t: float = -1.8
    layers: int = 4
    layer_gap_mm: float = 100.0
    efficiency: float = 0.97
    resolution_mm: tuple[float, float] = (0.25, 1.0)
    noise_hits: float = 2.0
    punch_through_gev: float = 20.0

    def __post_init__(self) -> None:
        for name in ("radius_mm", "half_length_mm", "absorber_cm"):
            if len(getattr(self, name)) != STATIONS:
                raise UserError(f"muons.{name} must be {STATIONS} numbers, one a station, not {getattr(self, name)!r}")
        for name, first in (("radius_mm", self.coil_radius_mm), ("half_length_mm", self.coil_half_length_mm)):
            inner = (first, *getattr(self, name)[:-1])
            for before, there, iron in zip(inner, getattr(self, name), self.absorber_cm, strict=True):
                if not there - before > 10 * iron >= 0:
                    raise UserError(
                        f"muons.{name} must rise from the coil's {first:g} mm on by more than the iron between, not "
                        f"{there:g} after {before:g} with {iron:g} cm"
                    )
        require_between("muons", {"efficiency": self.efficiency}, 0, 1)
        require_between("muons", {"layers": self.layers}, 2, 100)
        require_between("muons", {"layer_gap_mm": self.layer_gap_mm}, 1, 1000)
        require_between("muons", {"noise_hits": self.noise_hits}, 0, 1e5)
        require_between("muons", {"hole": self.hole}, 0.1, 5)
        require_between("muons", {"return_field_t": self.return_field_t}, -10, 10)
        for name, value in zip(("resolution_mm[0]", "resolution_mm[1]"), self.resolution_mm, strict=True):
            require_between("muons", {name: value}, 1e-6, 1000)
        require_between("muons", {"punch_through_gev": self.punch_through_gev}, 1e-3, 1e9)
        if not math.isfinite(self.iron.interaction_length_cm):
            raise UserError(f"hadrons want the interaction length of muons.material {self.material}: it is not known")

    @cached_property
    def iron(self) -> Material:
        """The material of the absorber."""
        return material(self.material)
