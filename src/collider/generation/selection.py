"""Which events are kept: counts of objects with thresholds, as data, in one or several channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collider.generation.kinematics import momentum
from collider.generation.objects import JET
from collider.generation.smearing import ELECTRON, MUON
from collider.generation.wheels import wheel
from reconstruction.errors import UserError

MANY: Final = 1000
NO_CHANNEL: Final = -1


@dataclass(frozen=True)
class Wanted:
    """How many objects of a kind: from `at_least` to `at_most`, the hardest above the thresholds `pt_gev`, in order."""

    at_least: int = 0
    at_most: int = MANY
    pt_gev: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.at_least <= self.at_most:
            raise UserError(f"at_least {self.at_least} and at_most {self.at_most} of a selection allow no number")
        if any(pt < 0 for pt in self.pt_gev) or len(self.pt_gev) > max(self.at_least, 0):
            raise UserError(
                f"pt_gev of a selection holds thresholds of 0 or more for at most at_least ({self.at_least}) objects, "
                f"not {list(self.pt_gev)}"
            )


@dataclass(frozen=True)
class Cuts:
    """What a channel asks of an event.

    electrons, muons, leptons (both), jets, b_jets: how many. charge: size of the sum of the leptons' charges.
    muon_pair_gev: the least mass of each pair of muons of opposite charge; where it is given, there must be one.
    missing_pt_gev: the least.
    """

    electrons: Wanted = field(default_factory=Wanted)
    muons: Wanted = field(default_factory=Wanted)
    leptons: Wanted = field(default_factory=Wanted)
    jets: Wanted = field(default_factory=Wanted)
    b_jets: Wanted = field(default_factory=Wanted)
    charge: int | None = None
    muon_pair_gev: float | None = None
    missing_pt_gev: float = 0.0

    def passed(self, seen: Any) -> NDArray[np.bool_]:
        """Return which of the events (of `objects.reconstruct`) pass."""
        objects = seen.objects
        groups = {
            "electrons": objects.kind == ELECTRON,
            "muons": objects.kind == MUON,
            "leptons": objects.kind != JET,
            "jets": objects.kind == JET,
            "b_jets": (objects.kind == JET) & objects.b_tag,
        }
        passed = np.asarray(seen.missing_pt.to_numpy() >= self.missing_pt_gev)
        for name, mask in groups.items():
            passed &= _enough(objects.pt[mask], getattr(self, name))
        if self.charge is not None:
            ak = wheel("awkward")
            total = ak.sum(objects.charge[objects.kind != JET], axis=1).to_numpy()
            passed &= np.abs(total) == abs(self.charge)
        if self.muon_pair_gev is not None:
            passed &= _pairs_above(objects[objects.kind == MUON], self.muon_pair_gev)
        return passed


@dataclass(frozen=True)
class Selection:
    """Channels by name, of which an event is kept in the first that it passes; none given: every event is kept."""

    channels: Mapping[str, Cuts] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Names of the channels."""
        return list(self.channels) or ["all"]

    def channel_of(self, seen: Any) -> NDArray[np.int8]:
        """Return the number of each event's channel, −1 where it passes none."""
        if not self.channels:
            return np.zeros(len(seen), dtype=np.int8)
        found = np.full(len(seen), NO_CHANNEL, dtype=np.int8)
        for number, cuts in reversed(list(enumerate(self.channels.values()))):
            found[cuts.passed(seen)] = number
        return found


def _enough(pt: Any, wanted: Wanted) -> NDArray[np.bool_]:
    """Return where there are as many as wanted, hard enough. pt: a list for each event."""
    ak = wheel("awkward")
    number = ak.num(pt).to_numpy()
    passed = (number >= wanted.at_least) & (number <= wanted.at_most)
    if wanted.pt_gev:
        hardest = ak.sort(pt, axis=1, ascending=False)
        padded = ak.fill_none(ak.pad_none(hardest, len(wanted.pt_gev), clip=True), 0.0).to_numpy()
        passed &= (padded >= np.array(wanted.pt_gev)).all(axis=1)
    return np.asarray(passed, dtype=bool)


def pair_masses(leptons: Any) -> Any:
    """Return the masses of all pairs of opposite charge of each event, massless leptons assumed."""
    ak = wheel("awkward")
    one, other = ak.unzip(ak.combinations(leptons, 2))
    opposite = one.charge * other.charge < 0
    one, other = one[opposite], other[opposite]
    first, second = momentum(one.pt, one.eta, one.phi), momentum(other.pt, other.eta, other.phi)
    energies = one.pt * np.cosh(one.eta) * other.pt * np.cosh(other.eta)
    product = energies - sum(a * b for a, b in zip(first, second, strict=True))
    return np.sqrt(np.maximum(2 * product, 0.0))


def _pairs_above(muons: Any, least_gev: float) -> NDArray[np.bool_]:
    ak = wheel("awkward")
    masses = pair_masses(muons)
    return np.asarray((ak.num(masses) > 0) & ak.all(masses >= least_gev, axis=1))
