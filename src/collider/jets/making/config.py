"""What a set of jets is: which classes, how jets are found and chosen, what the detector sees; typed, from YAML."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collider.generation import Detector, Process
from collider.generation.config import built
from collider.jets.making.classes import KINDS, NAMES, JetKind
from collider.jets.making.tracks import ImpactParameters
from reconstruction.errors import UserError, nearest
from reconstruction.ranges import SEED
from reconstruction.yaml_files import read_yaml


@dataclass(frozen=True)
class JetSample:
    """Jets of some classes, as many of each, with the same flat spectrum of transverse momentum.

    classes: which of the ten. radius, eta, pt_gev: of anti-kT jets, pT from one value to the other. pt_bins: of equal
    width, each filled with as many jets. particles: most constituents of a jet that are written, the hardest.
    energy_gev, underlying_event: of the collisions.
    """

    classes: tuple[str, ...] = NAMES
    radius: float = 0.8
    eta: float = 2.0
    pt_gev: tuple[float, float] = (500.0, 1000.0)
    pt_bins: int = 10
    particles: int = 128
    energy_gev: float = 13000.0
    underlying_event: bool = True
    detector: Detector = field(default_factory=Detector)
    impact: ImpactParameters = field(default_factory=ImpactParameters)
    seed: int = 1

    def __post_init__(self) -> None:
        if not self.classes or len(set(self.classes)) < len(self.classes):
            raise UserError(f"classes of jets are named once each, and at least one, not {list(self.classes)}")
        for name in self.classes:
            if name not in NAMES:
                raise UserError(
                    f"there is no class of jets {name!r}{nearest(name, NAMES)}: ours are {', '.join(NAMES)}"
                )
        low, high = self.pt_gev
        if not 20 <= low < high <= self.energy_gev / 2:
            raise UserError(
                f"pt_gev is from one value of 20 or more to a larger one, at most half of energy_gev, not {low}, {high}"
            )
        for name, least, most in (("radius", 0.1, 3), ("eta", 0.1, 5), ("pt_bins", 1, 1000), ("particles", 1, 1000)):
            if not least <= getattr(self, name) <= most:
                raise UserError(f"{name} of jets must be from {least} to {most}, not {getattr(self, name)!r}")
        if self.seed not in SEED:
            raise UserError(f"seed must be {SEED}, not {self.seed!r}")

    @property
    def kinds(self) -> list[JetKind]:
        """The classes that are asked for."""
        return [kind for kind in KINDS if kind.name in self.classes]

    def process(self, kind: JetKind) -> Process:
        """Return what Pythia makes for a class."""
        return kind.process(self.energy_gev, self.pt_gev, self.underlying_event)

    def to_dict(self) -> dict[str, Any]:
        """Return all values, as they are written into files."""
        return dataclasses.asdict(self)

    @classmethod
    def from_yaml(cls, path: Path) -> JetSample:
        """Read a configuration. Raises UserError, with file and key, for what it cannot mean."""
        given = read_yaml(path)
        return built(cls, {} if given is None else given, "the configuration of jets", path)
