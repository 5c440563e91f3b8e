"""Sweeps: look at the points of one before it runs, and at all of its runs afterwards.

  points     list the points of a sweep and check that the program knows every key
  point      print the run's folder and the options of one point (what submit.sh asks for)
  count      print the number of points, if their data are there (what submit.sh asks for)
  wandb      write the file for `wandb sweep` that searches the same space
  summarise  one table and one page over all runs of a folder

Examples:
  python scripts/sweep.py points configs/sweeps/s4d_size.yaml
  sbatch --array=0-11 submit.sh configs/sweeps/s4d_size.yaml
  python scripts/sweep.py summarise runs/s4d_size --bound runs/bound.hdf5

"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cres import errors
from cres.command import Parser, whole
from cres.paths import path_of
from cres.ranges import COUNT
from reconstruction import sweeps

if TYPE_CHECKING:
    from reconstruction.judging.sweeps.runs_summary import Summary


def main() -> None:
    """Run one command."""
    arguments, others = command_line().parse_known_args()
    overrides = [*getattr(arguments, "overrides", []), *others]
    if others and not (arguments.command in ("point", "points", "count") or _is_sweep_file(arguments)):
        raise errors.UserError(f"{arguments.command} has no option {others[0]!r}; --help lists them")
    commands = {"points": points, "point": point, "count": count, "wandb": wandb, "summarise": summarise}
    commands[arguments.command](arguments, overrides)


def _is_sweep_file(arguments: argparse.Namespace) -> bool:
    """Whether a summary is asked for by the sweep's file, behind which the training's options may stand."""
    return arguments.command == "summarise" and arguments.folder.suffix in (".yaml", ".yml")


def points(arguments: argparse.Namespace, overrides: list[str]) -> None:
    """Print a table of all points, then check them with the training's own parser."""
    from reconstruction.judging.sweeps.runs import short_names

    sweep = sweeps.read(arguments.file)
    settings = [sweep.settings(index) for index in range(len(sweep))]
    keys = short_names(list(settings[0]))
    table = Table("run", *(escape(keys[key]) for key in settings[0]), box=SIMPLE_HEAD)
    for index, values in enumerate(settings):
        table.add_row(str(sweep.folder(index)), *(escape(sweeps.as_text(value)) for value in values.values()))
    Console(highlight=False).print(table)
    if sweep.method == "adaptive":
        print("these are examples: what a point has is chosen when it starts, from what the others found")
    from reconstruction.training.command_line.sweep_check import check_points  # the only command that needs torch

    check_points([*sweep.options(values), *overrides] for values in settings)
    print(f"every key is known; submit: sbatch --array=0-{len(sweep) - 1} submit.sh {arguments.file}")


def point(arguments: argparse.Namespace, overrides: list[str]) -> None:
    """Print the run's folder and the number of points, then one option a line."""
    folder, options = sweeps.plan(arguments.file, arguments.index, overrides, ask=not arguments.dry_run)
    print("\n".join([str(folder), str(len(sweeps.read(arguments.file))), *options]))


def count(arguments: argparse.Namespace, overrides: list[str]) -> None:
    """Print the number of points, all of which can start with these options."""
    number = len(sweeps.read(arguments.file))
    for index in range(number):
        sweeps.plan(arguments.file, index, overrides, ask=False)
    print(number)


def wandb(arguments: argparse.Namespace, overrides: list[str]) -> None:
    """Write the file of W&B beside the sweep's own."""
    folder = arguments.output or arguments.file.parent / "wandb"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / arguments.file.name
    path.write_text(sweeps.wandb_file(arguments.file))
    print(f"wandb sweep {path}")


def summarise(arguments: argparse.Namespace, overrides: list[str]) -> None:
    """Write the page and the tables, and print the table."""
    from reconstruction.judging.sweeps.runs import read_runs
    from reconstruction.judging.sweeps.runs_page import write_summary
    from reconstruction.judging.sweeps.runs_summary import summarise_runs

    folder = arguments.folder
    if _is_sweep_file(arguments):
        folder = sweeps.root_of(sweeps.read(folder), overrides)[0]
    console = Console(highlight=False)
    if arguments.when_complete:
        runs = read_runs(folder)
        over = sum(run.is_over for run in runs)
        if over < len(runs):
            print(f"{over} of {len(runs)} points of {folder} are finished; the last one makes the summary")
            return
    bound, by, resamples = arguments.bound, arguments.by, arguments.bootstrap
    summary = summarise_runs(folder, bound=bound, by=by, resamples=resamples)
    page = write_summary(summary, arguments.output or folder)
    console.print(summary.terminal(console.width))
    for note in summary.notes:
        console.print(f"note: {note}", markup=False)
    console.print(f"summary: {page}", markup=False, soft_wrap=True)
    _send(summary, arguments.wandb, folder, page)


def _send(summary: Summary, asked: bool | None, folder: Path, page: Path) -> None:
    """Send the summary to W&B: as told, else when runs of the sweep are there."""
    if asked is False or not (asked or any(run.is_online for run in summary.runs)):
        return
    from reconstruction.training.watching.loggers import wandb_wanted  # imports Lightning
    from reconstruction.training.watching.online_summary import send_summary

    if not (asked or wandb_wanted()):
        return
    if send_summary(summary, folder, page):
        print(f"on Weights & Biases: the run {summary.title} summary")
        return
    # all is written; at an ordinary exit the client would wait without end for a server that does not answer
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def command_line() -> Parser:
    """Return the command line."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    help_of_file = "sweep file (YAML), such as those in configs/sweeps/"

    def add(name: str, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        if name != "summarise":
            command.add_argument("file", type=path_of, metavar="FILE", help=help_of_file)
        return command

    add("points", "list the points of a sweep and check every key")
    one = add("point", "print the run's folder and the options of one point")
    one.add_argument("index", type=whole(COUNT), metavar="INDEX", help="number of the point, from 0")
    one.add_argument("--dry-run", action="store_true", help="ask no study for the values of an adaptive sweep")
    add("count", "print the number of points, if their data are there")
    online = add("wandb", "write the file for `wandb sweep` that searches the same space")
    online.add_argument("--output", type=path_of, metavar="FOLDER", help="default: wandb/ beside the sweep file")
    all_runs = add("summarise", "one table and one page over all runs of a folder")
    folder_help = "folder of the runs, such as runs/s4d_size, or the sweep file"
    all_runs.add_argument("folder", type=path_of, metavar="FOLDER", help=folder_help)
    all_runs.add_argument("--when-complete", action="store_true", help="only when all points are finished")
    all_runs.add_argument(
        "--bound", type=path_of, metavar="TABLE", help="Cramér–Rao bound of the test electrons (HDF5)"
    )
    by_help = "column of metrics.csv that ranks the runs, smallest first (default: what their checkpoints follow)"
    all_runs.add_argument("--by", metavar="METRIC", help=by_help)
    all_runs.add_argument("--output", type=path_of, metavar="FOLDER", help="default: the folder of the runs")
    wandb_help = "send the summary to Weights & Biases as one run (default: when runs of the sweep went there)"
    all_runs.add_argument("--wandb", action=argparse.BooleanOptionalAction, default=None, help=wandb_help)
    all_runs.add_argument(
        "--bootstrap", type=whole(COUNT), default=200, metavar="N", help="resamples (default: %(default)s)"
    )
    return parser
