"""What physics is made with: the rules of the flow, jets, which leptons and photons are taken; from YAML."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from collider.detectors.calorimeters.config import require_between
from collider.detectors.physics.rules import FlowRules
from collider.generation.config import built
from collider.generation.jets import Clustering
from reconstruction.yaml_files import read_yaml


@dataclass(frozen=True)
class Prompt:
    """Leptons and photons that come from no jet.

    Args:
        lepton_pt_gev: Smallest pT of an electron or a muon, with the photons around it.
        photon_pt_gev: Smallest pT of a photon.
        eta: Largest |η|.
        dressing: Photons within this ΔR belong to their lepton.
        isolation_radius: ΔR within which other particles count.
        isolation: Largest sum of their pT over its own.

    """

    lepton_pt_gev: float = 15.0
    photon_pt_gev: float = 25.0
    eta: float = 2.4
    dressing: float = 0.1
    isolation_radius: float = 0.3
    isolation: float = 0.2

    def __post_init__(self) -> None:
        for high, names in ((1e4, ("lepton_pt_gev", "photon_pt_gev")), (10, ("eta", "dressing", "isolation_radius"))):
            require_between("prompt", {name: getattr(self, name) for name in names}, 0, high)
        require_between("prompt", {"isolation": self.isolation}, 0, 1e6)


@dataclass(frozen=True)
class PhysicsConfig:
    """Cuts of everything.

    Args:
        flow: Rules of the particle flow.
        jets: How jets are found; the softest reconstructed ones that true jets are matched with are half as hard.
        jet_distance: Largest ΔR of a jet to its true one.
        prompt: Leptons and photons of mass peaks.

    """

    flow: FlowRules = field(default_factory=FlowRules)
    jets: Clustering = field(default_factory=Clustering)
    jet_distance: float = 0.2
    prompt: Prompt = field(default_factory=Prompt)

    def __post_init__(self) -> None:
        require_between("the configuration", {"jet_distance": self.jet_distance}, 1e-3, 3)

    @classmethod
    def from_yaml(cls, path: Path) -> PhysicsConfig:
        """Read a file that says what differs. Raises UserError, with file and key, for what it cannot mean."""
        return built(cls, read_yaml(path) or {}, "the configuration of physics", path)
