"""Events as files: one HDF5 file for each process and shard, with a table a detector, made by workers or an array job.

Made as the samples of `collider.generation` are: each file with a seed of its own, and what is complete is not made
again. When all files of a set are there, a manifest says what they hold.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

import collider
from collider.detectors.making.config import DetectorSample
from collider.detectors.making.events import event_columns, joined
from collider.detectors.schema import (
    CLUSTERS,
    ECAL_CELLS,
    EVENT_COLUMNS,
    HCAL_CELLS,
    MUON_HITS,
    PARTICLES,
    SEGMENTS,
    TABLES,
    TRACKER_HITS,
    TRACKS,
)
from collider.generation import EventGenerator, Process, keyed_seed
from collider.generation.files import write_files
from collider.generation.pieces import Columns, Piece, require_same, write_columns
from reconstruction.errors import UserError
from reconstruction.files import write_whole
from reconstruction.provenance import ancestry, git_commit

LAYOUT: Final = "collider.detectors 1: groups with columns and offsets"
MANIFEST: Final = "events.json"
EVENTS_PER_FILE: Final = 500
TOGETHER: Final = 25
"""Events that are simulated together: what a set of events is depends on it, and more of them take more memory."""
SECONDS_AN_EVENT: Final = 0.05
BYTES_AN_EVENT: Final = {
    PARTICLES: 3000,
    TRACKER_HITS: 4800,
    TRACKS: 4500,
    ECAL_CELLS: 3800,
    HCAL_CELLS: 700,
    CLUSTERS: 2900,
    MUON_HITS: 120,
    SEGMENTS: 80,
}
"""Of one core and of the five processes alike, measured; docs/howto/detectors.md has the command."""


@dataclass(frozen=True)
class DetectorFile:
    """Events of one process from number `start` to `stop`."""

    sample: DetectorSample
    process: Process
    start: int
    stop: int
    path: Path

    @property
    def config_text(self) -> str:
        """What the events depend on: other processes of the set make no difference."""
        given = self.sample.to_dict() | {"processes": [self.process], "share": {}}
        return json.dumps(given, sort_keys=True, default=str)


def event_files(
    sample: DetectorSample, events: int, folder: Path, events_per_file: int = EVENTS_PER_FILE
) -> list[DetectorFile]:
    """Return the files that hold so many events, shared among the processes; those of different ones take turns.

    Events of a Les Houches file come in its order from its first one on: one file holds all of them.
    """
    counts = sample.counts(events)
    found = [
        (number, place, DetectorFile(sample, process, start, min(start + size, count), folder / name))
        for place, process in enumerate(sample.processes)
        for count in [counts[process.name]]
        for size in [max(1, count) if process.lhe_file else events_per_file]
        for number, start in enumerate(range(0, count, size))
        for name in [f"{process.name}_{number:04d}.hdf5"]
    ]
    return [file for _, _, file in sorted(found, key=lambda one: one[:2])]


def write_event_files(
    files: Sequence[DetectorFile], workers: int, said: Callable[[str], None] = lambda _: None
) -> None:
    """Make those files that are not there yet, and tell `said` of each. Raises UserError as `write_files` does."""
    pieces: list[Piece] = list(files)
    write_files(pieces, workers, said, write_event_file)


def write_event_file(file: DetectorFile) -> int:
    """Generate and simulate a file's events; return how many were generated, 0 where it was there already."""
    if file.path.exists():
        require_same(file, file.config_text)
        return 0
    _require_folder(file.path)
    generator = EventGenerator(
        file.sample.pythia(file.process), keyed_seed(file.sample.seed, file.process.name, file.start)
    )
    identity = keyed_seed(file.sample.seed, file.process.name) << 32
    event_id = identity + np.arange(file.start, file.stop, dtype=np.int64)
    parts, generated = [], 0
    for start in range(0, len(event_id), TOGETHER):
        ids = event_id[start : start + TOGETHER]
        events = generator.batch(len(ids))
        if len(events) < len(ids):
            raise UserError(f"{file.process.lhe_file} ends after {start + len(events)} events: ask for fewer --events")
        generated += int(np.sum(events.generated.to_numpy()))
        parts.append(event_columns(events, ids, file.sample))
    columns = joined(parts) | {"event_id": event_id, "process": np.zeros(len(event_id), dtype=np.int8)}
    write_simulated(file, columns, generator.cross_section_pb, generated)
    return generated


def _require_folder(path: Path) -> None:
    """Make the folder of a file. Raises UserError, before minutes of work, where that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error


def write_simulated(file: DetectorFile, columns: Columns, cross_section_pb: float, generated: int) -> None:
    """Write a file of these columns, those of tables as `table/column`, with what it depends on and was made by."""
    sample, parts = file.sample, file.sample.calorimeters
    for column in EVENT_COLUMNS:
        columns[column.name] = columns[column.name].astype(column.dtype)
    units = {column.name: column.unit for column in EVENT_COLUMNS}
    units |= {f"{table}/{column.name}": column.unit for table, own in TABLES.items() for column in own}
    made_by = ancestry(
        f"collider {collider.__version__}", git_commit(Path(__file__)), sample.to_dict(), sample.seed, ()
    )
    facts: dict[str, Any] = {
        **made_by,
        "layout": LAYOUT,
        "processes": json.dumps([file.process.name]),
        "cross_section_pb": cross_section_pb,
        "generated": generated,
        "tables": json.dumps(sample.tables),
        "detectors": json.dumps(sample.detector_dict(), sort_keys=True, default=str),
        "tracker_radii_mm": sample.tracker.radii_mm,
        **{f"{name}_cells": (grid.layers, grid.rings, grid.sectors)
           for name, grid in (("ecal", parts.ecal.grid), ("hcal", parts.hcal.grid))},
    }  # fmt: skip
    write_columns(file, columns, units, facts, file.config_text)


def write_manifest(files: Sequence[DetectorFile], folder: Path) -> Path:
    """Write what a set of files holds, which are all there. Raises UserError for one that cannot be read."""
    content: dict[str, Any] = {}
    for file in files:
        facts = _facts(file.path)
        entry = content.setdefault(
            file.process.name, {"events": 0, "generated": 0, "cross_section_pb": [], "files": []}
        )
        entry["events"] += file.stop - file.start
        entry["generated"] += facts["generated"]
        entry["cross_section_pb"].append(facts["cross_section_pb"])
        entry["files"].append(file.path.name)
    for entry in content.values():
        entry["cross_section_pb"] = float(np.mean(entry["cross_section_pb"]))
    return write_whole(folder / MANIFEST, (json.dumps({"processes": content}, indent=1) + "\n").encode())


def _facts(path: Path) -> dict[str, Any]:
    try:
        with h5py.File(path, "r", locking=False) as file:
            return {
                "generated": int(file.attrs["generated"]),
                "cross_section_pb": float(file.attrs["cross_section_pb"]),
            }
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path} is no file of events ({error}): remove it and run again") from error
