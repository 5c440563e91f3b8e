"""A data set of showers: HDF5 in the layout of the CaloChallenge, JSON, pictures, and a report that judges it."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Final

from collider.showers.arrays import arrays_on
from collider.showers.config import ShowerConfig
from collider.showers.dataset import JSON_EVENTS, SHARD_EVENTS, read_showers, shards_of, write_dataset, write_json
from collider.showers.pictures import sample_picture
from collider.showers.report import write_report
from collider.showers.validation import EVENTS, validate
from reconstruction.command import Parser, task, whole
from reconstruction.errors import UserError, nearest
from reconstruction.files import write_whole
from reconstruction.paths import path_of, place_of
from reconstruction.ranges import COUNT, SEED

DEFAULT: Final = "pbwo4"
BOUND: Final = "bound.hdf5"
_PACKAGE: Final = Path(__file__).parents[1]


def configs_folder() -> Path:
    """Return the folder of our configurations: that of the checkout, or the copy that a wheel brings."""
    checkout = _PACKAGE.parents[1] / "configs" / "showers"
    return checkout if checkout.is_dir() else _PACKAGE / "configs" / "showers"


def calorimeters() -> list[str]:
    """Return the names of our calorimeters; trainings lie beside them, and name their system."""
    return [path.stem for path in sorted(configs_folder().glob("*.yaml")) if "\nsystem:" not in f"\n{path.read_text()}"]


def config_path(wanted: str) -> Path:
    """Return the file of a configuration: a path, or the name of one of ours. Raises UserError with the nearest one."""
    given = Path(wanted)
    if given.suffix in (".yaml", ".yml") or given.is_file():
        return given
    known = calorimeters()
    if wanted not in known:
        raise UserError(f"there is no calorimeter {wanted!r}{nearest(wanted, known)}; ours are {', '.join(known)}")
    return configs_folder() / f"{wanted}.yaml"


def command_line() -> Parser:
    """Return the command line."""
    parser = Parser(
        description=__doc__,
        epilog="An interrupted run goes on with the same command; what is complete is not made again. A million "
        "events: the same command as an array job, each task with its --task I/N. docs/howto/showers.md explains the "
        "configuration.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--events", type=whole(), default=5000, help="events to train on")
    parser.add_argument("--validation-events", type=whole(), default=1000, help="events to validate with")
    parser.add_argument("--output", type=path_of, default=Path("ml_dataset"), help="folder for all files")
    parser.add_argument(
        "-c", "--config", type=place_of, default=DEFAULT, help="a YAML file, or the name of one in configs/showers/"
    )
    parser.add_argument("--seed", type=whole(SEED), default=None, help="seed (default: of the configuration)")
    parser.add_argument("--samples", type=whole(COUNT), default=6, help="pictures of single showers")
    parser.add_argument("--shard-events", type=whole(), default=SHARD_EVENTS, help="events in one HDF5 file")
    parser.add_argument("--task", type=task, default=None, help="I/N: make only the shards of one task of an array job")
    parser.add_argument(
        "--device", type=device, default="numpy", help="numpy, or a device of torch: cpu, cuda, cuda:1 …"
    )
    parser.add_argument(
        "--validate",
        action="store_true",
        help="write only the report of the simulation; exit code 1 when a check fails",
    )
    parser.add_argument(
        "--bound",
        action="store_true",
        help="write only OUTPUT/bound.hdf5: the Cramér-Rao bound of the energy of each electron in the files of OUTPUT "
        "(a table for scripts/evaluate.py)",
    )
    return parser


def device(text: str) -> str:
    """Return the name of a device that is there."""
    try:
        arrays_on(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def main() -> int:
    """Run the command."""
    arguments = command_line().parse_args()
    if arguments.bound:
        return _bound(arguments.output)
    config = ShowerConfig.from_yaml(config_path(arguments.config))
    if arguments.seed is not None:
        config = dataclasses.replace(config, seed=arguments.seed)
    if arguments.validate:
        return _report(config, arguments.output)
    events = {"train": arguments.events, "validation": arguments.validation_events}
    write_dataset(
        config,
        arguments.output,
        events,
        shard_events=arguments.shard_events,
        task=arguments.task,
        device=arguments.device,
        said=print,
    )
    if arguments.task is not None:
        return 0
    _plain_files(config, arguments.output, events, arguments.shard_events, arguments.samples)
    return _report(config, arguments.output)


def _plain_files(config: ShowerConfig, folder: Path, events: dict[str, int], shard_events: int, samples: int) -> None:
    """Write what people look at: JSON of small splits, pictures of the first events."""
    for split, count in events.items():
        paths = [shard.path for shard in shards_of(split, count, folder, shard_events)]
        if count <= JSON_EVENTS:
            print(write_json(folder / f"{split}_dataset.json", read_showers(paths), config))
        else:
            print(f"{split}: no JSON of more than {JSON_EVENTS} events, they are in HDF5")
        if split == "train":
            showers = read_showers(paths[:1])
            for i in range(min(samples, len(showers))):
                write_whole(folder / f"shower_sample_{i}.png", sample_picture(showers, i, config))


def _bound(folder: Path) -> int:
    from collider.showers.learning.bounds import bound_table
    from collider.showers.learning.files import shower_paths

    paths = [path for path in shower_paths(str(folder)) if path.name != BOUND]
    table = bound_table(paths)
    written = table.write(folder / BOUND)
    print(f"{len(table)} electrons: {written}")
    return 0


def _report(config: ShowerConfig, folder: Path) -> int:
    found = validate(config, EVENTS)
    page = write_report(found, folder)
    for check in found.checks:
        if not check.passed:
            print(f"FAILED {check.name}: {check.measured:.4g}, expected {check.expected:.4g} ({check.source})")
    print(f"{'all checks passed' if found.passed else 'some checks FAILED'}: {page}")
    return 0 if found.passed else 1
