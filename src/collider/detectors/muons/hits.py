"""Hits in the layers of muon stations, and the straight segments that they lie on."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from collider.detectors.calorimeters.points import NO_PARTICLE, sums
from collider.detectors.muons.config import STATIONS, MuonStations
from collider.detectors.muons.passing import Arrivals, onto_surface
from collider.detectors.particles import Floats, Integers, Mask

FEWEST_HITS: Final = 3
TOGETHER: Final = 2.5
"""Hits of a station within so many gaps of layers of each other are of one segment."""


@dataclass(frozen=True)
class MuonHits:
    """Hits, (hit,) each, by event.

    event; station, layer: from 0; end: −1, 0, 1 as of arrivals; position_mm: (hit, 3); particle: NO_PARTICLE for noise.
    """

    event: Integers
    station: Integers
    layer: Integers
    end: Integers
    position_mm: Floats
    particle: Integers

    def __len__(self) -> int:
        return len(self.event)

    def kept(self, mask: Mask | Integers) -> MuonHits:
        """Return those of a mask, or at places."""
        return replace(self, **{field.name: getattr(self, field.name)[mask] for field in fields(self)})


@dataclass(frozen=True)
class Segments:
    """Straight lines through hits of one station, (segment,) each, by event.

    position_mm, direction: (segment, 3), in the middle of the hits, outward, of unit length; hits: how many; chi2: of
    the line, in both coordinates, with 2 · hits − 4 degrees of freedom; particle: of most hits; purity: its share of
    them.
    """

    event: Integers
    station: Integers
    end: Integers
    position_mm: Floats
    direction: Floats
    hits: Integers
    chi2: Floats
    particle: Integers
    purity: Floats

    def __len__(self) -> int:
        return len(self.event)


def measured_hits(arrived: Arrivals, stations: MuonStations, events: int, random: np.random.Generator) -> MuonHits:
    """Return the hits of particles that came to stations of so many events, and noise."""
    layers = stations.layers
    of = np.repeat(np.arange(len(arrived.particle)), layers)
    layer = np.tile(np.arange(layers), len(arrived.particle))
    out = stations.layer_gap_mm * layer
    station, end = arrived.station[of], arrived.end[of]
    position = onto_surface(
        arrived.position_mm[of],
        arrived.direction[of],
        end,
        np.asarray(stations.radius_mm)[station] + out,
        np.asarray(stations.half_length_mm)[station] + out,
    )
    _, along, across = frames(position, end)
    for axis, sigma in ((along, stations.resolution_mm[0]), (across, stations.resolution_mm[1])):
        position = position + sigma * random.standard_normal(len(of))[:, None] * axis
    found = random.random(len(of)) < stations.efficiency
    hits = MuonHits(arrived.event[of], station, layer, end, position, arrived.particle[of]).kept(found)
    noise = _noise(stations, events, random)
    both = MuonHits(
        *(np.concatenate([getattr(hits, field.name), getattr(noise, field.name)]) for field in fields(MuonHits))
    )
    return both.kept(np.lexsort((both.layer, both.station, both.event)))


def frames(position: Floats, end: Integers) -> tuple[Floats, Floats, Floats]:
    """Return unit vectors (place, 3) at places of stations: outward, along φ, and the third one."""
    x, y = (position[:, :2] / np.maximum(np.hypot(position[:, 0], position[:, 1]), 1e-9)[:, None]).T
    zero = np.zeros_like(x)
    radial, along = np.stack([x, y, zero], axis=1), np.stack([-y, x, zero], axis=1)
    beam = np.stack([zero, zero, np.where(end < 0, -1.0, 1.0)], axis=1)
    barrel = (end == 0)[:, None]
    return np.where(barrel, radial, beam), along, np.where(barrel, beam, radial)


def _noise(stations: MuonStations, events: int, random: np.random.Generator) -> MuonHits:
    """Return hits of nothing, all over the stations."""
    event = np.repeat(np.arange(events), random.poisson(stations.noise_hits, events))
    count = len(event)
    station, layer = random.integers(0, STATIONS, count), random.integers(0, stations.layers, count)
    end = random.integers(-1, 2, count)
    out = stations.layer_gap_mm * layer
    radius = np.asarray(stations.radius_mm)[station] + out
    half = np.asarray(stations.half_length_mm)[station] + out
    phi, share = random.uniform(-np.pi, np.pi, count), random.random(count)
    hole = half / np.sinh(stations.hole)
    r = np.where(end == 0, radius, np.sqrt(hole**2 + share * (radius**2 - hole**2)))
    z = np.where(end == 0, (2 * share - 1) * half, end * half)
    position = np.stack([r * np.cos(phi), r * np.sin(phi), z], axis=1)
    return MuonHits(event, station, layer, end, position, np.full(count, NO_PARTICLE))


def find_segments(hits: MuonHits, stations: MuonStations) -> Segments:
    """Return the lines through hits of one station that lie together, of three layers or more."""
    group = _groups(hits, stations)
    count = int(group.max(initial=-1)) + 1
    filled = np.zeros((count, stations.layers), dtype=bool)
    filled[group, hits.layer] = True
    good = filled.sum(1) >= FEWEST_HITS
    chosen = np.flatnonzero(good[group])
    return _fitted(hits.kept(chosen), np.unique(group[chosen], return_inverse=True)[1], stations)


def _groups(hits: MuonHits, stations: MuonStations) -> Integers:
    """Return which hits lie together, (hit,): chains of near ones of the same event, station and side."""
    if not len(hits):
        return np.zeros(0, dtype=np.int64)
    apart = 1e5  # mm, more than any station's size
    place = np.column_stack([hits.position_mm, apart * ((hits.event * STATIONS + hits.station) * 3 + hits.end + 1)])
    pairs = cKDTree(place).query_pairs(TOGETHER * stations.layer_gap_mm, output_type="ndarray")
    edges = sparse.coo_array((np.ones(len(pairs)), pairs.T), shape=(len(hits), len(hits)))
    found = connected_components(edges, directed=False)[1]
    return np.asarray(found, dtype=np.int64)


def _fitted(hits: MuonHits, group: Integers, stations: MuonStations) -> Segments:
    """Return the least-squares line of each group in the frame at its middle."""
    count = int(group.max(initial=-1)) + 1
    number = np.bincount(group, minlength=count)
    middle = np.stack([sums(group, hits.position_mm[:, i], count) for i in range(3)], axis=1) / number[:, None]
    first = np.searchsorted(group[np.argsort(group, kind="stable")], np.arange(count))
    leader = np.argsort(group, kind="stable")[first]
    out, along, across = frames(middle, hits.end[leader])
    away = hits.position_mm - middle[group]
    w, u, v = ((away * axis[group]).sum(1) for axis in (out, along, across))
    square = sums(group, w**2, count)
    slopes = [sums(group, w * one, count) / square for one in (u, v)]
    chi2 = sum(
        sums(group, ((one - slope[group] * w) / sigma) ** 2, count)
        for one, slope, sigma in zip((u, v), slopes, stations.resolution_mm, strict=True)
    )
    direction = out + slopes[0][:, None] * along + slopes[1][:, None] * across
    particle, purity = _majority(hits.particle, group, count, number)
    made = Segments(
        hits.event[leader],
        hits.station[leader],
        hits.end[leader],
        middle,
        direction / np.linalg.norm(direction, axis=1, keepdims=True),
        number,
        np.asarray(chi2, dtype=np.float64),
        particle,
        purity,
    )
    order = np.lexsort((middle[:, 0], made.station, made.event))
    return replace(made, **{field.name: getattr(made, field.name)[order] for field in fields(made)})


def _majority(particle: Integers, group: Integers, count: int, number: Integers) -> tuple[Integers, Floats]:
    """Return the particle of most hits of each group, of several the last, and its share."""
    most = int(particle.max(initial=0)) + 2
    pairs, each = np.unique(group * most + particle + 1, return_counts=True)
    order = np.lexsort((each, pairs // most))
    last = order[np.flatnonzero(np.diff(pairs[order] // most, append=count + 1))]
    return pairs[last] % most - 1, each[last] / number
