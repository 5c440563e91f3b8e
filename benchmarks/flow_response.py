"""What particle flow by rules divides energies by, measured with single particles: python benchmarks/flow_response.py

    python benchmarks/flow_response.py                                    the default detectors
    python benchmarks/flow_response.py -c mine.yaml --particles 4000      others, as scripts/detectors.py -c takes them

Shoots photons and charged pions within |η| of 2.4, one an event, and reads of each what the flow reads: of a photon the
ECAL clusters that are its own, of a pion those of its track's block in both calorimeters. Response is the median of
photons, the mean of pions, since half of the softest leave nothing. The resolution a/√E ⊕ c is fitted to half of the
central 68 % of corrected energies over the true ones, of pions from 5 GeV on. Prints both beside what the rules have
without a configuration, and writes flow.yaml, which scripts/detectors_physics.py takes with -c.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy.optimize import curve_fit

from collider.detectors.command import holds_processes
from collider.detectors.events import EventSlice, RaggedTable
from collider.detectors.gun import shot
from collider.detectors.learning.candidates import matched_particles
from collider.detectors.making.config import DetectorSample
from collider.detectors.making.events import simulated, written
from collider.detectors.particles import Particles
from collider.detectors.physics.objects import objects_of
from collider.detectors.physics.rules import FlowRules, Resolution, Response
from collider.detectors.schema import NONE, OFFSETS, TABLES
from collider.generation.config import config_path
from detector_response import width
from reconstruction.command import Parser, whole
from reconstruction.errors import run
from reconstruction.files import write_whole
from reconstruction.paths import path_of

ETA = 2.4
RULES = FlowRules()


@dataclass(frozen=True)
class Gun:
    """What is shot, what the rules have of it, and how its response and its resolution are measured.

    median: the median is the response, else the mean; resolved_from_gev: energies that the resolution is fitted to.
    """

    kind: str
    of: str
    response: Response
    resolution: Resolution
    median: bool
    resolved_from_gev: float


GUNS = (
    Gun("photon", "photon", RULES.photon_response, RULES.photon_resolution, True, 0.0),
    Gun("pion", "hadron", RULES.hadron_response, RULES.hadron_resolution, False, 5.0),
)


def of_energy(kind: str, energy_gev: float, count: int) -> Particles:
    """Return particles of one energy, one an event, η uniform."""
    particles = shot(kind, count, eta=(-ETA, ETA), seed=round(100 * energy_gev))
    wanted = np.sqrt(energy_gev**2 - particles.mass_gev**2)
    size = np.linalg.norm(particles.momentum_gev, axis=1)
    return replace(particles, momentum_gev=particles.momentum_gev * (wanted / size)[:, None])


def seen(particles: Particles, sample: DetectorSample) -> EventSlice:
    """Return the events of particles with all tables, as a file would hold them."""
    count = len(particles)
    ids, tables = np.arange(count), {}
    found = simulated(particles, ids, sample)
    found["particles"].columns["origin"] = np.zeros(count)
    for name, own in TABLES.items():
        columns = written(name, found[name], count)
        rows = {column.name: columns[f"{name}/{column.name}"] for column in own}
        tables[name] = RaggedTable(name, columns[f"{name}/{OFFSETS}"], rows)
    return EventSlice({"event_id": ids, "process": np.zeros(count, dtype=np.int8)}, tables)


def read_gev(part: EventSlice, sample: DetectorSample) -> NDArray[Any]:
    """Return the energy of the clusters that the flow reads of each particle that leads an object, (particle,)."""
    objects = objects_of(part, RULES, sample.muons, sample.calorimeters.ecal, sample.tracker.field_t)
    particle = matched_particles(part, objects.heads, objects.owner)
    head = objects.heads[particle != NONE]
    blocks = np.bincount(objects.block[objects.tracks :], objects.energy_gev, len(objects))
    charged = part["particles"]["charge"][particle[particle != NONE]] != 0
    head, charged = head[~charged | (head < objects.tracks)], charged[~charged | (head < objects.tracks)]
    return np.where(charged, blocks[objects.block[head]], objects.owned_gev(True)[head])


def measured(gun: Gun, sample: DetectorSample, count: int) -> dict[str, Any]:
    """Return what the configuration of the flow says of this kind, as measured; print it beside what the rules have."""
    energies = gun.response.energy_gev
    read = [read_gev(seen(of_energy(gun.kind, energy, count), sample), sample) for energy in energies]
    centre = np.median if gun.median else np.mean
    response = [round(float(centre(own)) / energy, 4) for own, energy in zip(read, energies, strict=True)]
    corrected = Response(energies, tuple(response))
    widths = np.array([width(corrected.corrected(own) / energy) for own, energy in zip(read, energies, strict=True)])
    rows = zip(energies, response, gun.response.response, widths, strict=True)
    for energy, own, default, spread in rows:
        print(f"{gun.kind} {energy:6g} GeV: response {own:.4f} (default {default:.4f}), σ/E {spread:.4f}")
    hard = np.array(energies) >= gun.resolved_from_gev
    terms, _ = curve_fit(
        lambda e, a, c: np.sqrt(a**2 / e + c**2), np.array(energies)[hard], widths[hard], p0=(0.5, 0.01),
        sigma=widths[hard],
    )  # fmt: skip
    stochastic, constant = (round(abs(float(term)), 4) for term in terms)
    has = gun.resolution
    print(
        f"{gun.kind}: σ/E = {100 * stochastic:.1f} %/√E ⊕ {100 * constant:.1f} % (default "
        f"{100 * has.stochastic:.1f} %/√E ⊕ {100 * has.constant:.1f} %)"
    )
    return {
        f"{gun.of}_response": {"energy_gev": list(energies), "response": response},
        f"{gun.of}_resolution": {"stochastic": stochastic, "constant": constant},
    }


def command_line() -> Parser:
    """Return the command line."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-c", "--config", default="events", help="detectors, of scripts/detectors.py (default: events)")
    parser.add_argument("--particles", type=whole(), default=1000, help="of each kind and energy (default: 1000)")
    parser.add_argument("--output", type=path_of, default=Path("runs/flow_response"), help="folder")
    return parser


def main() -> int:
    """Measure and write."""
    arguments = command_line().parse_args()
    sample = DetectorSample.from_yaml(config_path(arguments.config, "detectors", "set of events", holds_processes))
    found: dict[str, Any] = {}
    for gun in GUNS:
        found |= measured(gun, sample, arguments.particles)
    path = write_whole(arguments.output / "flow.yaml", yaml.safe_dump({"flow": found}, sort_keys=False).encode())
    print(path)
    return 0


if __name__ == "__main__":
    run(main)
