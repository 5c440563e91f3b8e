"""Events of a search for charged Higgs bosons: signal at every mass point and three backgrounds, HDF5 files."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from collider.generation.files import SampleFile, write_files
from collider.higgs.making.config import HiggsConfig, search_path
from collider.higgs.making.samples import MANIFEST, HiggsSample, missing_files, samples_of, write_manifest
from reconstruction.command import Parser, task, whole
from reconstruction.paths import path_of, place_of
from reconstruction.ranges import SEED
from reconstruction.workers import available_cpus

DEFAULT: Final = "points"
EVENTS_PER_FILE: Final = 500
SECONDS: Final = {"signal": 0.055, "nonprompt": 1.5, "diboson": 0.4, "ttx": 0.05}
"""Of one core for a selected event: three times what was measured without underlying event (docs/howto/higgs.md)."""
WITHOUT_UNDERLYING_EVENT: Final = 0.33
BYTES: Final = 250
"""Of a file for an event."""


def command_line() -> Parser:
    """Return the command line."""
    parser = Parser(
        description=__doc__,
        epilog="An interrupted run goes on with the same command; what is complete is not made again. Many events: the "
        f"same command as an array job, each task with its --task I/N; the last one writes {MANIFEST}. "
        "docs/howto/higgs.md has all the keys.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--events", type=whole(), default=3000, help="selected signal events at each mass point")
    parser.add_argument(
        "--background-events", type=whole(), default=None, help="selected events of each background (default: --events)"
    )
    parser.add_argument("--output", type=path_of, default=Path("data/higgs"), help="folder for all samples")
    parser.add_argument(
        "-c", "--config", type=place_of, default=DEFAULT, help="a YAML file, or the name of one in configs/higgs/"
    )
    parser.add_argument("--seed", type=whole(SEED), default=None, help="seed (default: of the configuration)")
    parser.add_argument(
        "--workers", type=whole(), default=available_cpus(), help="processes; the result does not depend on it"
    )
    parser.add_argument("--events-per-file", type=whole(), default=EVENTS_PER_FILE, help="events in one HDF5 file")
    parser.add_argument("--task", type=task, default=None, help="I/N: make only the files of one task of an array job")
    return parser


def main() -> int:
    """Run the command."""
    arguments = command_line().parse_args()
    config = HiggsConfig.from_yaml(search_path(arguments.config))
    if arguments.seed is not None:
        config = dataclasses.replace(config, seed=arguments.seed)
    background_events = arguments.background_events or arguments.events
    samples = samples_of(config, arguments.events, background_events, arguments.output, arguments.events_per_file)
    files = in_turn(samples)
    mine = files if arguments.task is None else files[arguments.task[0] :: arguments.task[1]]
    print(plan(samples, mine, arguments.workers))
    write_files(mine, arguments.workers, print)
    missing = missing_files(samples)
    if missing:
        print(f"{len(missing)} of {len(files)} files are not there yet; {MANIFEST} is written with the last of them")
    else:
        print(f"{write_manifest(config, samples, arguments.output)}: {len(samples)} samples")
    return 0


def in_turn(samples: Sequence[HiggsSample]) -> list[SampleFile]:
    """Return the files of all samples, the dearest first, so that no core waits for another at the end."""
    order = sorted(samples, key=lambda sample: -SECONDS[sample.class_name])
    return [file for sample in order for file in sample.files]


def plan(samples: Sequence[HiggsSample], files: Sequence[SampleFile], workers: int) -> str:
    """Say how many events are made in how many files, and about how much time and disk that takes."""
    cost = {file.path: seconds_of(sample.class_name, file) for sample in samples for file in sample.files}
    todo = [file for file in files if not file.path.exists()]
    seconds = sum((file.stop - file.start) * cost[file.path] for file in todo) / max(1, min(workers, len(todo)))
    events = sum(file.stop - file.start for file in todo)
    there = f"; {len(files) - len(todo)} are there already" if len(todo) < len(files) else ""
    return (
        f"{len(samples)} samples, {len(todo)} files to make with {events} events{there}: about {_duration(seconds)} "
        f"with {workers} {'worker' if workers == 1 else 'workers'}, {max(1, round(events * BYTES / 1e6))} MB"
    )


def seconds_of(class_name: str, file: SampleFile) -> float:
    """Return about how long one core takes for a selected event."""
    share = 1.0 if file.config.process.underlying_event else WITHOUT_UNDERLYING_EVENT
    return SECONDS[class_name] * share


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
