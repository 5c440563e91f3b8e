"""Events as one kind of awkward array, whoever generated them, and what their history says.

An array of events has `weight` and `particles`, a list for each event with the fields of `FIELDS`: PDG code, status
(1: final, 4: a beam, 2: anything between), place of the (first) mother in the same event (−1: none), momentum, energy
and mass in GeV, and where the particle was made, in mm. `generated` and `generated_weight` say how many events, and
what sum of weights, it stands for: itself alone, but for a filter before the shower.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from collider.generation import pdg
from collider.generation.wheels import wheel

MOMENTA: Final = ("px", "py", "pz", "energy", "mass")
VERTEX: Final = ("x_mm", "y_mm", "z_mm")
FIELDS: Final = ("pdg_id", "status", "mother", *MOMENTA, *VERTEX)
FINAL, BETWEEN, BEAM = 1, 2, 4
GENERATIONS: Final = 500
"""More ancestors than any particle has."""


def events_of(
    counts: ArrayLike,
    columns: Mapping[str, NDArray[Any]],
    weight: ArrayLike,
    tries: tuple[NDArray[np.int64], NDArray[np.float64]] | None = None,
) -> Any:
    """Return events (an awkward array) from columns of all their particles, one after the other; counts: (event,).

    tries: how many events each stands for and the sum of their weights, itself included; None: itself alone.
    """
    ak = wheel("awkward")
    particles = ak.unflatten(ak.zip({name: columns[name] for name in FIELDS}), np.asarray(counts, dtype=np.int64))
    weight = np.asarray(weight, dtype=np.float64)
    generated, generated_weight = (np.ones(len(weight), dtype=np.int64), weight) if tries is None else tries
    of_event = {"weight": weight, "generated": generated, "generated_weight": generated_weight}
    return ak.zip({**of_event, "particles": particles}, depth_limit=1)


def final(events: Any, visible: bool = True) -> Any:
    """Return the final particles with `charge` and `prompt`, of which those that a detector may see.

    prompt: false for an electron, muon or photon that a hadron's decay made.
    """
    ak = wheel("awkward")
    particles = events.particles
    particles = ak.with_field(particles, _like(particles, prompt(particles)), "prompt")
    kept = particles[particles.status == FINAL]
    codes = ak.flatten(kept.pdg_id).to_numpy()
    kept = ak.with_field(kept, _like(kept, pdg.mapped(pdg.charge_of, codes)), "charge")
    return kept[_like(kept, pdg.mapped(pdg.is_visible, codes))] if visible else kept


def prompt(particles: Any) -> NDArray[np.bool_]:
    """Return, for all particles one after the other, whether no hadron is among the ancestors of a light lepton.

    Of other particles than electrons, muons and photons nothing is asked: true.
    """
    codes, mothers = _codes(particles), _mothers(particles)
    hadron = pdg.mapped(pdg.is_hadron, codes) & (mothers >= 0)  # a beam is the ancestor of all
    asked = np.flatnonzero(np.isin(np.abs(codes), (11, 13, 22)))
    found = np.ones(len(codes), dtype=bool)
    ancestor = mothers[asked]
    for _ in range(GENERATIONS):
        alive = ancestor >= 0
        if not alive.any():
            break
        asked, ancestor = asked[alive], ancestor[alive]
        found[asked] &= ~hadron[ancestor]
        ancestor = np.where(found[asked], mothers[ancestor], -1)
    return found


def heavy_hadrons(events: Any) -> Any:
    """Return hadrons with a b quark that are mothers of none, and those with a c quark likewise: `flavour` is 5 or 4.

    They are what makes a jet a b or a c jet. Hadrons with b come first.
    """
    ak = wheel("awkward")
    particles = events.particles
    codes, mothers = _codes(particles), _mothers(particles)
    flavour = np.zeros(len(codes), dtype=np.int64)
    for quark in (4, 5):
        holds = pdg.mapped(pdg.has_quark, codes, quark) & (mothers >= 0)
        mother_of_another = np.zeros(len(codes), dtype=bool)
        mother_of_another[mothers[holds]] = True
        flavour[holds & ~mother_of_another] = quark
    with_flavour = ak.with_field(particles, _like(particles, flavour), "flavour")
    return with_flavour[with_flavour.flavour > 0]


def balance(events: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what final particles have more than the beams: four-momentum (event, 4: px, py, pz, E) and charge."""
    ak = wheel("awkward")
    particles = events.particles
    beams = particles[particles.status == BEAM]
    after = final(events, visible=False)
    four = [
        ak.sum(after[name], axis=1).to_numpy() - ak.sum(beams[name], axis=1).to_numpy()
        for name in ("px", "py", "pz", "energy")
    ]
    codes = ak.flatten(beams.pdg_id).to_numpy()
    before = ak.sum(_like(beams, pdg.mapped(pdg.charge_of, codes)), axis=1).to_numpy()
    return np.stack(four, axis=1), ak.sum(after.charge, axis=1).to_numpy() - before


def _like(particles: Any, values: NDArray[Any]) -> Any:
    """Return values of all particles, one after the other, as a list for each event."""
    ak = wheel("awkward")
    return ak.unflatten(values, ak.num(particles))


def _codes(particles: Any) -> NDArray[np.int64]:
    return np.asarray(wheel("awkward").flatten(particles.pdg_id).to_numpy(), dtype=np.int64)


def _mothers(particles: Any) -> NDArray[np.int64]:
    """Return the places of mothers among all particles, −1 where there is none."""
    ak = wheel("awkward")
    counts = ak.num(particles).to_numpy()
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    mothers = np.asarray(ak.flatten(particles.mother).to_numpy(), dtype=np.int64)
    return np.where(mothers >= 0, mothers + starts, -1)
