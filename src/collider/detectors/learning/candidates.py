"""Candidates of events: a track with what belongs to it, or clusters without a track, matched to true particles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from collider.detectors.events import EventSlice
from collider.detectors.learning.columns import (
    CALORIMETER_SUM,
    DETECTORS,
    ECAL,
    ECAL_SUM,
    HCAL,
    HCAL_SUM,
    IDENTITY,
    KALMAN,
    KALMAN_ERROR,
    MOMENTUM,
    MUON,
    NEIGHBOURS,
    SEGMENT_MOMENTUM,
    TRACK_BOUND,
    TRACKER,
    UNTRACKED,
    identity_of,
)
from collider.detectors.learning.linking import Linking, Links, linked
from collider.detectors.learning.neighbours import neighbour_tokens
from collider.detectors.learning.tokens import (
    Tokens,
    calorimeter_tokens,
    momentum_errors,
    muon_tokens,
    track_momenta,
    tracker_tokens,
)
from collider.detectors.learning.untracked import untracked_gev
from collider.detectors.muons.config import MuonStations
from collider.detectors.particles import Floats, Integers, Particles
from collider.detectors.schema import CLUSTERS, NONE, PARTICLES, TRACKER_HITS, TRACKS
from collider.detectors.tracking import Tracker
from collider.detectors.tracking.bounds import bound
from collider.detectors.tracking.judging import MATCHED
from collider.detectors.tracking.perigee import perigee_of_particles
from reconstruction.random.keyed import mix64
from reconstruction.records.stored import content_hashes_of

Numbers = dict[str, NDArray[Any]]
_OF_CLUSTERS: Final = 1 << 20
"""Places of clusters begin here where an identity is made, behind those of tracks."""


@dataclass(frozen=True)
class CandidateMaking:
    """What candidates are made with.

    The tracker, the muon stations, the cuts of linking, how many cells are read of each calorimeter, and how many
    tracks and clusters about a candidate: 0 for not to look for any. untracked: all candidates are made, and true of
    them is UNTRACKED instead of what one particle is.
    """

    tracker: Tracker
    stations: MuonStations
    linking: Linking
    cells: int
    neighbours: int = 0
    untracked: bool = False


@dataclass(frozen=True)
class EventCandidates:
    """Candidates of some events, event by event.

    numbers: columns (candidate,), of which event_id is the identity of the candidate; seen: by detector; event:
    (candidate,) place of its event among these; hashes: (event,) of the content of each event.
    """

    numbers: Numbers
    seen: Mapping[str, Tokens]
    event: Integers
    hashes: Integers

    def __len__(self) -> int:
        return len(self.event)

    def kept(self, rows: Integers) -> EventCandidates:
        """Return some of them, in their order."""
        numbers = {name: values[rows] for name, values in self.numbers.items()}
        return replace(
            self,
            numbers=numbers,
            seen={name: tokens.of(rows) for name, tokens in self.seen.items()},
            event=self.event[rows],
        )

    def holding(self, names: Sequence[str]) -> EventCandidates:
        """Return the same with the tokens of some detectors alone; of others the leads stay."""
        return replace(
            self, seen={name: tokens if name in names else tokens.bare() for name, tokens in self.seen.items()}
        )


def candidates_of(part: EventSlice, making: CandidateMaking) -> EventCandidates:
    """Return all candidates of events; with their truth, where there are particles, those alone that have one.

    The truth of a track is the particle that made three quarters of its hits or more, of clusters the one that left
    most in them. A particle is the truth of one candidate: its track of most hits, else the one in whose clusters it
    left most. What else is of it (duplicates, pieces of showers) and what is of noise has none, and a particle that
    left most in clusters of a track, or where another left more, is nobody's.
    """
    tracker = making.tracker
    links = linked(part, making.linking, making.stations, tracker.field_t)
    objects = np.flatnonzero(links.leads)
    event = np.concatenate([part[TRACKS].event, part[CLUSTERS].event])[objects]
    order = np.argsort(event, kind="stable")
    objects, event = objects[order], event[order]
    place = np.full(len(links.leads) + 1, NONE)
    place[objects] = np.arange(len(objects))
    sums, leading = _energies(part, links, place, len(objects))
    seen = _seen(part, making, links, place, leading, sums)
    if making.neighbours:
        seen[NEIGHBOURS] = neighbour_tokens(part, links, place, objects, making.neighbours)
    numbers = candidate_ids(part, objects, event) | _directions(part, objects) | _classical(part, objects, seen, sums)
    found = EventCandidates(numbers, seen, event, event_hashes(part))
    if PARTICLES not in part.tables:
        return found
    if making.untracked:
        energies = untracked_gev(part, place[links.cluster], len(found))
        return replace(found, numbers=found.numbers | {UNTRACKED: energies})
    particle = matched_particles(part, objects, links.cluster)
    rows = np.flatnonzero(particle >= 0)
    made = found.kept(rows)
    return replace(made, numbers=made.numbers | _truth(part, making, objects[rows], particle[rows]))


def _seen(
    part: EventSlice,
    making: CandidateMaking,
    links: Links,
    place: Integers,
    leading: Mapping[str, Integers],
    sums: Floats,
) -> dict[str, Tokens]:
    count, tracks = len(sums), len(part[TRACKS])
    of_cluster = place[links.cluster]
    field_t = making.tracker.field_t
    return {
        TRACKER: tracker_tokens(part, making.tracker, place[:tracks], count),
        **{
            name: calorimeter_tokens(part, name, of_cluster, leading[name], sums, making.cells) for name in (ECAL, HCAL)
        },
        MUON: muon_tokens(part, making.stations, field_t, place[links.segment], count),
    }


def _energies(part: EventSlice, links: Links, place: Integers, count: int) -> tuple[Floats, dict[str, Integers]]:
    """Return energies in ECAL and HCAL (candidate, 2), and the largest cluster in each (candidate,), −1 for none."""
    clusters = part[CLUSTERS]
    owner, energy = place[links.cluster], clusters["energy_gev"].astype(np.float64)
    sums = np.zeros((count, 2))
    leading: dict[str, Integers] = {}
    for number, name in enumerate((ECAL, HCAL)):
        own = np.flatnonzero((clusters["detector"] == number) & (owner >= 0))
        sums[:, number] = np.bincount(owner[own], energy[own], count)
        own = own[np.argsort(energy[own], kind="stable")]
        leading[name] = np.full(count, NONE)
        leading[name][owner[own]] = own  # of several the last, which is the largest
    return sums, leading


def candidate_ids(part: EventSlice, objects: Integers, event: Integers) -> Numbers:
    """Return the identity of each candidate: a hash of that of its event and of what leads it."""
    tracks, clusters = part[TRACKS], part[CLUSTERS]
    first = np.concatenate([tracks.offsets[:-1], clusters.offsets[:-1] + len(tracks)]).reshape(2, -1)
    of_cluster = objects >= len(tracks)
    within = objects - first[of_cluster.astype(np.int64), event] + of_cluster * _OF_CLUSTERS
    ids = np.asarray(part.columns["event_id"], dtype=np.int64)[event]
    keys = mix64(mix64(torch.from_numpy(ids)) + torch.from_numpy(within)).numpy()
    return {
        "event_id": keys & np.int64(2**63 - 1),
        "event_number": ids & np.int64(2**32 - 1),
        "process": np.asarray(part.columns["process"], dtype=np.int64)[event],
    }


def _directions(part: EventSlice, objects: Integers) -> Numbers:
    tracks, clusters = part[TRACKS], part[CLUSTERS]
    eta = np.concatenate([np.arcsinh(tracks["cot_theta"].astype(np.float64)), clusters["eta"]])
    phi = np.concatenate([tracks["phi_rad"], clusters["phi_rad"]]).astype(np.float64)
    return {"eta": eta[objects], "phi_rad": phi[objects]}


def _classical(part: EventSlice, objects: Integers, seen: Mapping[str, Tokens], sums: Floats) -> Numbers:
    """Return what classical reconstruction says, not a number where a detector says nothing."""
    missing = np.full(len(part[CLUSTERS]), np.nan)
    momentum, error = (np.concatenate([values, missing])[objects] for values in track_momenta(part))
    counts = {f"{name}_tokens": seen[name].counts for name in DETECTORS}
    there = {name: counts[f"{name}_tokens"] > 0 for name in DETECTORS}
    return {
        KALMAN: momentum,
        KALMAN_ERROR: error,
        ECAL_SUM: np.where(there[ECAL], sums[:, 0], np.nan),
        HCAL_SUM: np.where(there[HCAL], sums[:, 1], np.nan),
        CALORIMETER_SUM: np.where(there[ECAL] | there[HCAL], sums.sum(axis=1), np.nan),
        SEGMENT_MOMENTUM: np.where(there[MUON], seen[MUON].lead[:, 0].astype(np.float64), np.nan),
        **counts,
    }


def event_hashes(part: EventSlice) -> Integers:
    """Return a hash of the content of each event: the curvatures of its tracks and the energies of its clusters."""
    parts = [(part[TRACKS], "q_over_pt_per_gev"), (part[CLUSTERS], "energy_gev")]
    contents = [
        np.concatenate([table[name][table.offsets[i] : table.offsets[i + 1]] for table, name in parts])
        for i in range(len(part))
    ]
    return content_hashes_of(contents)


def matched_particles(part: EventSlice, objects: Integers, owner: Integers) -> Integers:
    """Return the particle of each candidate among those of all events, (candidate,), NONE for none; each only once.

    objects: (candidate,) the object that leads it; owner: (cluster,) the object that each cluster belongs to. What a
    particle left in a cluster is known of the one that left most there.
    """
    tracks, clusters, particles = part[TRACKS], part[CLUSTERS], part[PARTICLES]
    found = np.full(len(tracks) + len(clusters), NONE)
    of_track = np.where(tracks["purity"] >= MATCHED, tracks.place(particles, "particle"), NONE)
    best = _largest(of_track, tracks["purity"] * tracks["hits"], len(particles))
    tracked = np.flatnonzero(best >= 0)
    found[best[tracked]] = tracked
    of_cluster = clusters.place(particles, "particle")
    known = of_cluster >= 0
    left_gev = (clusters["energy_gev"] * clusters["particle_share"])[known]
    (candidate, particle), pair = np.unique(np.stack([owner[known], of_cluster[known]]), axis=1, return_inverse=True)
    left_gev = np.bincount(pair.ravel(), left_gev, len(candidate))
    most, home = _largest(candidate, left_gev, len(found)), _largest(particle, left_gev, len(particles))
    own = most[np.arange(len(tracks), len(found))]
    own = own[own >= 0]
    own = own[(home[particle[own]] == own) & (best[particle[own]] == NONE)]
    found[candidate[own]] = particle[own]
    return found[objects]


def _largest(of: Integers, size: NDArray[Any], count: int) -> Integers:
    """Return which row is the largest of each of so many, (count,), NONE where no row (row,) is of it."""
    order = np.argsort(size, kind="stable")
    order = order[of[order] >= 0]
    found = np.full(count, NONE)
    found[of[order]] = order  # of several the last, which is the largest
    return found


def _truth(part: EventSlice, making: CandidateMaking, objects: Integers, particle: Integers) -> Numbers:
    table = part[PARTICLES]
    vectors = {stem: np.stack([table[f"{stem}{axis}_{unit}"][particle] for axis in "xyz"], axis=1).astype(np.float64)
               for stem, unit in (("p", "gev"), ("", "mm"))}  # fmt: skip
    pdg_id, charge = (table[name][particle].astype(np.int64) for name in ("pdg_id", "charge"))
    true = Particles(
        table.event[particle], pdg_id, charge, vectors["p"], table["mass_gev"][particle].astype(np.float64), vectors[""]
    )
    return {
        MOMENTUM: true.p_gev,
        "energy_gev": true.energy_gev,
        "pt_gev": true.pt_gev,
        "q_over_pt_per_gev": charge / np.maximum(true.pt_gev, 1e-6),
        "charge": charge,
        "pdg_id": pdg_id,
        IDENTITY: identity_of(pdg_id, charge),
        TRACK_BOUND: _track_bounds(part, making.tracker, objects, true),
    }


def _track_bounds(part: EventSlice, tracker: Tracker, objects: Integers, true: Particles) -> Floats:
    """Return the least error of the momentum from the hits of a track (candidate,), GeV, not a number without one."""
    tracks, hits = part[TRACKS], part[TRACKER_HITS]
    hit = np.zeros((len(tracks) + 1, len(tracker.layers)), dtype=bool)
    hit[hits.place(tracks, "track"), hits["layer"]] = True
    rows = np.flatnonzero((objects < len(tracks)) & (true.charge != 0))
    found = np.full(len(objects), np.nan)
    if len(rows):
        own = true.kept(rows)
        parameters = perigee_of_particles(own, tracker.field_t)
        least = bound(parameters, tracker, hit[objects[rows]], own.mass_gev, own.charge)
        found[rows] = momentum_errors(parameters, least)
    return found
