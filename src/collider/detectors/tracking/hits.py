"""Hits: where charged particles cross the layers, scattered in each, seen with the layers' errors; and noise."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from collider.detectors.helix import Helices
from collider.detectors.particles import Floats, Integers, Mask, Particles
from collider.detectors.scattering import passed_x0, scattering_angle
from collider.detectors.tracking.beam import HIT_STREAM, event_generators, require_events
from collider.detectors.tracking.geometry import Tracker
from collider.generation.kinematics import phi_difference

NOISE = -1
"""Particle of a hit that none made."""


@dataclass(frozen=True)
class Hits:
    """Hits of many events, one after the other, in each from the inside to the outside and by φ.

    event, layer: (hit,); phi: azimuth of the place, from −π to π; z_mm: (hit,); particle: (hit,) truth, the place
    among the particles of all events, −1 for noise. Raises ValueError for columns of several lengths and mixed events.
    """

    event: Integers
    layer: Integers
    phi: Floats
    z_mm: Floats
    particle: Integers

    def __post_init__(self) -> None:
        lengths = {part.name: len(getattr(self, part.name)) for part in fields(self)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of hits must be of one length, not {lengths}")
        if np.any(np.diff(self.event) < 0):
            raise ValueError("hits must come event by event")

    def __len__(self) -> int:
        return len(self.event)

    def kept(self, mask: Mask | Integers) -> Hits:
        """Return those of a mask, or at places."""
        return dataclasses.replace(self, **{part.name: getattr(self, part.name)[mask] for part in fields(self)})

    def position_mm(self, tracker: Tracker) -> Floats:
        """Return x, y, z: (hit, 3)."""
        radius = tracker.radii_mm[self.layer]
        return np.stack([radius * np.cos(self.phi), radius * np.sin(self.phi), self.z_mm], axis=1)

    def of_particles(self, particles: int, layers: int) -> Mask:
        """Return which layers each particle hit: (particle, layer)."""
        hit = np.zeros((particles, layers), dtype=bool)
        true = self.particle != NOISE
        hit[self.particle[true], self.layer[true]] = True
        return hit


@dataclass(frozen=True)
class _Draws:
    """Random numbers of particles in layers: (particle, layer), normal ones (…, 4), and noise hits."""

    normal: Floats
    uniform: Floats
    noise: Hits


def simulate_hits(particles: Particles, tracker: Tracker, seed: int, event_ids: Integers) -> Hits:
    """Return the hits of particles, and noise; event_ids: (event,) of all events, by their place.

    Each charged particle leaves its place on a helix, crosses each layer once, on its way out, and is deflected there
    by a Gaussian angle of Highland's size, at the same momentum. What seed and an event's id are decides all that is
    drawn in it: not how events are shared among calls. No energy is lost, electrons radiate nothing, no hadron
    interacts, loopers do not come back, and hits of two particles never merge. Raises ValueError where an event
    has no id.
    """
    require_events(particles, event_ids)
    charged = np.flatnonzero((particles.charge != 0) & (particles.p_gev > 0))
    seen = particles.kept(charged)
    draws = _drawn(seen, tracker, seed, event_ids)
    found = [draws.noise]
    place, momentum = seen.vertex_mm, seen.momentum_gev
    inside = np.ones(len(seen), dtype=bool)
    for number, layer in enumerate(tracker.layers):
        crossing = Helices.of(momentum, place, seen.charge, tracker.field_t).at_radius(layer.radius_mm)
        starts = np.hypot(place[:, 0], place[:, 1]) < layer.radius_mm
        inside &= crossing.reached | ~starts  # a looper does not reach the layers behind, either
        there = inside & starts & (np.abs(crossing.position_mm[:, 2]) <= layer.half_length_mm)
        crossed = np.flatnonzero(there)
        place = np.where(there[:, None], crossing.position_mm, place)
        momentum = np.where(there[:, None], crossing.direction * seen.p_gev[:, None], momentum)
        momentum[crossed] = _scattered(momentum[crossed], place[crossed], seen.kept(crossed), layer.thickness_x0,
                                       draws.normal[crossed, number, :2])  # fmt: skip
        taken = crossed[draws.uniform[crossed, number] < layer.efficiency]
        error = draws.normal[taken, number, 2:] * np.sqrt(tracker.variances_mm2[number])
        phi = np.arctan2(place[taken, 1], place[taken, 0]) + error[:, 0] / layer.radius_mm
        layers = np.full(len(taken), number, dtype=np.int64)
        z_mm = place[taken, 2] + error[:, 1]
        found.append(Hits(seen.event[taken], layers, phi_difference(phi, 0.0), z_mm, charged[taken]))
    return _together(found)


def _drawn(particles: Particles, tracker: Tracker, seed: int, event_ids: Integers) -> _Draws:
    layers = len(tracker.layers)
    counts = np.bincount(particles.event, minlength=len(event_ids))
    normal, uniform = [np.zeros((0, layers, 4))], [np.zeros((0, layers))]
    noise = [_no_hits()]
    means = tracker.column("noise_hits")
    for event, generator in enumerate(event_generators(seed, HIT_STREAM, event_ids)):
        layer = np.repeat(np.arange(layers), generator.poisson(means))
        phi = generator.uniform(-np.pi, np.pi, len(layer))
        z = generator.uniform(-1, 1, len(layer)) * tracker.half_lengths_mm[layer]
        noise.append(Hits(np.full(len(layer), event), layer, phi, z, np.full(len(layer), NOISE)))
        normal.append(generator.standard_normal((counts[event], layers, 4)))
        uniform.append(generator.random((counts[event], layers)))
    return _Draws(np.concatenate(normal), np.concatenate(uniform), _together(noise))


def _scattered(momentum: Floats, place: Floats, particles: Particles, thickness: float, normal: Floats) -> Floats:
    """Return momenta deflected in two planes; normal: (particle, 2)."""
    size = particles.p_gev
    direction = momentum / size[:, None]
    outward = np.einsum("pi,pi->p", direction[:, :2], place[:, :2]) / np.hypot(place[:, 0], place[:, 1])
    angle = scattering_angle(size, passed_x0(thickness, outward), particles.mass_gev, particles.charge)
    across = np.hypot(direction[:, 0], direction[:, 1])
    around = np.stack([-direction[:, 1], direction[:, 0], np.zeros(len(size))], axis=1) / across[:, None]
    above = np.cross(direction, around)
    kick = angle[:, None] * normal
    bent = direction + np.tan(kick[:, :1]) * around + np.tan(kick[:, 1:]) * above
    return bent * (size / np.linalg.norm(bent, axis=1))[:, None]


def _together(parts: list[Hits]) -> Hits:
    """Return hits of several parts, in order."""
    columns = {name.name: np.concatenate([getattr(part, name.name) for part in parts]) for name in fields(Hits)}
    order = np.lexsort((columns["phi"], columns["layer"], columns["event"]))
    return Hits(**{name: column[order] for name, column in columns.items()})


def _no_hits() -> Hits:
    whole: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
    return Hits(whole, whole, np.zeros(0), np.zeros(0), whole)
