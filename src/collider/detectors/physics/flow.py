"""Particle flow: every track and every cluster as one particle, what is counted twice taken out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collider.detectors.events import EventSlice, true_momenta
from collider.detectors.learning.columns import (
    CHARGED_HADRON,
    ELECTRON,
    MUON_CODE,
    NEUTRAL_HADRON,
    PHOTON,
    identity_of,
)
from collider.detectors.particles import Floats, Integers
from collider.detectors.physics.objects import Mask, Objects
from collider.detectors.physics.rules import FlowRules
from collider.detectors.schema import NONE, PARTICLES
from collider.generation.wheels import wheel

MASS_GEV: Final = {
    ELECTRON: 0.000510999,
    PHOTON: 0.0,
    MUON_CODE: 0.105658,
    CHARGED_HADRON: 0.139570,
    NEUTRAL_HADRON: 0.0,
}
"""Masses that particles of an identity are taken to have: Review of Particle Physics (2024); neutral hadrons none."""
_TINY: Final = 1e-9


@dataclass(frozen=True)
class FlowParticles:
    """Particles of some events, event by event.

    event: (particle,) place of the event; kind: codes of CLASSES; charge; momentum_gev: (particle, 3);
    energy_gev: (particle,); source: the object that it is made of, or the row of the true particle.
    """

    event: Integers
    kind: Integers
    charge: Integers
    momentum_gev: Floats
    energy_gev: Floats
    source: Integers

    def __len__(self) -> int:
        return len(self.event)

    @property
    def pt_gev(self) -> Floats:
        """Momentum across the beam."""
        return np.hypot(self.momentum_gev[:, 0], self.momentum_gev[:, 1])

    @property
    def eta(self) -> Floats:
        """Pseudorapidity."""
        return np.arcsinh(self.momentum_gev[:, 2] / np.maximum(self.pt_gev, _TINY))

    @property
    def phi(self) -> Floats:
        """Azimuth."""
        return np.arctan2(self.momentum_gev[:, 1], self.momentum_gev[:, 0])

    def kept(self, rows: Mask | Integers) -> FlowParticles:
        """Return some of them, in their order."""
        return replace(self, **{one.name: getattr(self, one.name)[rows] for one in fields(self)})

    def awkward(self, events: int) -> Any:
        """Return a list for each event, as jets are made of: px, py, pz, energy, charge, kind."""
        ak = wheel("awkward")
        px, py, pz = self.momentum_gev.T
        columns = {"px": px, "py": py, "pz": pz, "energy": self.energy_gev, "charge": self.charge, "kind": self.kind}
        return ak.unflatten(ak.zip(columns), np.bincount(self.event, minlength=events))

    def missing_gev(self, events: int) -> Floats:
        """Return what balances all momenta across the beam, (event, 2)."""
        return np.stack([-np.bincount(self.event, self.momentum_gev[:, axis], events) for axis in (0, 1)], axis=1)


def joined(flows: Sequence[FlowParticles]) -> FlowParticles:
    """Return particles of several, in the order of their events."""
    names = [one.name for one in fields(FlowParticles)]
    together = FlowParticles(**{name: np.concatenate([getattr(flow, name) for flow in flows]) for name in names})
    return together.kept(np.argsort(together.event, kind="stable"))


def true_flow(part: EventSlice) -> FlowParticles:
    """Return the true particles that are followed through the detectors."""
    table = part[PARTICLES]
    momentum, energy = true_momenta(part)
    charge = table["charge"].astype(np.int64)
    return FlowParticles(
        table.event,
        identity_of(table["pdg_id"].astype(np.int64), charge),
        charge,
        momentum,
        energy,
        np.arange(len(table)),
    )


@dataclass(frozen=True)
class Opinion:
    """What each object is and how large its momentum is: kind and momentum_gev (object,), momentum NaN for none.

    untracked_gev: (object,) energy without a track in the clusters of the candidate that it leads, NaN for nothing
    said; None: nothing is said of any.
    """

    kind: Integers
    momentum_gev: Floats
    untracked_gev: Floats | None = None

    @property
    def told(self) -> Mask:
        """Of which objects it is said how much energy their candidates hold without a track, (object,)."""
        if self.untracked_gev is None:
            return np.zeros(len(self.kind), dtype=bool)
        return np.isfinite(self.untracked_gev)


def by_rules(objects: Objects, rules: FlowRules) -> Opinion:
    """Return what the rules say of heads: kind NONE and momentum NaN of clusters that belong to another object."""
    kind = np.full(len(objects), NONE)
    both = np.concatenate([_track_kinds(objects, rules), _cluster_kinds(objects, rules)[objects.tracks :]])
    kind[objects.heads] = both[objects.heads]
    return Opinion(kind, momenta_of(objects, rules, kind))


def _electron_like(objects: Objects, rules: FlowRules, most_behind: float) -> Mask:
    """Return whose ECAL clusters are narrow, with little behind them in the HCAL, (object,)."""
    ecal, hcal = objects.owned_gev(True), objects.owned_gev(False)
    largest = objects.largest
    narrow = (largest >= 0) & (np.append(objects.width, np.inf)[largest] <= rules.largest_width)
    return np.asarray(narrow & (hcal <= most_behind * ecal))


def _track_kinds(objects: Objects, rules: FlowRules) -> Integers:
    count = objects.tracks
    momentum = objects.momentum_gev
    ratio = rules.photon_response.corrected(objects.owned_gev(True)[:count]) / momentum
    least, most = rules.electron_e_over_p
    like = _electron_like(objects, rules, rules.electron_h_over_e)[:count]
    electron = like & (ratio >= least) & (ratio <= most) & (momentum >= rules.lowest_electron_gev)
    found = np.where(electron, ELECTRON, CHARGED_HADRON)
    return np.where(objects.stations >= rules.muon_stations, MUON_CODE, found)


def _cluster_kinds(objects: Objects, rules: FlowRules) -> Integers:
    return np.where(_electron_like(objects, rules, rules.photon_h_over_e), PHOTON, NEUTRAL_HADRON)


def momenta_of(objects: Objects, rules: FlowRules, kind: Integers) -> Floats:
    """Return momenta by rules of objects of some kinds (object,), NaN where they are nothing.

    Of a track its own, of an electron together with the ECAL by inverse variances where the two agree; of photons the
    corrected ECAL energy, of neutral hadrons that of both calorimeters.
    """
    ecal, hcal = objects.owned_gev(True), objects.owned_gev(False)
    photon, hadron = rules.photon_response.corrected(ecal), rules.hadron_response.corrected(ecal + hcal)
    found = np.where(kind == PHOTON, photon, hadron)
    count = objects.tracks
    track, electron = objects.momentum_gev, photon[:count]
    weight = objects.error_gev**-2.0, np.maximum(rules.photon_resolution.of(track), _TINY) ** -2.0
    both = (weight[0] * track + weight[1] * electron) / (weight[0] + weight[1])
    apart = np.abs(electron - track) > _AGREE * np.sqrt(1 / weight[0] + 1 / weight[1])
    found[:count] = np.where((kind[:count] == ELECTRON) & ~apart, both, track)
    return np.where(kind == NONE, np.nan, found)


_AGREE: Final = 3.0
"""σ within which track and cluster of an electron tell of one energy; beyond, it radiated, and the track is right."""


def flow_of(objects: Objects, rules: FlowRules, opinion: Opinion) -> FlowParticles:
    """Return the particles: heads as an opinion says, and the energy in their blocks that no track explains.

    Where it is said how much energy a candidate holds without a track, that is taken for what all its clusters hold
    beside the track, or without one are.
    """
    rows, told = objects.heads, opinion.told
    rows = rows[told[rows] | ~_asked(objects, told)[rows] | (rows < objects.tracks)]
    least = np.where(opinion.kind[rows] == PHOTON, rules.least_photon_gev, rules.least_hadron_gev)
    rows = rows[(rows < objects.tracks) | (opinion.momentum_gev[rows] >= least)]
    charge = np.concatenate([objects.charge, np.zeros(len(objects) - objects.tracks, dtype=np.int64)])
    charge = np.where(np.isin(opinion.kind, (PHOTON, NEUTRAL_HADRON)), 0, charge)  # a network may say so of a track
    heads = made(
        objects.event[rows],
        opinion.kind[rows],
        charge[rows],
        opinion.momentum_gev[rows, None] * objects.direction[rows],
        rows,
    )
    hidden = [_radiated(objects, rules, opinion), _excess(objects, rules, opinion), _beside(objects, rules, opinion)]
    return joined([heads, *hidden])


def _asked(objects: Objects, told: Mask) -> Mask:
    """Return which objects are of a candidate whose energy without a track is told, (object,)."""
    return np.asarray(told[np.concatenate([np.arange(objects.tracks), objects.candidate])])


def _beside(objects: Objects, rules: FlowRules, opinion: Opinion) -> FlowParticles:
    """Return the energy without a track in the clusters of tracks, as it is said: as the most of it was read.

    A photon where the ECAL holds more than the HCAL, else a neutral hadron.
    """
    if opinion.untracked_gev is None:
        return _neutral(objects, PHOTON, np.zeros(0), np.zeros((0, 3)), np.zeros(0, dtype=np.int64))
    rows = np.arange(objects.tracks)
    direction, source = _barycentres(objects, np.ones(len(objects.owner), dtype=bool), objects.candidate)
    ecal, hcal = (
        np.bincount(objects.candidate[mine], objects.energy_gev[mine], len(objects))
        for mine in (objects.of_ecal, ~objects.of_ecal)
    )
    parts = []
    for code, mine, least in (
        (PHOTON, ecal > hcal, rules.least_photon_gev),
        (NEUTRAL_HADRON, ecal <= hcal, rules.least_hadron_gev),
    ):
        own = rows[opinion.told[rows] & mine[rows] & (source[rows] >= 0)]
        own = own[opinion.untracked_gev[own] >= least]
        parts.append(_neutral(objects, code, opinion.untracked_gev[own], direction[own], source[own]))
    return joined(parts)


def made(event: Integers, kind: Integers, charge: Integers, momentum_gev: Floats, source: Integers) -> FlowParticles:
    """Return particles with the masses of their kinds."""
    mass = np.zeros(len(kind))
    for code, value in MASS_GEV.items():
        mass[kind == code] = value
    energy = np.sqrt((momentum_gev**2).sum(axis=1) + mass**2)
    return FlowParticles(event, kind, charge, momentum_gev, energy, source)


def _radiated(objects: Objects, rules: FlowRules, opinion: Opinion) -> FlowParticles:
    """Return photons in the clusters of electrons: what is there beyond three σ of their momenta."""
    rows = np.flatnonzero((opinion.kind[: objects.tracks] == ELECTRON) & ~opinion.told[: objects.tracks])
    momentum = opinion.momentum_gev[rows]
    excess = rules.photon_response.corrected(objects.owned_gev(True)[rows]) - momentum
    spread = np.hypot(rules.photon_resolution.of(momentum), objects.error_gev[rows])
    there = (excess > _AGREE * spread) & (excess >= rules.least_photon_gev)
    return _neutral(objects, PHOTON, excess[there], objects.direction[rows[there]], rows[there])


def _neutral(objects: Objects, kind: int, energy: Floats, direction: Floats, source: Integers) -> FlowParticles:
    kinds = np.full(len(energy), kind)
    return made(objects.event[source], kinds, np.zeros_like(kinds), energy[:, None] * direction, source)


def _excess(objects: Objects, rules: FlowRules, opinion: Opinion) -> FlowParticles:
    """Return photons and neutral hadrons that the energies of blocks with tracks show beyond the tracks' momenta.

    Where both calorimeters hold, as of hadrons, excess_sigma · σ more than the tracks bring: a photon, as far as the
    ECAL holds that energy, the rest a neutral hadron. Electrons and their ECAL clusters are left out; muons bring
    muon_gev.
    """
    count, blocks = objects.tracks, len(objects)
    kind, track_block, cluster_block = opinion.kind[:count], objects.block[:count], objects.block[count:]
    expected = np.select([kind == ELECTRON, kind == MUON_CODE], [0.0, rules.muon_gev], opinion.momentum_gev[:count])
    variance = np.where(kind == ELECTRON, 0.0, rules.hadron_resolution.of(expected) ** 2)
    unsaid = ~_asked(objects, opinion.told)[count:]
    free = np.append(kind != ELECTRON, True)[np.minimum(objects.owner, count)] | ~objects.of_ecal
    ecal, hcal = (
        np.bincount(cluster_block[chosen], objects.energy_gev[chosen], blocks).astype(np.float64)
        for chosen in (unsaid & objects.of_ecal & free, unsaid & ~objects.of_ecal)
    )
    tracks = np.bincount(track_block, expected, blocks)
    spread = np.sqrt(np.bincount(track_block, variance, blocks))
    excess = rules.hadron_response.corrected(ecal + hcal) - tracks
    with_track = np.bincount(track_block, minlength=blocks) > 0
    there = np.flatnonzero(with_track & (excess > rules.excess_sigma * spread))
    photon = np.minimum(excess[there], rules.photon_response.corrected(ecal[there]))
    hadron = excess[there] - photon
    parts = []
    for code, energy, mine, least in (
        (PHOTON, photon, unsaid & objects.of_ecal & free, rules.least_photon_gev),
        (NEUTRAL_HADRON, hadron, unsaid & ~objects.of_ecal, rules.least_hadron_gev),
    ):
        direction, source = _barycentres(objects, mine, cluster_block)
        kept = (energy >= least) & (source[there] >= 0)
        parts.append(_neutral(objects, code, energy[kept], direction[there[kept]], source[there[kept]]))
    return joined(parts)


def _barycentres(objects: Objects, mine: NDArray[np.bool_], of: Integers) -> tuple[Floats, Integers]:
    """Return the mean direction of some clusters of each block, by energy, (block, 3), and the largest of them.

    of: (cluster,) number of the block, at most that of objects.
    """
    rows, blocks = np.flatnonzero(mine), len(objects)
    block, energy = of[rows], objects.energy_gev[rows]
    direction = objects.direction[objects.tracks + rows]
    total = np.stack([np.bincount(block, energy * direction[:, axis], blocks) for axis in range(3)], axis=1)
    size = np.maximum(np.linalg.norm(total, axis=1, keepdims=True), _TINY)
    order = np.argsort(energy, kind="stable")
    largest = np.full(blocks, NONE)
    largest[block[order]] = objects.tracks + rows[order]
    return total / size, largest
