"""How well the tracker finds and fits: python benchmarks/detector_tracks.py [--kind pion] [--events 200]

Particles of one kind are shot, twenty an event, or --sample ttbar takes pairs of top quarks with all that comes with
them from Pythia. For each bin of pT and |η|: efficiency, shares of fakes and duplicates, σ(pT)/pT beside the bound of
the same hits and Gluckstern's formula, and the widths (middle 68.3 %) of the five numbers over their bound and over
their stated errors. Then the time that one core takes.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from collider.detectors.gun import KINDS, shot
from collider.detectors.particles import Particles
from collider.detectors.tracking import Tracker, at_beam_spot, find_tracks, simulate_hits
from collider.detectors.tracking.bounds import gluckstern_of
from collider.detectors.tracking.judging import TrackingFigures, judged
from reconstruction.command import Parser

TOPS = ("Top:gg2ttbar", "Top:qqbar2ttbar")
HEADING = (
    "pT/GeV      |η|        particles  found/%        fake/%  twice/%  σ(pT)/pT/%  bound  Gluckstern   "
    "over bound: q/pT φ cot θ d0 z0      pull: the same"
)


def collisions(events: int, seed: int) -> Particles:
    """Return all particles of pairs of top quarks."""
    from collider.generation import EventGenerator, Process, final

    return Particles.from_events(final(EventGenerator(Process("ttbar", TOPS), seed=seed).batch(events)))


def row(figures: TrackingFigures, tracker: Tracker) -> str:
    pt = np.sqrt(figures.pt_gev[0] * figures.pt_gev[1])
    formula = gluckstern_of(tracker, pt, np.sinh(np.mean(figures.eta)))
    widths = ("  ".join(f"{value:.2f}" for value in part) for part in (figures.over_bound, figures.pull))
    ranges = f"{figures.pt_gev[0]:g}–{figures.pt_gev[1]:g}".ljust(10), f"{figures.eta[0]:g}–{figures.eta[1]:g}".ljust(9)
    return (
        f"{ranges[0]}  {ranges[1]}  {figures.particles:9d}  {100 * figures.efficiency:6.2f} ± "
        f"{100 * figures.efficiency_error:4.2f}  {100 * figures.fakes:6.2f}  {100 * figures.duplicates:7.2f}  "
        f"{100 * figures.pt_error:10.2f}  {100 * figures.pt_bound:5.2f}  {100 * formula:10.2f}   "
        f"{'     '.join(widths)}   ± {figures.error:.2f}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", default="pion", choices=[kind for kind, (_, charge, _) in KINDS.items() if charge])
    parser.add_argument("--sample", default="gun", choices=["gun", "ttbar"])
    parser.add_argument("--events", type=int, default=200)
    parser.add_argument("--noise", type=float, help="noise hits a layer and event, instead of the tracker's own")
    parser.add_argument("--tracker", type=Path, help="a YAML file of what differs from the default tracker")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    tracker = Tracker.from_yaml(options.tracker) if options.tracker else Tracker()
    if options.noise is not None:
        layers = [dataclasses.replace(layer, noise_hits=options.noise) for layer in tracker.layers]
        tracker = dataclasses.replace(tracker, layers=tuple(layers))
    if options.sample == "gun":
        particles = shot(options.kind, options.events, 20, (0.5, 100.0), seed=options.seed)
    else:
        particles = collisions(options.events, options.seed)
    ids = np.arange(options.events)
    particles = at_beam_spot(particles, tracker.beam_spot, options.seed, ids)
    begin = time.process_time()
    hits = simulate_hits(particles, tracker, options.seed, ids)
    between = time.process_time()
    tracks = find_tracks(hits, tracker)
    end = time.process_time()
    print(HEADING)
    for figures in judged(tracks, particles, hits, tracker):
        print(row(figures, tracker))
    print(
        f"{len(hits) / options.events:.0f} hits and {len(tracks) / options.events:.1f} tracks an event; one core takes "
        f"{1e3 * (between - begin) / options.events:.1f} ms an event for the hits, "
        f"{1e3 * (end - between) / options.events:.1f} ms to find the tracks, "
        f"{1e3 * (end - between) / max(1, len(tracks)):.2f} ms a track"
    )


if __name__ == "__main__":
    main()
