"""Which generated events are worth a detector: leptons asked for before the shower, and before smearing and jets.

What a filter drops is counted, so the cross-section of what is kept stays right. It costs next to nothing before the
shower (ten microseconds an event, against milliseconds of shower and hadrons), and little before smearing and jets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collider.generation import pdg
from collider.generation.events import FINAL, prompt
from collider.generation.kinematics import LARGEST_ETA, pseudorapidity, transverse
from collider.generation.wheels import wheel
from reconstruction.errors import UserError, nearest

CHARGED_LEPTONS: Final = ("e", "mu", "tau")
ANY, PROMPT, HADRON = "any", "prompt", "hadron"
ORIGINS: Final = (ANY, PROMPT, HADRON)


@dataclass(frozen=True)
class GeneratedLeptons:
    """How many leptons a filter asks for, of these kinds, above pT and up to |η|.

    origin: `prompt` (no hadron made it), `hadron` (one did: what a b or c hadron decays to), or `any`.
    """

    at_least: int = 1
    kinds: tuple[str, ...] = ("e", "mu")
    pt_gev: float = 0.0
    eta: float = LARGEST_ETA
    origin: str = ANY

    def __post_init__(self) -> None:
        if not 1 <= self.at_least <= 100:
            raise UserError(f"at_least of a filter must be from 1 to 100, not {self.at_least!r}")
        unknown = next((kind for kind in self.kinds if kind not in CHARGED_LEPTONS), None)
        if unknown is not None or not self.kinds:
            raise UserError(
                f"kinds of a filter are of {', '.join(CHARGED_LEPTONS)}, not {unknown or 'none'}"
                f"{nearest(unknown, CHARGED_LEPTONS) if unknown else ''}"
            )
        if self.origin not in ORIGINS:
            raise UserError(f"origin of a filter is one of {', '.join(ORIGINS)}, not {self.origin!r}")
        if not self.pt_gev >= 0 or not self.eta > 0:
            raise UserError(
                f"pt_gev of a filter must be 0 or more and eta more than 0, not {self.pt_gev!r} and {self.eta!r}"
            )

    @property
    def codes(self) -> frozenset[int]:
        """PDG codes of the kinds."""
        return frozenset(pdg.code_of(kind) for kind in self.kinds)


@dataclass(frozen=True)
class EventFilter:
    """What is asked of a generated event; all of it must be there.

    hard: of the hard process and the decays of its resonances, before the shower: all leptons are prompt, a tau has not
    decayed, and what the shower recoils against may still change their pT by some GeV. final: of the leptons that
    are left when all has decayed, before the detector.
    """

    hard: tuple[GeneratedLeptons, ...] = ()
    final: tuple[GeneratedLeptons, ...] = ()

    def __post_init__(self) -> None:
        if any(one.origin == HADRON for one in self.hard):
            raise UserError("filter.hard is asked before there are hadrons: origin hadron belongs to filter.final")
        if any("tau" in one.kinds for one in self.final):
            raise UserError("filter.final is asked when taus have decayed: ask for e and mu, or for tau in filter.hard")

    def passes_hard(self, record: Any) -> bool:
        """Whether one of Pythia's events, which is no more than the hard process, passes."""
        found = [
            (code, particle.pT(), abs(particle.eta()))
            for particle in (record[i] for i in range(record.size()))
            if (code := particle.idAbs()) in _LEPTON_CODES and particle.isFinal()
        ]
        return all(
            sum(code in one.codes and pt >= one.pt_gev and eta <= one.eta for code, pt, eta in found) >= one.at_least
            for one in self.hard
        )

    def passed(self, events: Any) -> NDArray[np.bool_]:
        """Return which events (event,) have the leptons of `final`."""
        passed = np.ones(len(events), dtype=bool)
        if not self.final or not len(events):
            return passed
        ak = wheel("awkward")
        particles = events.particles
        origin = ak.unflatten(prompt(particles), ak.num(particles))
        lepton = (particles.status == FINAL) & ((abs(particles.pdg_id) == 11) | (abs(particles.pdg_id) == 13))
        leptons, is_prompt = particles[lepton], origin[lepton]
        pt, eta = transverse(leptons.px, leptons.py), abs(pseudorapidity(leptons.px, leptons.py, leptons.pz))
        for one in self.final:
            found = (pt >= one.pt_gev) & (eta <= one.eta)
            if len(one.codes) == 1:
                found = found & (abs(leptons.pdg_id) == next(iter(one.codes)))
            if one.origin != ANY:
                found = found & (is_prompt == (one.origin == PROMPT))
            passed &= ak.sum(found, axis=1).to_numpy() >= one.at_least
        return passed


_LEPTON_CODES: Final = frozenset(pdg.code_of(kind) for kind in CHARGED_LEPTONS)
