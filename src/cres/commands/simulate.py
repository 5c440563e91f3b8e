"""Simulate CRES electrons and write them as .pkl.gz files (noiseless I/Q volts with their truth)."""

from __future__ import annotations

import argparse
from pathlib import Path

from cres.command import Parser, task, whole
from cres.errors import UserError
from cres.paths import path_of
from cres.ranges import SEED
from cres.resources import simulation_config
from cres.simulation.config import SimulationConfig
from cres.simulation.plane import simulate_points
from cres.simulation.validation import PAGE, validate
from cres.simulation.writer import simulate_to_files
from reconstruction.workers import available_cpus


def command_line() -> Parser:
    """Return the command line."""
    parser = Parser(
        description=__doc__,
        epilog="Sections of the configuration: trap, cavity, readout, ensemble, loss, scattering (tracks that end in "
        "the gas, starts within the record), more_channels; docs/howto/apparatus.md explains them. An interrupted run "
        "continues with the same command. Next step: python scripts/data_prep.py",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--events", type=whole(), default=4000, help="number of electrons")
    parser.add_argument("--output", type=path_of, help="folder for the .pkl.gz files (default: data/raw)")
    parser.add_argument(
        "--seed",
        type=whole(SEED),
        default=None,
        help="seed; the same seed gives the same bytes (default: of the configuration)",
    )
    parser.add_argument(
        "-c",
        "--config",
        type=path_of,
        default=simulation_config(),
        help="apparatus and ensemble: a YAML file, or the name of one in configs/simulation/",
    )
    parser.add_argument(
        "--workers", type=whole(), default=available_cpus(), help="processes; the result does not depend on it"
    )
    parser.add_argument(
        "--events-per-file",
        type=whole(),
        default=None,
        help="electrons in one .pkl.gz file (default: 1000, fewer of long records, so that a file stays below 64 MB)",
    )
    parser.add_argument(
        "--grid",
        type=path_of,
        metavar="FILE",
        help="many apparatus: a file such as configs/simulation/grids/wall_and_noise.yaml, whose points are simulated "
        "each into a folder of its own (OUTPUT/000 …), --events of each, what varies written as columns",
    )
    parser.add_argument("--task", type=task, metavar="I/N", help="with --grid: each N-th point, from I (array jobs)")
    parser.add_argument(
        "--validate",
        action="store_true",
        help="check the simulation against formulae instead: validation_report.json and .html in the output folder "
        "(runs/validation where --output is not given); exit code 1 when a check fails",
    )
    return parser


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    arguments = command_line().parse_args()
    if arguments.output is None:
        arguments.output = Path("runs/validation" if arguments.validate else "data/raw")
    return arguments


def main() -> int:
    """Run the command."""
    arguments = parse_arguments()
    if arguments.grid is not None:
        return _simulate_grid(arguments)
    if arguments.task is not None:
        raise UserError("--task shares out the points of a --grid: name its file")
    config = SimulationConfig.from_yaml(simulation_config(arguments.config))
    if arguments.validate:
        passed = validate(config, arguments.output)
        print(f"{'all checks passed' if passed else 'some checks FAILED'}: {arguments.output / PAGE}")
        return 0 if passed else 1
    seed = config.seed if arguments.seed is None else arguments.seed
    paths = simulate_to_files(
        config, arguments.events, arguments.output, seed, arguments.workers, arguments.events_per_file
    )
    print(f"{arguments.events} electrons in {len(paths)} files in {arguments.output}")
    return 0


def _simulate_grid(arguments: argparse.Namespace) -> int:
    share = arguments.task or (0, 1)
    folders = simulate_points(
        arguments.grid,
        arguments.events,
        arguments.output,
        arguments.seed,
        arguments.workers,
        arguments.events_per_file,
        share,
    )
    print(f"{arguments.events} electrons of each of {len(folders)} apparatus in {arguments.output}")
    return 0
