"""Coverage of the limits on the neutrino mass: Neyman construction, profile likelihood, Bayesian posterior.

    python scripts/mass_coverage.py --cells T2-0eV-40 T2-12eV-40        some cells, here
    sbatch --array=0-23 submit.sh scripts/mass_coverage.py --task {task}/{tasks}     all 24 cells, one a task
    python scripts/mass_coverage.py --table                             the table of what has been run

Cells are a decay (T2, T), a true mass (0, 5, 12, 30 eV) and a mean number of electrons (40, 400, 4000). A cell that was
stopped goes on where it was; tasks that share a belt make different points of it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cres.command import Parser, task, whole
from cres.endpoint.mass_coverage import CELLS, cells_of, coverage_lines, run_cell
from cres.paths import path_of
from cres.ranges import SEED


def main() -> None:
    """Read the arguments, run cells, print the table."""
    arguments = command_line().parse_args()
    if not arguments.table:
        chosen = list(cells_of(arguments.cells))
        if arguments.task is not None:
            chosen = chosen[arguments.task[0] :: arguments.task[1]]
        for cell in chosen:
            run_cell(cell, arguments.output, arguments.toys, arguments.belt_toys, arguments.seed)
    print("\n".join(coverage_lines(arguments.output)))


def command_line() -> Parser:
    """Return the command line."""
    line = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = line.add_argument
    names = f"of {len(CELLS)} cells, such as T2-12eV-400 (default: all)"
    add("--cells", nargs="+", metavar="CELL", help=names)
    add("--task", type=task, metavar="I/N", help="make only each N-th cell, from I (array jobs)")
    add("--toys", type=whole(), default=500, help="pseudo-experiments a cell (%(default)s)")
    belt_help = "pseudo-experiments of the belt at a cell's own mass; a fifth at eight others (%(default)s)"
    add("--belt-toys", type=whole(), default=1500, help=belt_help)
    add("--seed", type=whole(SEED), default=0, help="seed (%(default)s)")
    add(
        "--output", type=path_of, default=Path("runs/mass_coverage"), help="folder to write to and resume (%(default)s)"
    )
    add("--table", action="store_true", help="print the table of what is there, and run nothing")
    return line
