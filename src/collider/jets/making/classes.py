"""The ten classes of jets of JetClass, each with the process that makes it (Qu, Li, Qian 2022, arXiv:2202.03772).

JetClass comes from MadGraph, Pythia and Delphes; these are Pythia's own matrix elements. The background is the jet
beside a Z boson that decays to neutrinos, Higgs bosons come with such a Z, W and Z bosons beside a jet, top quarks in
pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from collider.generation import Process, Resonance

NEUTRINOS: Final = ("nu_e", "nu_mu", "nu_tau")
QUARKS: Final = ("d", "u", "s", "c", "b")
LIGHT_LEPTONS: Final = ("e", "mu")
UP_TYPES: Final = ("u", "c")
"""One of them is in every hadronic decay of a W."""
Z_AND_JET: Final = ("WeakBosonAndParton:qqbar2gmZg", "WeakBosonAndParton:qg2gmZq")
W_AND_JET: Final = ("WeakBosonAndParton:qqbar2Wg", "WeakBosonAndParton:qg2Wq")
HIGGS_AND_Z: Final = ("HiggsSM:ffbar2HZ",)
TOP_PAIR: Final = ("Top:gg2ttbar", "Top:qqbar2ttbar")


@dataclass(frozen=True)
class JetKind:
    """A class of jets.

    code: what `jet_class` holds for it. resonance: PDG code of the particle whose decay the jet holds, 0 for none.
    decays: how particles decay. products: how many of the decay's products can be seen.
    """

    name: str
    code: int
    subprocesses: tuple[str, ...]
    resonance: int
    products: int
    decays: Mapping[str, Resonance] = field(default_factory=dict)
    conjugate: bool = False
    bias: float = 5.0
    """Power of the momentum transfer by which hard events are preferred, so that few jets are made in vain."""

    @property
    def label(self) -> str:
        """The column of JetClass that is 1 for this class."""
        return f"label_{self.name}"

    def process(self, energy_gev: float, pt_gev: tuple[float, float], underlying_event: bool) -> Process:
        """Return what Pythia makes; pt_gev: from what to what jets are wanted."""
        return Process(
            name=self.name,
            subprocesses=self.subprocesses,
            energy_gev=energy_gev,
            resonances=self.decays,
            conjugate=self.conjugate,
            smallest_pt_gev=BELOW * pt_gev[0],
            underlying_event=underlying_event,
            settings={
                "PhaseSpace:bias2Selection": "on",
                "PhaseSpace:bias2SelectionPow": repr(self.bias),
                "PhaseSpace:bias2SelectionRef": repr(pt_gev[0]),
                "PhaseSpace:pTHatMax": repr(ABOVE * pt_gev[1]),
                "WeakZ0:gmZmode": "2",
                # what lives longer meets the detector, as in the simulations of the LHC
                "ParticleDecays:limitTau0": "on",
                "ParticleDecays:tau0Max": "10",
            },
        )


BELOW: Final = 0.9
"""Jets may be harder than the particles that they come from: these are made from this share of the least pT on."""
ABOVE: Final = 1.4
"""And jets may be softer: particles are made up to this multiple of the largest pT."""
_INVISIBLE: Final = Resonance(only=NEUTRINOS)
_HADRONIC: Final = Resonance(only=UP_TYPES)
_TO_WS: Final = {"Z": _INVISIBLE, "h": Resonance(only=("W",))}
_ONE_LEPTON: Final = Resonance(only_particle=LIGHT_LEPTONS, only_antiparticle=UP_TYPES)

KINDS: Final = (
    JetKind("QCD", 0, Z_AND_JET, 0, 0, {"Z": _INVISIBLE}),
    JetKind("Hbb", 1, HIGGS_AND_Z, 25, 2, {"Z": _INVISIBLE, "h": Resonance(only=("b",))}),
    JetKind("Hcc", 2, HIGGS_AND_Z, 25, 2, {"Z": _INVISIBLE, "h": Resonance(only=("c",))}),
    JetKind("Hgg", 3, HIGGS_AND_Z, 25, 2, {"Z": _INVISIBLE, "h": Resonance(only=("g",))}),
    JetKind("H4q", 4, HIGGS_AND_Z, 25, 4, _TO_WS | {"W": _HADRONIC}),
    JetKind("Hqql", 5, HIGGS_AND_Z, 25, 3, _TO_WS | {"W": _ONE_LEPTON}, conjugate=True),
    JetKind("Zqq", 6, Z_AND_JET, 23, 2, {"Z": Resonance(only=QUARKS)}),
    JetKind("Wqq", 7, W_AND_JET, 24, 2, {"W": _HADRONIC}),
    JetKind("Tbqq", 8, TOP_PAIR, 6, 3, {"W": _HADRONIC}),
    JetKind("Tbl", 9, TOP_PAIR, 6, 2, {"W": Resonance(only=LIGHT_LEPTONS)}),
)
"""In the order of JetClass's labels, by which codes count."""
NAMES: Final = tuple(kind.name for kind in KINDS)
LABELS: Final = tuple(kind.label for kind in KINDS)
