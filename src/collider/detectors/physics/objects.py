"""What was reconstructed in events as arrays of objects: all tracks, then all clusters, with what belongs together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from collider.detectors.calorimeters.config import Ecal
from collider.detectors.events import EventSlice
from collider.detectors.learning.candidates import candidate_ids
from collider.detectors.learning.linking import Links, linked, nearest_of, perigees, places_of
from collider.detectors.learning.tokens import track_momenta
from collider.detectors.muons.config import STATIONS, MuonStations
from collider.detectors.particles import Floats, Integers
from collider.detectors.physics.rules import FlowRules
from collider.detectors.schema import CLUSTERS, NONE, SEGMENTS, TRACKS
from collider.generation.kinematics import momentum

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Objects:
    """Objects of some events: `tracks` tracks, then clusters.

    event, identity: (object,), identity that of the candidate which it leads, 0 where it leads none; direction:
    (object, 3) unit vectors, of a track at its perigee, of a cluster from the vertex. momentum_gev, error_gev, charge,
    stations: (track,). energy_gev, width, of_ecal: (cluster,); owner: (cluster,) the object that it belongs to, itself
    where it is a particle's own; candidate: (cluster,) the object that leads its candidate; block: (object,) number of
    what shares clusters.
    """

    tracks: int
    event: Integers
    identity: Integers
    direction: Floats
    momentum_gev: Floats
    error_gev: Floats
    charge: Integers
    stations: Integers
    energy_gev: Floats
    width: Floats
    of_ecal: Mask
    owner: Integers
    candidate: Integers
    block: Integers

    def __len__(self) -> int:
        return len(self.event)

    def owned_gev(self, ecal: bool) -> Floats:
        """Return the energy of the clusters in one calorimeter that belong to each object, (object,)."""
        chosen = self.of_ecal == ecal
        return np.bincount(self.owner[chosen], self.energy_gev[chosen], len(self)).astype(np.float64)

    @property
    def heads(self) -> Integers:
        """Objects that are particles: all tracks, and clusters that belong to nobody else."""
        clusters = np.arange(self.tracks, len(self))
        return np.concatenate([np.arange(self.tracks), clusters[self.owner == clusters]])

    @property
    def largest(self) -> Integers:
        """Largest ECAL cluster of each object, (object,), NONE without one."""
        own = np.flatnonzero(self.of_ecal)
        own = own[np.argsort(self.energy_gev[own], kind="stable")]
        found = np.full(len(self), NONE)
        found[self.owner[own]] = own  # of several the last, which is the largest
        return found


def objects_of(part: EventSlice, rules: FlowRules, stations: MuonStations, ecal: Ecal, field_t: float) -> Objects:
    """Return the objects of events with tracks, clusters and segments."""
    tracks, clusters = part[TRACKS], part[CLUSTERS]
    links = linked(part, rules.linking, stations, field_t)
    of_ecal = clusters["detector"] == 0
    width = np.sqrt((clusters["sigma_eta"] ** 2 + clusters["sigma_phi_rad"] ** 2) / 2).astype(np.float64)
    owner, near = _owners(part, rules, links, of_ecal & (width <= rules.largest_width))
    momenta, errors = track_momenta(part)
    every = np.arange(len(links.leads))
    event = np.concatenate([tracks.event, clusters.event])
    return Objects(
        tracks=len(tracks),
        event=event,
        identity=np.where(links.leads, candidate_ids(part, every, event)["event_id"], 0),
        direction=_directions(part, ecal),
        momentum_gev=momenta,
        error_gev=errors,
        charge=np.sign(tracks["q_over_pt_per_gev"]).astype(np.int64),
        stations=_stations(part, links),
        energy_gev=clusters["energy_gev"].astype(np.float64),
        width=width,
        of_ecal=of_ecal,
        owner=owner,
        candidate=links.cluster,
        block=_blocks(owner, near, len(tracks)),
    )


def _stations(part: EventSlice, links: Links) -> Integers:
    """Return in how many stations each track has a segment, (track,)."""
    count = len(part[TRACKS])
    own = np.flatnonzero(links.segment >= 0)
    there = np.zeros((count, STATIONS), dtype=bool)
    there[links.segment[own], part[SEGMENTS]["station"][own].astype(np.int64)] = True
    return there.sum(axis=1)


def _owners(part: EventSlice, rules: FlowRules, links: Links, narrow: Mask) -> tuple[Integers, Integers]:
    """Return whose each cluster is (cluster,), and the clusters that are nearest to tracks (track, calorimeter).

    A narrow ECAL cluster that is linked to a track, but not nearer than ecal_distance, is a photon's own. NONE: no
    cluster is near enough to a track.
    """
    tracks, clusters = part[TRACKS], part[CLUSTERS]
    way = places_of(tracks["ecal_eta"], tracks["ecal_phi_rad"], tracks.event)
    place = places_of(clusters["eta"], clusters["phi_rad"], clusters.event)
    owner = links.cluster.copy()
    own = np.flatnonzero(narrow & (owner < len(tracks)))
    far = own[nearest_of(place[own], way, rules.ecal_distance) == NONE]
    owner[far] = len(tracks) + far
    near = np.full((len(tracks), 2), NONE)
    reaching = np.flatnonzero(np.isfinite(way).all(axis=1))
    for number, limit in ((0, rules.ecal_distance), (1, rules.linking.hcal_distance)):
        of_part = np.flatnonzero(clusters["detector"] == number)
        found = nearest_of(way[reaching], place[of_part], limit)
        near[reaching, number] = np.where(found >= 0, np.append(of_part, NONE)[found], NONE)
    return owner, near


def _blocks(owner: Integers, near: Integers, tracks: int) -> Integers:
    """Return the block of each object, (object,): what is joined by a cluster and whose it is, or is nearest to."""
    size = tracks + len(owner)
    track, number = np.nonzero(near >= 0)
    one = np.concatenate([tracks + np.arange(len(owner)), track])
    other = np.concatenate([owner, tracks + near[track, number]])
    graph = coo_matrix((np.ones(len(one), dtype=bool), (one, other)), shape=(size, size))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _directions(part: EventSlice, ecal: Ecal) -> Floats:
    """Return unit vectors (object, 3), of a cluster from the vertex to where its line enters the ECAL."""
    tracks, clusters = part[TRACKS], part[CLUSTERS]
    along = np.stack(momentum(1.0, np.arcsinh(tracks["cot_theta"].astype(np.float64)), tracks["phi_rad"]), axis=1)
    line = np.stack(momentum(1.0, clusters["eta"].astype(np.float64), clusters["phi_rad"]), axis=1)
    reach = np.minimum(ecal.radius_mm, ecal.half_length_mm / np.maximum(np.abs(line[:, 2]), 1e-9))
    line = line * reach[:, None]
    line[:, 2] -= vertices_mm(part)[clusters.event]
    both = np.concatenate([along, line])
    return np.asarray(both / np.linalg.norm(both, axis=1, keepdims=True))


def vertices_mm(part: EventSlice) -> Floats:
    """Return the height of each event's vertex (event,): where its tracks start, weighted by pT²; 0 without tracks.

    The median: tracks from decays far from the beam do not move it.
    """
    tracks = part[TRACKS]
    parameters = perigees(tracks)
    weight = np.minimum(parameters[:, 0] ** -2.0, 1e6)
    order = np.lexsort((parameters[:, 4], tracks.event))
    event, height, weight = tracks.event[order], parameters[order, 4], weight[order]
    share = np.cumsum(weight)
    begin = np.concatenate([[0.0], share])[tracks.offsets[:-1]]
    end = np.concatenate([[0.0], share])[tracks.offsets[1:]]
    middle = np.searchsorted(share, (begin + end) / 2)
    found = np.zeros(len(part))
    there = np.flatnonzero(tracks.counts)
    place = np.clip(middle[there], tracks.offsets[there], tracks.offsets[there + 1] - 1)
    found[there] = height[place]
    assert not len(there) or (event[place] == there).all()
    return found
