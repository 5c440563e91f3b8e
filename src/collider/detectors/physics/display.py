"""One event as a picture: across the beam, and in η and φ."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from collider.detectors.calorimeters.config import Calorimeters
from collider.detectors.events import DetectorEvents, EventSlice
from collider.detectors.learning.linking import angles, perigees
from collider.detectors.particles import Floats
from collider.detectors.physics.pictures import drawn_as_hep
from collider.detectors.schema import CLUSTERS, SEGMENTS, TRACKER_HITS, TRACKS
from collider.detectors.tracking import Tracker
from collider.detectors.tracking.perigee import crossing
from reconstruction.configuration import build
from reconstruction.judging.pictures.axes import INK, legend

ECAL_COLOUR, HCAL_COLOUR, TRACK_COLOUR, MUON_COLOUR = "#009E73", "#D55E00", "#0072B2", "#CC79A7"
METRES_PER_GEV: Final = 0.02
LONGEST_M: Final = 0.5
"""Bars of clusters, from the front of their calorimeter on."""
SOFTEST_GEV: Final = 0.5
"""Clusters with less are left out."""


@drawn_as_hep
def event_display(events: DetectorEvents, place: int) -> Figure:
    """Draw one of the events, which have hits, tracks, clusters and segments.

    Left: hits, tracks and clusters across the beam, bars of 2 cm a GeV. Right: where tracks enter the ECAL, clusters
    and muon segments in η and φ, areas by energy.
    """
    part, told = events[place], events.detectors
    tracker = build(Tracker, told["tracker"], "the tracker of the events")
    calorimeters = build(Calorimeters, told["calorimeters"], "the calorimeters of the events")
    figure = Figure(figsize=(11.5, 5.0), layout="constrained")
    across, around = figure.subplots(1, 2)
    _hits(across, part, tracker)
    _tracks(across, part, tracker, calorimeters.ecal.radius_mm)
    clusters, tracks, segments = part[CLUSTERS], part[TRACKS], part[SEGMENTS]
    for number, label, colour, front in (
        (0, "ECAL clusters", ECAL_COLOUR, calorimeters.ecal.radius_mm),
        (1, "HCAL clusters", HCAL_COLOUR, calorimeters.hcal.radius_mm),
    ):
        mine = (clusters["detector"] == number) & (clusters["energy_gev"] >= SOFTEST_GEV)
        energy, eta, phi = (clusters[name][mine].astype(np.float64) for name in ("energy_gev", "eta", "phi_rad"))
        _bars(across, front, phi, energy / np.cosh(eta), colour)
        around.scatter(eta, phi, s=8 * energy, color=colour, alpha=0.5, linewidths=0, label=label)
    around.plot(tracks["ecal_eta"], tracks["ecal_phi_rad"], linestyle="none", marker="+", color=TRACK_COLOUR,
                markersize=5, label="tracks at the ECAL")  # fmt: skip
    where = np.stack([segments[f"{axis}_mm"] for axis in "xyz"], axis=1).astype(np.float64)
    around.plot(*angles(where), linestyle="none", marker="*", color=MUON_COLOUR, markersize=9, label="muon segments")
    around.set(xlabel="η", ylabel="φ (rad)", xlim=(-3.2, 3.2), ylim=(-np.pi, np.pi))
    legend(around)
    size = (calorimeters.hcal.radius_mm / 1000 + LONGEST_M) * 1.05
    across.set(xlabel="x (m)", ylabel="y (m)", xlim=(-size, size), ylim=(-size, size), aspect="equal")
    return figure


def _hits(axes: Axes, part: EventSlice, tracker: Tracker) -> None:
    hits = part[TRACKER_HITS]
    radius = tracker.radii_mm[hits["layer"].astype(np.int64)] / 1000
    for chosen, colour in ((hits["track"] < 0, "#bbbbbb"), (hits["track"] >= 0, INK)):
        x, y = (radius[chosen] * wave(hits["phi_rad"][chosen]) for wave in (np.cos, np.sin))
        axes.plot(x, y, ".", color=colour, markersize=1.8)


def _tracks(axes: Axes, part: EventSlice, tracker: Tracker, front_mm: float) -> None:
    """Draw the helices of tracks up to the ECAL, or as far as they reach."""
    radius = np.linspace(1, front_mm, 60)
    found = crossing(perigees(part[TRACKS])[:, None, :], radius, tracker.field_t)
    phi = found.measured[..., 0] / radius
    x, y = (np.where(found.reached, radius / 1000 * wave(phi), np.nan) for wave in (np.cos, np.sin))
    lines: Any = np.stack([x, y], axis=2)
    axes.add_collection(LineCollection(lines, colors=TRACK_COLOUR, linewidths=0.7))


def _bars(axes: Axes, front_mm: float, phi: Floats, pt_gev: Floats, colour: str) -> None:
    """Draw clusters as bars outwards, as long as their transverse energy."""
    begin = front_mm / 1000
    end = begin + np.minimum(METRES_PER_GEV * pt_gev, LONGEST_M)
    direction = np.stack([np.cos(phi), np.sin(phi)], axis=1)
    lines: Any = np.stack([begin * direction, end[:, None] * direction], axis=1)
    axes.add_collection(LineCollection(lines, colors=colour, linewidths=2.5))
    turn = np.linspace(0, 2 * np.pi, 181)
    axes.plot(begin * np.cos(turn), begin * np.sin(turn), color=colour, linewidth=0.6, alpha=0.6)
