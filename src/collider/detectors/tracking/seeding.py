"""Where tracks begin: hits of layers by azimuth, and triplets of hits that a helix from near the axis passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from collider.detectors.helix import bending_radius_mm
from collider.detectors.particles import Floats, Integers, Mask
from collider.detectors.scattering import scattering_angle
from collider.detectors.tracking.geometry import Tracker
from collider.detectors.tracking.hits import Hits
from collider.detectors.tracking.options import Finding, Triplet
from collider.detectors.tracking.perigee import perigee_of
from collider.generation.kinematics import phi_difference

_EVENT: Final = 32.0
"""Distance of two events on the line of keys: more than three turns and any window."""
_TURNS: Final = (-2 * np.pi, 0.0, 2 * np.pi)
_SIGMAS: Final = 4.0
_RESERVE: Final = 1.1


@dataclass(frozen=True)
class LayerHits:
    """Hits of one layer, sorted by event and azimuth, each three times: a turn back, as it is, a turn on."""

    key: Floats
    place: Integers

    @classmethod
    def of(cls, hits: Hits, layer: int, wanted: Mask) -> LayerHits:
        """Return those of a layer among the wanted ones."""
        place = np.flatnonzero((hits.layer == layer) & wanted)
        key = np.concatenate([hits.event[place] * _EVENT + hits.phi[place] + turn for turn in _TURNS])
        order = np.argsort(key, kind="stable")
        return cls(key[order], np.tile(place, len(_TURNS))[order])

    def near(self, event: Integers, phi: Floats, width: Floats) -> tuple[Integers, Integers]:
        """Return pairs: which question (event, azimuth, half width), and the place of a hit that answers it."""
        middle, half = event * _EVENT + phi, np.minimum(width, np.pi)
        first = np.searchsorted(self.key, middle - half)
        counts = np.searchsorted(self.key, middle + half, side="right") - first
        question = np.repeat(np.arange(len(event)), counts)
        within = np.arange(len(question)) - np.repeat(np.cumsum(counts) - counts, counts)
        return question, self.place[first[question] + within]


@dataclass(frozen=True)
class Seeds:
    """Triplets of hits: hit (seed, 3), places among all hits; parameters (seed, 5) of the helix through them."""

    hit: Integers
    parameters: Floats


def seeds_of(
    hits: Hits, wanted: Mask, triplet: Triplet, largest_d0_mm: float, tracker: Tracker, options: Finding
) -> Seeds:
    """Return triplets of wanted hits in three layers that may be of one track."""
    inner, middle, outer = (LayerHits.of(hits, layer, wanted) for layer in triplet)
    radii = tracker.radii_mm[list(triplet)]
    a = np.unique(inner.place)
    pair, b = middle.near(hits.event[a], hits.phi[a], _bend(radii[0], radii[1], largest_d0_mm, options, tracker))
    a = a[pair]
    slope = (hits.z_mm[b] - hits.z_mm[a]) / (radii[1] - radii[0])
    axis = np.abs(hits.z_mm[a] - slope * radii[0]) <= options.largest_z0_mm
    a, b, slope = a[axis], b[axis], slope[axis]
    turned = phi_difference(hits.phi[b], hits.phi[a])
    lever = (radii[2] - radii[0]) / (radii[1] - radii[0])
    width = np.full(len(a), _width(radii, largest_d0_mm, options, tracker))
    pair, c = outer.near(hits.event[a], hits.phi[a] + turned * lever, width)
    a, b, slope = a[pair], b[pair], slope[pair]
    aside = hits.z_mm[c] - hits.z_mm[a] - slope * (radii[2] - radii[0])
    straight = np.abs(aside) <= _z_window(slope, triplet, tracker, options)
    found = np.stack([a[straight], b[straight], c[straight]], axis=1)
    return _through(hits, found, largest_d0_mm, tracker, options)


def _bend(inner: float, outer: float, d0: float, options: Finding, tracker: Tracker) -> Floats:
    """Return by how much the azimuth may differ between two radii."""
    circle = _circle(options, tracker)
    curve = (_arc(outer, circle) - _arc(inner, circle)) / circle
    return np.asarray(curve + _missed(d0, inner) - _missed(d0, outer) + _kick(inner, outer, options, tracker))


def _width(radii: Floats, d0: float, options: Finding, tracker: Tracker) -> float:
    """Return how far the third azimuth may be from the line of the first two: d₀, curvature and scattering."""
    circle = _circle(options, tracker)
    lever = (radii[2] - radii[0]) / (radii[1] - radii[0])

    def beside(values: list[float]) -> float:
        return abs(values[2] - values[0] - (values[1] - values[0]) * lever)

    missed = beside([_missed(d0, radius) for radius in radii])
    curved = beside([_arc(radius, circle) / circle for radius in radii])
    return missed + curved + _kick(radii[1], radii[2], options, tracker) * (1 + lever)


def _missed(d0: float, radius: float) -> float:
    """Return the angle under which a straight track that misses the axis by d₀ is seen from there."""
    return float(np.arcsin(min(1.0, d0 / radius)))


def _kick(inner: float, outer: float, options: Finding, tracker: Tracker) -> float:
    """Return the azimuth that scattering and errors of hits may add from one radius to another."""
    angle = scattering_angle(options.lowest_pt_gev, tracker.thickness_x0.max())
    error = np.sqrt(tracker.variances_mm2[:, 0].max()) / inner
    return float(_SIGMAS * (angle * (outer - inner) / outer + error))


def _z_window(slope: Floats, triplet: Triplet, tracker: Tracker, options: Finding) -> Floats:
    """Return how far along z the third hit may be from the line of the first two, for the softest of tracks."""
    radii, variances = tracker.radii_mm[list(triplet)], tracker.variances_mm2[list(triplet), 1]
    lever = (radii[2] - radii[0]) / (radii[1] - radii[0])
    measured = variances[2] + variances[1] * lever**2 + variances[0] * (lever - 1) ** 2
    steep = np.sqrt(1 + slope**2)
    # p = pT √(1 + cot²θ) is more, the matter passed and what an angle makes of z are more, too, when tracks are steep
    angle = scattering_angle(options.lowest_pt_gev * steep, tracker.thickness_x0[list(triplet)].max() * steep)
    between = sum(layer < triplet[1] for layer in range(triplet[0], triplet[1]))
    kicks = (radii[2] - radii[1]) ** 2 + between * (radii[2] - radii[0]) ** 2 * ((lever - 1) / lever) ** 2
    circle = _circle(options, tracker)
    arcs = [_arc(radius, circle) for radius in radii]
    curved = np.abs(slope) * abs(arcs[2] - arcs[0] - (arcs[1] - arcs[0]) * lever)
    return _SIGMAS * np.sqrt(measured + (angle * steep**2) ** 2 * kicks) + curved


def _circle(options: Finding, tracker: Tracker) -> float:
    """Return the diameter of the circle of the softest track."""
    return float(2 * bending_radius_mm(options.lowest_pt_gev, 1, tracker.field_t))


def _arc(radius: float, circle: float) -> float:
    """Return the transverse path to a radius."""
    return float(circle * np.arcsin(min(1.0, radius / circle)))


def _through(hits: Hits, found: Integers, largest_d0_mm: float, tracker: Tracker, options: Finding) -> Seeds:
    """Return the triplets with the helix through each: the circle through three points, z along its arc."""
    radius = tracker.radii_mm[hits.layer[found]]
    phi, z = hits.phi[found], hits.z_mm[found]
    x, y = radius * np.cos(phi), radius * np.sin(phi)
    dx, dy = np.diff(x, axis=1), np.diff(y, axis=1)
    across = dx[:, 0] * dy[:, 1] - dy[:, 0] * dx[:, 1]
    chords = np.hypot(dx, dy)
    whole = np.hypot(x[:, 2] - x[:, 0], y[:, 2] - y[:, 0])
    turn = 2 * across / (chords[:, 0] * chords[:, 1] * whole)
    half = np.arcsin(np.clip(turn[:, None] * chords / 2, -1, 1))
    arcs = chords / np.sinc(half / np.pi)
    direction = np.arctan2(dy[:, 0], dx[:, 0]) - half[:, 0]
    cot = (z[:, 2] - z[:, 0]) / arcs.sum(axis=1)
    unit = bending_radius_mm(1.0, 1, tracker.field_t)
    place = np.stack([x[:, 0], y[:, 0], z[:, 0]], axis=1)
    parameters = perigee_of(place, direction, cot, -turn * unit, tracker.field_t)
    soft = np.abs(turn) * unit * options.lowest_pt_gev > _RESERVE
    far = (np.abs(parameters[:, 3]) > largest_d0_mm) | (np.abs(parameters[:, 4]) > options.largest_z0_mm)
    taken = ~soft & ~far
    return Seeds(found[taken], parameters[taken])
