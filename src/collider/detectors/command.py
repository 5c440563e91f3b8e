"""Events in four detectors: Pythia's collisions as tracks, clusters, muon segments and their hits, in HDF5 files."""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from collider.detectors.making.config import DetectorSample
from collider.detectors.making.files import (
    BYTES_AN_EVENT,
    EVENTS_PER_FILE,
    MANIFEST,
    SECONDS_AN_EVENT,
    DetectorFile,
    event_files,
    write_event_files,
    write_manifest,
)
from collider.generation.config import config_path
from reconstruction.command import Parser, task, whole
from reconstruction.paths import path_of, place_of
from reconstruction.ranges import SEED
from reconstruction.workers import available_cpus

DEFAULT: Final = "events"


def command_line() -> Parser:
    """Return the command line."""
    parser = Parser(
        description=__doc__,
        epilog="An interrupted run goes on with the same command; what is complete is not made again. Many events: the "
        f"same command as an array job, each task with its --task I/N; the last one writes {MANIFEST}. "
        "docs/howto/detectors.md has tables, columns and the keys of a configuration.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--events", type=whole(), default=8000, help="events, shared among the processes")
    parser.add_argument("--output", type=path_of, default=Path("data/detectors"), help="folder for the HDF5 files")
    parser.add_argument(
        "-c", "--config", type=place_of, default=DEFAULT, help="a YAML file, or the name of one in configs/detectors/"
    )
    parser.add_argument("--seed", type=whole(SEED), default=None, help="seed (default: of the configuration)")
    parser.add_argument(
        "--workers", type=whole(), default=available_cpus(), help="processes; the result does not depend on it"
    )
    parser.add_argument(
        "--events-per-file",
        type=whole(),
        default=EVENTS_PER_FILE,
        help="events in one HDF5 file; each file begins with a seed of its own: other numbers make other events",
    )
    parser.add_argument("--task", type=task, default=None, help="I/N: make only the files of one task of an array job")
    return parser


def main() -> int:
    """Run the command."""
    arguments = command_line().parse_args()
    path = config_path(arguments.config, "detectors", "set of events", holds_processes)
    sample = DetectorSample.from_yaml(path)
    if arguments.seed is not None:
        sample = dataclasses.replace(sample, seed=arguments.seed)
    files = event_files(sample, arguments.events, arguments.output, arguments.events_per_file)
    mine = files if arguments.task is None else files[arguments.task[0] :: arguments.task[1]]
    print(expected(mine, arguments.workers), flush=True)
    write_event_files(mine, arguments.workers, print)
    missing = sum(not file.path.exists() for file in files)
    if missing:
        print(f"{missing} of {len(files)} files are not there yet; {MANIFEST} is written with the last of them")
    else:
        print(write_manifest(files, arguments.output))
    return 0


def holds_processes(text: str) -> bool:
    """Whether a configuration is one of events, and not of a training."""
    return "\nprocesses:" in f"\n{text}"


def expected(files: Sequence[DetectorFile], workers: int) -> str:
    """Return in words how long the files that are not there take, and how large they are."""
    making = [file for file in files if not file.path.exists()]
    events = sum(file.stop - file.start for file in making)
    size = sum((file.stop - file.start) * sum(BYTES_AN_EVENT[name] for name in file.sample.tables) for file in making)
    minutes = events * SECONDS_AN_EVENT / max(1, min(workers, len(files), available_cpus())) / 60
    return (
        f"{events} events to make: about {math.ceil(minutes)} min with {workers} "
        f"{'worker' if workers == 1 else 'workers'}, {math.ceil(size / 1e6)} MB"
    )
