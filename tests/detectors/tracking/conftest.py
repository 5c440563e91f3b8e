"""Particles that several tests look at, shot once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from collider.detectors.gun import shot
from collider.detectors.particles import Particles
from collider.detectors.tracking import Hits, Tracker, Tracks, at_beam_spot, find_tracks, simulate_hits


@dataclass(frozen=True)
class Shot:
    """Particles, their hits and the tracks found in them."""

    particles: Particles
    hits: Hits
    tracks: Tracks
    tracker: Tracker


def seen(particles: Particles, tracker: Tracker, seed: int = 5) -> Shot:
    events = np.arange(int(particles.event[-1]) + 1)
    moved = at_beam_spot(particles, tracker.beam_spot, seed, events)
    hits = simulate_hits(moved, tracker, seed, events)
    return Shot(moved, hits, find_tracks(hits, tracker), tracker)


@pytest.fixture(scope="session")
def look():
    """What shows particles to a tracker."""
    return seen


@pytest.fixture(scope="session")
def barrel() -> Shot:
    """Pions of 1 to 100 GeV in the barrel, eight in an event."""
    return seen(shot("pion", 250, 8, (1.0, 100.0), (-0.9, 0.9), seed=4), Tracker())
