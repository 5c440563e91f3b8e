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
class Tagging:
    """Large jets that are told apart by what is in them.

    Args:
        jets: How they are found; pT is of the true particles.
        w_gev: Smallest mass of a W boson's particles in a jet that is one.
        top_gev: Smallest mass of a W boson's and a top quark's particles in a jet that is a top quark.
        members: Trees of an ensemble, each trained on events of its own drawing.
        parts: Parts of the events; jets of each are judged by trees that were trained on the others.

    """

    jets: Clustering = field(default_factory=lambda: Clustering(radius=1.0, pt_gev=150.0, eta=2.0))
    w_gev: float = 60.0
    top_gev: float = 140.0
    members: int = 5
    parts: int = 3

    def __post_init__(self) -> None:
        require_between("tagging", {"w_gev": self.w_gev, "top_gev": self.top_gev}, 0, 1e4)
        for name, least in (("members", 1), ("parts", 2)):
            require_between("tagging", {name: getattr(self, name)}, least, 100)


@dataclass(frozen=True)
class PhysicsConfig:
    """Cuts of everything.

    Args:
        flow: Rules of the particle flow.
        jets: How jets are found; the softest reconstructed ones that true jets are matched with are half as hard.
        jet_distance: Largest ΔR of a jet to its true one.
        prompt: Leptons and photons of mass peaks.
        tagging: Large jets that are told apart.

    """

    flow: FlowRules = field(default_factory=FlowRules)
    jets: Clustering = field(default_factory=Clustering)
    jet_distance: float = 0.2
    prompt: Prompt = field(default_factory=Prompt)
    tagging: Tagging = field(default_factory=Tagging)

    def __post_init__(self) -> None:
        require_between("the configuration", {"jet_distance": self.jet_distance}, 1e-3, 3)

    @classmethod
    def from_yaml(cls, path: Path) -> PhysicsConfig:
        """Read a file that says what differs. Raises UserError, with file and key, for what it cannot mean."""
        return built(cls, read_yaml(path) or {}, "the configuration of physics", path)
