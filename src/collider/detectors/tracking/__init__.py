"""The tracker: hits of charged particles, tracks found and fitted through them, and how well that can be done."""

from collider.detectors.tracking.beam import at_beam_spot
from collider.detectors.tracking.finding import find_tracks
from collider.detectors.tracking.geometry import BeamSpot, Tracker, TrackerLayer
from collider.detectors.tracking.hits import Hits, simulate_hits
from collider.detectors.tracking.options import Finding, SeedPass
from collider.detectors.tracking.tracks import Tracks

__all__ = [
    "BeamSpot",
    "Finding",
    "Hits",
    "SeedPass",
    "Tracker",
    "TrackerLayer",
    "Tracks",
    "at_beam_spot",
    "find_tracks",
    "simulate_hits",
]
