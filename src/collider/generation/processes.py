"""What is generated, typed: hard processes, masses, widths and decays, as a YAML file says them, for Pythia 8."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from collider.generation import pdg
from collider.generation.filters import EventFilter
from reconstruction.errors import UserError

SHARE_STANDS: Final = 100
"""meMode of a decay whose share is what is written, on the mass shell and off it.

With Pythia's default the width of H⁺ → W A is 0 below m(A) + m(W), and the channel closes without a word.
"""


@dataclass(frozen=True)
class Decay:
    """A decay: PDG codes or names of its products, with signs as in `-13`, and its share."""

    products: tuple[str, ...]
    share: float = 1.0

    def __post_init__(self) -> None:
        if not 2 <= len(self.products) <= 8:
            raise UserError(f"a decay has from 2 to 8 products, not {list(self.products)}")
        if not self.share > 0:
            raise UserError(f"the share of a decay must be more than 0, not {self.share!r}")
        _ = self.codes

    @property
    def codes(self) -> tuple[int, ...]:
        """Signed PDG codes of the products. Raises UserError for unknown ones."""
        return tuple(-pdg.code_of(word[1:]) if word.startswith("-") else pdg.code_of(word) for word in self.products)


@dataclass(frozen=True)
class Resonance:
    """What differs from Pythia's own particle.

    mass_gev, width_gev: its mass and a width that stands, lowest_mass_gev: the end of its tail. decays: all that it
    has; added_decays: those beside Pythia's. only: products of which a decay must hold one, for example `[e, mu, tau]`;
    only_particle, only_antiparticle: the same of one of the two alone.
    """

    mass_gev: float | None = None
    width_gev: float | None = None
    lowest_mass_gev: float | None = None
    decays: tuple[Decay, ...] = ()
    added_decays: tuple[Decay, ...] = ()
    only: tuple[str, ...] = ()
    only_particle: tuple[str, ...] = ()
    only_antiparticle: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("mass_gev", "width_gev", "lowest_mass_gev"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1e5:
                raise UserError(f"{name} of a particle must be more than 0 and at most 100000 GeV, not {value!r}")
        for word in (*self.only, *self.only_particle, *self.only_antiparticle):
            pdg.code_of(word)
        if bool(self.only_particle) != bool(self.only_antiparticle) or (self.only and self.only_particle):
            raise UserError("the decays of a particle are chosen by `only`, or by only_particle with only_antiparticle")

    def commands(self, code: int) -> Iterator[str]:
        """Yield Pythia's commands for the particle of this code."""
        if self.lowest_mass_gev is not None:
            yield f"{code}:mMin = {self.lowest_mass_gev!r}"
        if self.mass_gev is not None:
            yield f"{code}:m0 = {self.mass_gev!r}"
        if self.width_gev is not None:
            yield f"{code}:mWidth = {self.width_gev!r}"
            yield f"{code}:doForceWidth = on"
        for i, decay in enumerate((*self.decays, *self.added_decays)):
            verb = "oneChannel" if i == 0 and self.decays else "addChannel"
            yield f"{code}:{verb} = 1 {decay.share!r} {SHARE_STANDS} {' '.join(map(str, decay.codes))}"
        yield from self.choices(code)

    def choices(self, code: int, conjugate: bool = False) -> Iterator[str]:
        """Yield the commands that choose decays, those of particle and antiparticle exchanged where asked for."""
        positive, negative = self.only_particle, self.only_antiparticle
        if conjugate:
            positive, negative = negative, positive
        if self.only or positive:
            yield f"{code}:onMode = off"
        for verb, words in (("onIfAny", self.only), ("onPosIfAny", positive), ("onNegIfAny", negative)):
            if words:
                yield f"{code}:{verb} = {' '.join(str(pdg.code_of(word)) for word in words)}"


@dataclass(frozen=True)
class Process:
    """A process: what collides and what is generated.

    subprocesses: Pythia's switches, such as `Top:gg2ttbar`; resonances: particles, by name or PDG code, that differ
    from Pythia's; conjugate: exchange only_particle and only_antiparticle for every other batch, so that half of the
    events have each sign. lhe_file: events of another generator that Pythia showers, in place of subprocesses.
    underlying_event: further interactions of the same protons (three times the time). cross_section_pb: replaces
    Pythia's, of leading order, decays that were chosen included; k_factor multiplies it instead, and leaves the
    branching ratios of chosen decays to Pythia. filter: leptons without which an event is dropped early; it is counted,
    so both are those of all events. settings: any other of Pythia's.
    """

    name: str
    subprocesses: tuple[str, ...] = ()
    beams: tuple[int, int] = (2212, 2212)
    energy_gev: float = 13000.0
    resonances: Mapping[str, Resonance] = field(default_factory=dict)
    conjugate: bool = False
    lhe_file: str | None = None
    smallest_pt_gev: float = 0.0
    underlying_event: bool = True
    cross_section_pb: float | None = None
    k_factor: float = 1.0
    filter: EventFilter = field(default_factory=EventFilter)
    settings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.+-]+", self.name):
            raise UserError(f"the name of a process is made of letters, digits, _, -, + and dots, not {self.name!r}")
        if bool(self.subprocesses) == bool(self.lhe_file):
            raise UserError(f"process {self.name} wants either subprocesses, such as Top:gg2ttbar, or lhe_file")
        for name, low in (("energy_gev", 10.0), ("smallest_pt_gev", 0.0), ("cross_section_pb", 0.0)):
            value = getattr(self, name)
            if value is not None and not low <= value <= 1e12:
                raise UserError(f"{name} of process {self.name} must be {low:g} or more, not {value!r}")
        if self.cross_section_pb == 0:
            raise UserError(f"cross_section_pb of process {self.name} must be more than 0")
        if not 0 < self.k_factor <= 1000 or (self.cross_section_pb is not None and self.k_factor != 1):
            raise UserError(
                f"k_factor of process {self.name} multiplies Pythia's cross-section: give from 0 to 1000, and no "
                f"cross_section_pb beside it, not {self.k_factor!r}"
            )
        if self.conjugate and not any(resonance.only_particle for resonance in self.resonances.values()):
            raise UserError(f"process {self.name} is conjugate, but none of its particles has only_particle")
        self._require_open()

    def _require_open(self) -> None:
        """Raise UserError for a decay into more than the mass; of particles with their own lowest mass, that counts."""
        resonances = self.by_code
        for code, resonance in resonances.items():
            mass_gev = math.inf if resonance.mass_gev is None else resonance.mass_gev
            for decay in resonance.decays:
                least = sum(_least_gev(resonances.get(abs(product))) for product in decay.codes)
                if least >= mass_gev:
                    raise UserError(
                        f"process {self.name}: particle {code} of {mass_gev:g} GeV cannot decay to "
                        f"{' '.join(decay.products)}, of {least:g} GeV or more"
                    )

    @property
    def by_code(self) -> dict[int, Resonance]:
        """Resonances by PDG code. Raises UserError where one stands twice."""
        found = {pdg.code_of(name): resonance for name, resonance in self.resonances.items()}
        if len(found) < len(self.resonances):
            raise UserError(f"a particle stands twice in the resonances of process {self.name}")
        return found

    def commands(self) -> list[str]:
        """Return Pythia's commands. What is random and what is said are not among them."""
        first, second = self.beams
        if self.lhe_file:
            begin = ["Beams:frameType = 4", f"Beams:LHEF = {self.lhe_file}"]
        else:
            begin = [f"Beams:idA = {first}", f"Beams:idB = {second}", f"Beams:eCM = {self.energy_gev!r}"]
        begin += [f"{name} = on" for name in self.subprocesses]
        begin += [f"PhaseSpace:pTHatMin = {self.smallest_pt_gev!r}"] if self.smallest_pt_gev else []
        begin += [] if self.underlying_event else ["PartonLevel:MPI = off"]
        begin += [f"{name} = {value}" for name, value in self.settings.items()]
        return begin + [command for code, one in self.by_code.items() for command in one.commands(code)]

    def turns(self) -> list[list[str]]:
        """Return the commands by which batches differ, to be taken in turn; none where all are alike."""
        if not self.conjugate:
            return []
        return [
            [command for code, one in self.by_code.items() for command in one.choices(code, conjugate)]
            for conjugate in (False, True)
        ]


def _least_gev(resonance: Resonance | None) -> float:
    """Return the least mass of a decay's product: of a narrow one its mass, of a broad one the end of its tail."""
    if resonance is None:
        return 0.0
    if resonance.width_gev is not None and resonance.width_gev < 1 and resonance.mass_gev is not None:
        return resonance.mass_gev
    return resonance.lowest_mass_gev or 0.0
