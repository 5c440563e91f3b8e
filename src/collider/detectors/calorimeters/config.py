"""What the two calorimeters are: where they stand, what of, which cells, how they are read; typed, from YAML."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from collider.detectors.calorimeters.grid import AngularGrid
from collider.showers import Material, SamplingMaterial, material
from reconstruction.errors import UserError


def require_between(owner: str, values: dict[str, Any], low: float, high: float) -> None:
    """Raise UserError for the first value that is not a number from low to high."""
    for name, value in values.items():
        if not (isinstance(value, int | float) and low <= value <= high):
            raise UserError(f"{owner}.{name} must be from {low:g} to {high:g}, not {value!r}")


@dataclass(frozen=True)
class CellReadout:
    """What electronics make of a cell's energy.

    constant_term: spread of the cells' calibration, always the same cells'; noise_gev: of each cell; threshold_gev:
    less is not read.
    """

    constant_term: float
    noise_gev: float
    threshold_gev: float

    def __post_init__(self) -> None:
        require_between("readout", {"constant_term": self.constant_term}, 0, 0.5)
        for name in ("noise_gev", "threshold_gev"):
            require_between("readout", {name: getattr(self, name)}, 0, 100)
        if self.threshold_gev < self.noise_gev:
            raise UserError(
                f"readout.threshold_gev must be noise_gev ({self.noise_gev:g}) or more, not {self.threshold_gev:g}: "
                "most cells would be read for their noise"
            )


@dataclass(frozen=True)
class Ecal:
    """Crystals behind the front of a closed cylinder, pointing to the origin.

    radius_mm, half_length_mm: of the front; depth_cm: of the crystals along a particle's path; rings, sectors: cells in
    η and φ; stochastic_term: c of σ/E = c/√E, the photostatistics; hadronic_response: h/e.
    """

    radius_mm: float = 1290.0
    half_length_mm: float = 3170.0
    depth_cm: float = 23.0
    material: str = "PbWO4"
    rings: int = 340
    sectors: int = 360
    stochastic_term: float = 0.028
    hadronic_response: float = 0.5
    readout: CellReadout = field(default_factory=lambda: CellReadout(0.003, 0.03, 0.09))

    def __post_init__(self) -> None:
        _require_box("ecal", self)
        require_between("ecal", {"stochastic_term": self.stochastic_term}, 0, 0.99)
        if not math.isfinite(self.medium.interaction_length_cm):
            raise UserError(f"hadrons want the interaction length of ecal.material {self.material}: it is not known")

    @cached_property
    def medium(self) -> Material:
        """The material."""
        return material(self.material)

    @property
    def grid(self) -> AngularGrid:
        """The cells."""
        return AngularGrid(self.rings, self.sectors)

    @property
    def depth_lambda(self) -> float:
        """Depth in interaction lengths."""
        return self.depth_cm / self.medium.interaction_length_cm

    @property
    def depth_x0(self) -> float:
        """Depth in radiation lengths."""
        return self.depth_cm / self.medium.radiation_length_cm


@dataclass(frozen=True)
class Hcal:
    """Layers of a passive and an active material behind the ECAL, read as towers in several depths.

    depth_edges_cm: where towers are divided along a particle's path, from 0 to their end. hadronic_response: h/e.
    The sampling fluctuation follows from the layers.
    """

    radius_mm: float = 1790.0
    half_length_mm: float = 3900.0
    depth_edges_cm: tuple[float, ...] = (0.0, 33.0, 116.0)
    passive: str = "Cu"
    active: str = "scintillator"
    passive_thickness_cm: float = 5.05
    active_thickness_cm: float = 0.37
    rings: int = 68
    sectors: int = 72
    hadronic_response: float = 0.71
    readout: CellReadout = field(default_factory=lambda: CellReadout(0.02, 0.2, 0.6))

    def __post_init__(self) -> None:
        edges = self.depth_edges_cm
        if len(edges) < 2 or edges[0] != 0 or any(not b > a for a, b in itertools.pairwise(edges)):
            raise UserError(f"hcal.depth_edges_cm must rise from 0 to the end of the towers, not {list(edges)}")
        _require_box("hcal", self)
        if not math.isfinite(self.medium.interaction_length_cm):
            raise UserError("hadrons want the interaction lengths of hcal.passive and hcal.active: one is not known")

    @cached_property
    def medium(self) -> SamplingMaterial:
        """The layers."""
        return SamplingMaterial(
            material(self.passive), material(self.active), self.passive_thickness_cm, self.active_thickness_cm
        )

    @property
    def grid(self) -> AngularGrid:
        """The cells."""
        return AngularGrid(self.rings, self.sectors, len(self.depth_edges_cm) - 1)

    @property
    def depth_cm(self) -> float:
        """Depth along a particle's path."""
        return self.depth_edges_cm[-1]

    @property
    def depth_lambda(self) -> float:
        """Depth in interaction lengths."""
        return self.depth_cm / self.medium.interaction_length_cm

    @property
    def stochastic_term(self) -> float:
        """C of σ/E = c/√E of electromagnetic showers."""
        return self.medium.resolution_term


def _require_box(owner: str, part: Ecal | Hcal) -> None:
    for name in ("radius_mm", "half_length_mm", "depth_cm"):
        require_between(owner, {name: getattr(part, name)}, 1e-3, 1e5)
    require_between(owner, {"rings": part.rings, "sectors": part.sectors}, 2, 100_000)
    require_between(owner, {"hadronic_response": part.hadronic_response}, 0.05, 2)
    if part.rings % 2:
        raise UserError(f"{owner}.rings must be even, half of them on either side, not {part.rings!r}")


@dataclass(frozen=True)
class Hadronic:
    """How showers of hadrons fluctuate and spread.

    scale_gev, baryon_scale_gev, power: of ⟨f_em⟩ = 1 − (E/scale)^(power − 1); pieces, pieces_per_log: the mean f of a
    fraction fluctuates as f(1 − f)/(1 + pieces + pieces_per_log ln E); intrinsic_term: c of σ/E = c/√E of the hadronic
    part beside the sampling; electromagnetic_radius_rm, hadronic_radius_lambda: of the lateral profiles; spots_per_gev:
    into which a shower is divided, at most `most_spots` in each of its two parts.
    """

    scale_gev: float = 1.0
    baryon_scale_gev: float = 2.6
    power: float = 0.82
    pieces: float = 3.0
    pieces_per_log: float = 2.0
    intrinsic_term: float = 0.6
    electromagnetic_radius_rm: float = 0.5
    hadronic_radius_lambda: float = 0.2
    spots_per_gev: float = 15.0
    most_spots: int = 500

    def __post_init__(self) -> None:
        require_between("hadrons", {"scale_gev": self.scale_gev, "baryon_scale_gev": self.baryon_scale_gev}, 0.1, 10)
        require_between("hadrons", {"power": self.power}, 0.5, 0.99)
        require_between("hadrons", {"pieces": self.pieces, "pieces_per_log": self.pieces_per_log}, 0, 1e6)
        require_between("hadrons", {"intrinsic_term": self.intrinsic_term}, 0, 5)
        radii = {name: getattr(self, name) for name in ("electromagnetic_radius_rm", "hadronic_radius_lambda")}
        require_between("hadrons", radii, 0.01, 10)
        require_between("hadrons", {"spots_per_gev": self.spots_per_gev}, 0.1, 1e4)
        require_between("hadrons", {"most_spots": self.most_spots}, 1, 1e6)


@dataclass(frozen=True)
class Calorimeters:
    """ECAL and HCAL, one behind the other. Raises UserError where the second does not stand behind the first."""

    ecal: Ecal = field(default_factory=Ecal)
    hcal: Hcal = field(default_factory=Hcal)
    hadrons: Hadronic = field(default_factory=Hadronic)

    def __post_init__(self) -> None:
        behind = self.ecal.depth_cm * 10
        for name in ("radius_mm", "half_length_mm"):
            first, second = getattr(self.ecal, name), getattr(self.hcal, name)
            if second < first + behind:
                raise UserError(
                    f"hcal.{name} must be {first + behind:g} mm or more, behind the crystals, not {second:g}"
                )
