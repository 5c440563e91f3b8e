"""Where collisions happen: events of a generator, which begin at the origin, moved to places in the beam spot."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Final

import numpy as np

from collider.detectors.particles import Integers, Particles
from collider.detectors.tracking.geometry import BeamSpot

BEAM_STREAM, HIT_STREAM = 0x7601, 0x7602
_MASK: Final = 2**64 - 1


def event_generators(seed: int, stream: int, event_ids: Integers) -> Iterator[np.random.Generator]:
    """Yield a generator of random numbers for each event: seed, stream and id alone decide what it draws."""
    for event_id in event_ids.tolist():
        yield np.random.default_rng((seed, stream, event_id & _MASK))


def require_events(particles: Particles, event_ids: Integers) -> None:
    """Raise ValueError where particles are of events that have no id."""
    if len(particles) and particles.event[-1] >= len(event_ids):
        raise ValueError(f"particles of event {particles.event[-1]} have no id: there are {len(event_ids)} event_ids")


def at_beam_spot(particles: Particles, spot: BeamSpot, seed: int, event_ids: Integers) -> Particles:
    """Return the particles, those of each event moved together; event_ids: (event,) of all events, by their place.

    Raises ValueError where an event has no id.
    """
    require_events(particles, event_ids)
    sigma = np.array([spot.x_mm, spot.y_mm, spot.z_mm])
    draws = [generator.standard_normal(3) for generator in event_generators(seed, BEAM_STREAM, event_ids)]
    moved = np.reshape(draws, (-1, 3)) * sigma
    return dataclasses.replace(particles, vertex_mm=particles.vertex_mm + moved[particles.event])
