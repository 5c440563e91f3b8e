"""Processes of the charged-Higgs search: signal at any masses, and the three backgrounds, as Pythia generates them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from collider.generation import Cuts, Decay, EventFilter, GeneratedLeptons, Process, Resonance, Wanted
from reconstruction.errors import UserError

SIGNAL: Final = "signal"
NONPROMPT, DIBOSON, TTX = "nonprompt", "diboson", "ttx"
BACKGROUNDS: Final = (NONPROMPT, DIBOSON, TTX)
CLASSES: Final = (SIGNAL, *BACKGROUNDS)
"""Names of the classes, in the order of their codes."""
ELECTRON_CHANNEL, MUON_CHANNEL = "1e2mu", "3mu"

TOP_PAIRS: Final = ("Top:gg2ttbar", "Top:qqbar2ttbar")
TOP_PAIR_PB: Final = 833.9
"""NNLO + NNLL at 13 TeV, m(t) = 172.5 GeV: LHC Top Working Group."""
TOP_PAIR_LEADING_ORDER_PB: Final = 509.0
"""Pythia's own, 8.317 with its default parton distributions."""
HEAVIEST_CHARGED_GEV: Final = 167.0
"""A top quark of 172.5 GeV decays to it and a b quark."""
LEAST_LEFT_GEV: Final = 2.0
"""Of m(H±) − m(A): what the W* needs to decay to hadrons."""
LIGHTEST_A_GEV: Final = 15.0
"""Muon pairs below 12 GeV are not selected."""

_ALL: Final = ("e", "mu", "tau")
_MUONS: Final = ("mu", "tau")


def _near(at_least: int, kinds: tuple[str, ...]) -> GeneratedLeptons:
    """Ask before the shower, which moves leptons that are selected above 10 GeV and within 2.5."""
    return GeneratedLeptons(at_least, kinds, pt_gev=7.0, eta=2.7)


def _seen(at_least: int, kinds: tuple[str, ...] = ("e", "mu"), origin: str = "any") -> GeneratedLeptons:
    """Ask before the detector, which moves momenta by 5 % at 10 GeV and no directions of tracks."""
    return GeneratedLeptons(at_least, kinds, pt_gev=8.5, eta=2.5, origin=origin)


TRILEPTON: Final = EventFilter(hard=(_near(3, _ALL), _near(2, _MUONS)), final=(_seen(3), _seen(2, ("mu",))))
"""Three leptons, two of them muons, all of them prompt."""
WITH_ONE_FROM_A_HADRON: Final = EventFilter(
    hard=(_near(2, _ALL), _near(1, _MUONS)),
    final=(_seen(3), _seen(2, ("mu",)), _seen(1, origin="hadron")),
)
"""Two prompt leptons and a third from a hadron with b or c."""

_QUICK_TAUS: Final = {"TauDecays:mode": "0"}
"""Taus decay without spin correlations: with them WZ takes eight times as long, and tt̄ half as long again."""


def trilepton_cuts() -> Mapping[str, Cuts]:
    """Return the channels: three leptons of which two are muons, or all, at least two jets, one with a b tag."""
    jets = {"jets": Wanted(2), "b_jets": Wanted(1)}
    common = {"leptons": Wanted(3, 3, (20.0,)), "charge": 1, "muon_pair_gev": 12.0, **jets}
    return {
        ELECTRON_CHANNEL: Cuts(electrons=Wanted(1, 1), muons=Wanted(2, 2), **common),  # type: ignore[arg-type]
        MUON_CHANNEL: Cuts(electrons=Wanted(0, 0), muons=Wanted(3, 3), **common),  # type: ignore[arg-type]
    }


def sample_name(mass_charged_gev: float, mass_a_gev: float) -> str:
    """Return the name of the signal's sample at these masses."""
    return f"{SIGNAL}_{mass_charged_gev:g}_{mass_a_gev:g}"


def signal_process(
    mass_charged_gev: float, mass_a_gev: float, cross_section_pb: float, underlying_event: bool = True
) -> Process:
    """Return H± → W A, A → μμ from a top quark, half of the events each sign; the W is off shell where it must be.

    cross_section_pb: of both signs together, before any selection. Raises UserError for masses that no top quark, or no
    charged Higgs boson, can decay to.
    """
    if not LIGHTEST_A_GEV <= mass_a_gev <= mass_charged_gev - LEAST_LEFT_GEV:
        raise UserError(
            f"a charged Higgs boson of {mass_charged_gev:g} GeV cannot decay to W and A of {mass_a_gev:g} GeV here: A "
            f"must have {LIGHTEST_A_GEV:g} GeV or more, and leave {LEAST_LEFT_GEV:g} GeV or more for the W"
        )
    if mass_charged_gev > HEAVIEST_CHARGED_GEV:
        raise UserError(
            f"no top quark decays to a charged Higgs boson of {mass_charged_gev:g} GeV: give at most "
            f"{HEAVIEST_CHARGED_GEV:g} GeV"
        )
    return Process(
        sample_name(mass_charged_gev, mass_a_gev),
        TOP_PAIRS,
        resonances={
            "H+": Resonance(mass_charged_gev, 0.01, decays=(Decay(("A", "W")),)),
            "A": Resonance(mass_a_gev, 0.01, decays=(Decay(("mu", "-mu")),)),
            "W": Resonance(lowest_mass_gev=0.1),
            "t": Resonance(added_decays=(Decay(("H+", "b")),), only_particle=("H+",), only_antiparticle=("W",)),
        },
        conjugate=True,
        underlying_event=underlying_event,
        cross_section_pb=cross_section_pb,
        filter=TRILEPTON,
        settings={"Higgs:useBSM": "on"} | _QUICK_TAUS,
    )


def background_processes(underlying_event: bool = True) -> dict[str, Process]:
    """Return the backgrounds by name.

    nonprompt: pairs of top quarks, two leptons of theirs and a third from a hadron. diboson: WZ and ZZ. ttx: pairs of
    top quarks with a Z, for which a Higgs boson of its mass and width that decays to two muons stands in, since Pythia
    has no tt̄Z: the Z's couplings and spin are not there, its cross-section is.
    """
    nonprompt = Process(
        NONPROMPT,
        TOP_PAIRS,
        underlying_event=underlying_event,
        k_factor=TOP_PAIR_PB / TOP_PAIR_LEADING_ORDER_PB,
        filter=WITH_ONE_FROM_A_HADRON,
        settings=_QUICK_TAUS,
    )
    diboson = Process(
        DIBOSON,
        ("WeakDoubleBoson:ffbar2ZW", "WeakDoubleBoson:ffbar2gmZgmZ"),
        resonances={"W": Resonance(only=_ALL), "Z": Resonance(only=_MUONS)},
        underlying_event=underlying_event,
        k_factor=DIBOSON_K_FACTOR,
        filter=TRILEPTON,
        settings={"WeakZ0:gmZmode": "2"} | _QUICK_TAUS,
    )
    ttx = Process(
        TTX,
        ("HiggsSM:gg2Httbar", "HiggsSM:qqbar2Httbar"),
        resonances={"h": Resonance(Z_MASS_GEV, Z_WIDTH_GEV, decays=(Decay(("mu", "-mu")),))},
        underlying_event=underlying_event,
        cross_section_pb=TTZ_PB * Z_TO_MUONS,
        filter=TRILEPTON,
        settings=_QUICK_TAUS,
    )
    return {process.name: process for process in (nonprompt, diboson, ttx)}


Z_MASS_GEV, Z_WIDTH_GEV, Z_TO_MUONS = 91.19, 2.495, 0.03366
"""Review of Particle Physics (2024)."""
TTZ_PB: Final = 0.86
"""tt̄Z at 13 TeV, NLO QCD and electroweak: LHC Higgs Cross Section Working Group, arXiv:1610.07922."""
DIBOSON_K_FACTOR: Final = 2.1
"""WZ at 13 TeV: 51.1 pb at NNLO (Grazzini et al., arXiv:1604.08576) over the 24 pb of leading order."""
