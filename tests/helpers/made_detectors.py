"""Files of events in four detectors: of single particles, of made-up numbers; and what collisions are generated."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from collider.detectors.gun import shot
from collider.detectors.making.config import DetectorSample
from collider.detectors.making.events import simulated, written
from collider.detectors.making.files import DetectorFile, write_simulated
from collider.detectors.particles import Particles
from collider.detectors.schema import EVENT_COLUMNS, TABLES
from collider.generation import Process, Resonance

KINDS = ("electron", "photon", "muon", "pion", "proton")
SAMPLE = DetectorSample((Process("gun", ("HardQCD:all",)),), seed=5)
Z = Process("z", ("WeakSingleBoson:ffbar2gmZ",), resonances={"Z": Resonance(only=("e", "mu"))}, underlying_event=False,
            settings={"WeakZ0:gmZmode": "2"})  # fmt: skip
QCD = Process("qcd", ("HardQCD:all",), smallest_pt_gev=40.0, underlying_event=False)
COLLISIONS = DetectorSample((Z, QCD), {"z": 2, "qcd": 1}, seed=3)


def particles(events: int, seed: int, kinds: tuple[str, ...] = KINDS, **shot_as: tuple[float, float]) -> Particles:
    """One particle of each kind in each event, hard enough to reach the calorimeters."""
    parts = [shot(kind, events, seed=seed, **({"pt_gev": (3.0, 60.0), "eta": (-1.5, 1.5)} | shot_as)) for kind in kinds]
    order = np.argsort(np.concatenate([part.event for part in parts]), kind="stable")
    names = [field.name for field in dataclasses.fields(Particles)]
    return Particles(**{name: np.concatenate([getattr(part, name) for part in parts])[order] for name in names})


def write(path: Path, events: int, seed: int = 1, sample: DetectorSample = SAMPLE, **shot_as: tuple) -> Path:
    """Write so many events."""
    shots = particles(events, seed, **shot_as)
    event_id = (np.int64(seed) << 32) + np.arange(events)
    tables = simulated(shots, event_id, sample)
    tables["particles"].columns["origin"] = np.zeros(len(shots))
    columns = {"event_id": event_id, "process": np.zeros(events), "weight": np.ones(events)}
    columns |= {f"{stem}_p{axis}_gev": np.zeros(events) for stem in ("missing", "beyond") for axis in "xy"}
    for name in sample.tables:
        columns |= written(name, tables[name], events)
    write_simulated(DetectorFile(sample, sample.processes[0], 0, events, path), columns, 1.0, events)
    return path


def made_up(counts, seed):
    """Columns of a file whose tables have so many rows in each event, {table: (event,)}."""
    random, events = np.random.default_rng(seed), len(next(iter(counts.values())))
    columns = {column.name: random.integers(0, 100, events).astype(column.dtype) for column in EVENT_COLUMNS} | {
        "event_id": np.arange(events, dtype=np.int64),
        "process": np.zeros(events, dtype=np.int8),
    }
    for table, own in TABLES.items():
        rows = int(counts[table].sum())
        columns[f"{table}/offsets"] = np.concatenate([[0], np.cumsum(counts[table])])
        for column in own:
            shape = (rows, 15) if column.name == "covariance" else (rows,)
            columns[f"{table}/{column.name}"] = random.integers(0, 100, shape).astype(column.dtype)
    return columns


def write_made_up(path, columns, sample=COLLISIONS):
    events = len(columns["event_id"])
    write_simulated(DetectorFile(sample, sample.processes[0], 0, events, path), dict(columns), 1.0, events)
