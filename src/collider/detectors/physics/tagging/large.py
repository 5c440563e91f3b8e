"""Large jets of true particles with what they hold, and the substructure of the same jets in every flow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from collider.detectors.events import EventSlice
from collider.detectors.particles import Floats, Integers
from collider.detectors.physics.config import Tagging
from collider.detectors.physics.flow import FlowParticles
from collider.detectors.physics.jets import LONELY, Jets, clustered, looked_for, nearest_jets
from collider.detectors.schema import NONE, PARTICLES
from collider.generation.kinematics import invariant_mass
from collider.generation.pieces import Columns
from collider.generation.substructure import PRONGS, soft_drop_mass, subjettiness
from collider.generation.wheels import wheel

OTHER, W, TOP = 0, 24, 6
TAGGED: Final = {"other": OTHER, "W": W, "t": TOP}
"""Classes of large jets: PDG codes of whose decay they hold."""
QUANTITIES: Final = (
    "mass_gev",
    "soft_drop_mass_gev",
    *(f"tau{n}" for n in PRONGS),
    *(f"tau{n + 1}_over_tau{n}" for n in PRONGS[:-1]),
    "particles",
    "charged_share",
)
"""What trees see of a jet. Not its pT and direction: how those differ between the classes is a matter of the sample."""
NEAR: Final = 0.5
"""Jets of a flow are looked for within this share of the radius."""


def large_jets(part: EventSlice, flows: Mapping[str, FlowParticles], truth: str, cuts: Tagging) -> Columns:
    """Return the large jets of the flow of true particles, under the name `truth`, that are no leptons or photons.

    event, kind (codes of TAGGED), pt_gev: (jet,); and under the name of each flow the substructure that the jet has in
    it, (jet, quantity) in the order of QUANTITIES, NaN where there is no such jet.
    """
    true = flows[truth]
    jets, jet, row = clustered(true, len(part), cuts.jets)
    chosen = np.flatnonzero(jets.lonely <= LONELY)
    kind = kinds_of(true, part[PARTICLES]["origin"].astype(np.int64), jets, jet, row, cuts)[chosen]
    wanted = jets.kept(chosen)
    seen = {truth: substructure(true, jets, jet, row, chosen, cuts.jets.radius)}
    seen |= {name: _seen(flow, len(part), wanted, cuts) for name, flow in flows.items() if name != truth}
    return {"event": wanted.event, "kind": kind, "pt_gev": wanted.pt_gev, **seen}


def _seen(flow: FlowParticles, events: int, wanted: Jets, cuts: Tagging) -> Floats:
    """Return the substructure in a flow of jets that are wanted: of its own jets the nearest ones."""
    flow = flow.kept(np.isin(flow.event, wanted.event))
    jets, jet, row = clustered(flow, events, looked_for(cuts.jets))
    place = nearest_jets(wanted, jets, NEAR * cuts.jets.radius)
    found = np.full((len(wanted), len(QUANTITIES)), np.nan)
    matched = np.flatnonzero(place >= 0)
    found[matched] = substructure(flow, jets, jet, row, place[matched], cuts.jets.radius)
    return found


def kinds_of(
    true: FlowParticles, origin: Integers, jets: Jets, jet: Integers, row: Integers, cuts: Tagging
) -> Integers:
    """Return what each jet holds: codes of TAGGED (jet,), of the masses of its particles of one origin.

    W: those of a W boson have w_gev or more; t: those of a W boson and a top quark top_gev or more, too. origin:
    (particle,) of the flow; a part of a decay is another jet.
    """
    of = origin[true.source[row]]
    w_mass = _mass_of(true, row, jet, len(jets), of == W)
    top_mass = _mass_of(true, row, jet, len(jets), np.isin(of, (W, TOP)))
    whole = w_mass >= cuts.w_gev
    return np.select([whole & (top_mass >= cuts.top_gev), whole], [TOP, W], OTHER)


def _mass_of(true: FlowParticles, row: Integers, jet: Integers, count: int, chosen: Any) -> Floats:
    rows, jets = row[chosen], jet[chosen]
    px, py, pz = (np.bincount(jets, true.momentum_gev[rows, axis], count) for axis in range(3))
    return np.asarray(invariant_mass(px, py, pz, np.bincount(jets, true.energy_gev[rows], count)))


def substructure(
    flow: FlowParticles, jets: Jets, jet: Integers, row: Integers, chosen: Integers, radius: float
) -> Floats:
    """Return the QUANTITIES of some jets (chosen, quantity); jet, row: of constituents, as `clustered` gives them."""
    ak = wheel("awkward")
    if not len(chosen):
        return np.zeros((0, len(QUANTITIES)))
    number = np.full(len(jets), NONE)
    number[chosen] = np.arange(len(chosen))
    mine = np.flatnonzero(number[jet] >= 0)
    mine = mine[np.argsort(number[jet[mine]], kind="stable")]
    rows, place = row[mine], number[jet[mine]]
    counts = np.bincount(place, minlength=len(chosen))
    px, py, pz = flow.momentum_gev[rows].T
    constituents = ak.unflatten(ak.zip({"px": px, "py": py, "pz": pz, "energy": flow.energy_gev[rows]}), counts)
    tau = subjettiness(constituents, radius)
    ratios = [
        np.divide(tau[:, n + 1], tau[:, n], out=np.zeros(len(chosen)), where=tau[:, n] > 0)
        for n in range(len(PRONGS) - 1)
    ]
    pt = np.hypot(px, py)
    charged = np.bincount(place, pt * (flow.charge[rows] != 0), len(chosen)) / np.bincount(place, pt, len(chosen))
    energy, x, y, z = jets.vector[chosen].T
    mass = invariant_mass(x, y, z, energy)
    return np.column_stack([mass, soft_drop_mass(constituents, radius), tau, *ratios, counts, charged])
