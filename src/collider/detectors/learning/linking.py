"""What belongs together: clusters and muon segments by the tracks that point to them, other clusters by each other."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from collider.detectors.calorimeters.config import require_between
from collider.detectors.events import EventSlice, RaggedTable
from collider.detectors.helix import Helices
from collider.detectors.muons.config import STATIONS, MuonStations
from collider.detectors.particles import Floats, Integers
from collider.detectors.schema import CLUSTERS, NONE, SEGMENTS, TRACKS
from collider.detectors.tracking.perigee import helices_of, momentum_of

PERIGEE: Final = ("q_over_pt_per_gev", "phi_rad", "cot_theta", "d0_mm", "z0_mm")
_APART: Final = 100.0
"""Between two events, in the units of η: nothing of one is near to anything of another."""
_NEAREST: Final = 3
_SMALLEST: Final = 1e-9


@dataclass(frozen=True)
class Linking:
    """Cuts by which reconstructed objects are of one particle.

    Args:
        ecal_distance: Largest ΔR of an ECAL cluster to where its track enters the ECAL.
        hcal_distance: The same of an HCAL cluster.
        cluster_distance: Largest ΔR of an HCAL cluster to an ECAL cluster without a track.
        muon_distance: Largest ΔR of a segment to the straight line that its track follows behind the coil.
        muon_distance_gev: So much over the track's momentum more.
        lowest_muon_gev: Momentum from which on a track may reach the muon stations.

    """

    ecal_distance: float = 0.06
    hcal_distance: float = 0.2
    cluster_distance: float = 0.15
    muon_distance: float = 0.05
    muon_distance_gev: float = 1.0
    lowest_muon_gev: float = 2.0

    def __post_init__(self) -> None:
        require_between("linking", {field.name: getattr(self, field.name) for field in fields(self)}, 0, 100)


LINKING: Final = Linking()
"""The cuts, where nothing else is said."""


@dataclass(frozen=True)
class Links:
    """Which objects lead a candidate, and what belongs to each.

    Objects are all tracks, then all clusters: cluster i is object tracks + i. leads: (object,) whether it is one.
    cluster, segment: (cluster,) and (segment,) the object that it belongs to, NONE for no one.
    """

    leads: NDArray[np.bool_]
    cluster: Integers
    segment: Integers


def linked(part: EventSlice, linking: Linking, stations: MuonStations, field_t: float) -> Links:
    """Return what belongs together in events, by what was reconstructed alone."""
    tracks, clusters = part[TRACKS], part[CLUSTERS]
    count = len(tracks)
    of_ecal = clusters["detector"] == 0
    way = places_of(tracks["ecal_eta"], tracks["ecal_phi_rad"], tracks.event)
    place = places_of(clusters["eta"], clusters["phi_rad"], clusters.event)
    owner = np.full(len(clusters), NONE)
    for chosen, limit in ((of_ecal, linking.ecal_distance), (~of_ecal, linking.hcal_distance)):
        owner[chosen] = nearest_of(place[chosen], way, limit)
    free = np.flatnonzero(of_ecal & (owner == NONE))
    owner[free] = count + free
    behind = np.flatnonzero(~of_ecal & (owner == NONE))
    before = nearest_of(place[behind], place[free], linking.cluster_distance)
    owner[behind] = count + (np.where(before == NONE, behind, free[before]) if len(free) else behind)
    leads = np.concatenate([np.ones(count, dtype=bool), owner == count + np.arange(len(clusters))])
    return Links(leads, owner, _segment_owners(part, linking, stations, field_t))


def places_of(eta: NDArray[Any], phi: NDArray[Any], event: Integers) -> Floats:
    """Return η, φ from 0 to 2π and the event as places in space: (object, 3)."""
    turned = np.mod(np.asarray(phi, dtype=np.float64), 2 * np.pi)
    turned[turned >= 2 * np.pi] = 0.0  # rounding
    return np.stack([eta, turned, _APART * event], axis=1)


def _tree(places: Floats) -> cKDTree:
    return cKDTree(places, boxsize=np.array([0.0, 2 * np.pi, 0.0]))


def nearest_of(places: Floats, among: Floats, limit: float) -> Integers:
    """Return the nearest of others within ΔR, (place,), NONE where there is none; who has no place is left out.

    Of two that are equally near it is the first: stored directions come in steps, and what else is searched in the same
    call must not decide.
    """
    known = np.flatnonzero(np.isfinite(among).all(axis=1))
    if not len(known) or not len(places):
        return np.full(len(places), NONE)
    away, found = map(np.asarray, _tree(among[known]).query(places, k=2, distance_upper_bound=limit))
    nearest = np.where(away[:, 0] == away[:, 1], found.min(axis=1), found[:, 0])
    return np.where(np.isfinite(away[:, 0]), np.append(known, NONE)[nearest], NONE)


def nearby(eta: Floats, phi: Floats, event: Integers, rows: Integers, most: int) -> Integers:
    """Return the nearest objects of the same event to some of them (row,), themselves first: (row, most), NONE behind.

    eta, phi, event: (object,) of all objects.
    """
    if not len(eta):
        return np.full((len(rows), most), NONE)
    places = places_of(eta, phi, event)
    away, found = _tree(places).query(places[rows], k=np.arange(1, most + 1), distance_upper_bound=_APART / 2)
    return np.where(np.isfinite(away), found, NONE)


def perigees(tracks: RaggedTable) -> Floats:
    """Return the five numbers of tracks, (track, 5)."""
    return np.stack([np.asarray(tracks[name], dtype=np.float64) for name in PERIGEE], axis=1)


def covariances(tracks: RaggedTable) -> Floats:
    """Return the covariance of the five numbers, (track, 5, 5)."""
    row, column = np.triu_indices(len(PERIGEE))
    whole = np.zeros((len(tracks), len(PERIGEE), len(PERIGEE)))
    whole[:, row, column] = whole[:, column, row] = tracks["covariance"]
    return whole


def _segment_owners(part: EventSlice, linking: Linking, stations: MuonStations, field_t: float) -> Integers:
    tracks, segments = part[TRACKS], part[SEGMENTS]
    parameters = perigees(tracks)
    momentum = momentum_of(parameters)
    hard = np.flatnonzero(momentum >= linking.lowest_muon_gev)
    owner = np.full(len(segments), NONE)
    where = at_stations(parameters[hard], stations, field_t)
    allowed = linking.muon_distance + linking.muon_distance_gev / momentum[hard]
    for station in range(STATIONS):
        chosen = np.flatnonzero(segments["station"] == station)
        reached = np.flatnonzero(np.isfinite(where[:, station]).all(axis=1))
        if len(chosen) and len(reached):
            lines = places_of(*angles(where[reached, station]), tracks.event[hard[reached]])
            position = np.stack([segments[f"{axis}_mm"][chosen] for axis in "xyz"], axis=1).astype(np.float64)
            places = places_of(*angles(position), segments.event[chosen])
            found = _nearest_by_limit(places, lines, allowed[reached])
            owner[chosen] = np.where(found == NONE, NONE, hard[reached[found]])
    return owner


def _nearest_by_limit(places: Floats, among: Floats, limit: Floats) -> Integers:
    """Return which of others (other,) is nearest in units of its own limit, (place,), NONE where none is within it."""
    away, found = _tree(among).query(places, k=_NEAREST)
    there = np.isfinite(away)
    other = np.where(there, found, 0)
    ratio = np.where(there, away, np.inf) / np.maximum(limit[other], _SMALLEST)
    best = np.argmin(ratio, axis=1)[:, None]
    near = np.take_along_axis(ratio, best, axis=1)[:, 0] <= 1
    return np.where(near, np.take_along_axis(other, best, axis=1)[:, 0], NONE)


def at_stations(parameters: Floats, stations: MuonStations, field_t: float) -> Floats:
    """Return where tracks (track, 5) come to each station (track, station, 3), not a number where they never do.

    To the coil along the helix, behind it straight on: the iron's field bends back by less than what scatters.
    """
    found = np.full((len(parameters), STATIONS, 3), np.nan)
    coil = helices_of(parameters, field_t).at_cylinder(stations.coil_radius_mm, stations.coil_half_length_mm)
    out = np.flatnonzero(coil.reached)
    line = Helices(coil.position_mm[out], coil.direction[out], np.zeros(len(out)))
    for station, (radius, half) in enumerate(zip(stations.radius_mm, stations.half_length_mm, strict=True)):
        found[out, station] = line.at_cylinder(radius, half).position_mm
    return found


def angles(vectors: Floats) -> tuple[Floats, Floats]:
    """Return η and φ of vectors (vector, 3)."""
    transverse = np.maximum(np.hypot(vectors[:, 0], vectors[:, 1]), 1e-9)
    return np.arcsinh(vectors[:, 2] / transverse), np.arctan2(vectors[:, 1], vectors[:, 0])
