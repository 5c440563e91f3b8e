"""Collisions: events of a process as leptons, jets and missing momentum, HDF5 files; or those of your own generator."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Final

from collider.generation.config import GenerationConfig, config_path
from collider.generation.files import EVENTS_PER_FILE, convert, files_of, write_files
from reconstruction.command import Parser, task, whole
from reconstruction.errors import UserError
from reconstruction.paths import path_of, place_of
from reconstruction.ranges import SEED
from reconstruction.workers import available_cpus

DEFAULT: Final = "ttbar"


def command_line() -> Parser:
    """Return the command line."""
    parser = Parser(
        description=__doc__,
        epilog="An interrupted run goes on with the same command; what is complete is not made again. Many events: the "
        "same command as an array job, each task with its --task I/N. docs/howto/generation.md has all the keys.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--events", type=whole(), default=1000, help="events that pass the selection")
    parser.add_argument("--output", type=path_of, default=Path("data/collisions"), help="folder for the HDF5 files")
    parser.add_argument(
        "-c", "--config", type=place_of, default=DEFAULT, help="a YAML file, or the name of one in configs/generation/"
    )
    parser.add_argument("--seed", type=whole(SEED), default=None, help="seed (default: of the configuration)")
    parser.add_argument(
        "--workers", type=whole(), default=available_cpus(), help="processes; the result does not depend on it"
    )
    parser.add_argument("--events-per-file", type=whole(), default=EVENTS_PER_FILE, help="events in one HDF5 file")
    parser.add_argument("--task", type=task, default=None, help="I/N: make only the files of one task of an array job")
    parser.add_argument(
        "--input",
        type=path_of,
        default=None,
        help="a HepMC or Les Houches file: all of its events in place of Pythia's, smeared and selected likewise",
    )
    return parser


def main() -> int:
    """Run the command."""
    arguments = command_line().parse_args()
    config = GenerationConfig.from_yaml(config_path(arguments.config))
    if arguments.seed is not None:
        config = dataclasses.replace(config, seed=arguments.seed)
    if arguments.input is not None:
        if arguments.task is not None:
            raise UserError("--task shares out files that Pythia makes; --input is one file: leave --task out")
        target = arguments.output / f"{arguments.input.name.partition('.')[0]}.hdf5"
        kept, read = convert(config, arguments.input, target)
        print(f"{target}: {kept} events of {read} read")
        return 0
    files = files_of(config, arguments.events, arguments.output, arguments.events_per_file)
    mine = files if arguments.task is None else files[arguments.task[0] :: arguments.task[1]]
    write_files(mine, arguments.workers, print)
    return 0
