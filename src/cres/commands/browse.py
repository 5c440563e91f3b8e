"""Make a page to look at electrons one by one: one HTML file that works offline, on a phone too.

A table to sort and filter, outliers first; a click shows an electron's spectrogram, its spectrum aligned on the carrier
with the model's attention and the true place of the sidebands, and its posterior against truth and bound. What the
tables do not have is left out, and the page says so.

Examples:
  python scripts/browse.py --run runs/s4d
  python scripts/browse.py runs/s4d/predictions.hdf5 runs/seeded.hdf5 runs/bound.hdf5 --run runs/s4d
  python scripts/browse.py estimates.hdf5 --data records.hdf5 --noise-scale 0 --output electrons.html

"""

from __future__ import annotations

import argparse
from pathlib import Path

from cres.command import Parser, number, whole
from cres.evaluation.browser import MOST
from cres.paths import path_of, place_of
from cres.ranges import NOISE_SCALE
from cres.training.browsing import browse_run
from reconstruction.judging.tables.find import read_tables

PAGE = "electrons.html"


def main() -> None:
    """Make the page and say where it is."""
    options = command_line().parse_args()
    tables = read_tables(options.tables, options.names)
    output = options.output or _beside(options)
    page = browse_run(options.run, tables, data=options.data, noise_scale=options.noise_scale, most=options.electrons)
    path = page.save(output)
    for note in page.notes:
        print(f"note: {note}")
    print(f"{page.electrons} electrons, {path.stat().st_size / 1e6:.1f} MB: {path}")


def _beside(options: argparse.Namespace) -> Path:
    """Return where the page goes that nobody named: into the run's folder, else beside the first table."""
    beside = options.tables[0].parent if options.tables else Path()
    folder: Path = beside if options.run is None else options.run
    return folder / PAGE


def command_line() -> Parser:
    """Return the command line."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "tables",
        nargs="*",
        type=path_of,
        metavar="TABLE",
        help="predictions (HDF5): the first is browsed, others and a bound are shown beside it (default: the run's)",
    )
    parser.add_argument("--run", type=path_of, default=None, metavar="FOLDER", help="run of the model, for attention")
    parser.add_argument(
        "--data",
        nargs="+",
        type=place_of,
        default=[],
        metavar="FILE",
        help="records of the electrons (default: those that the first table names)",
    )
    parser.add_argument(
        "--noise-scale",
        type=number(NOISE_SCALE),
        default=1.0,
        metavar="S",
        help="noise power over nominal that the estimates saw; 0 for records that carry their own (default: 1)",
    )
    parser.add_argument(
        "--electrons",
        type=whole(),
        default=MOST,
        metavar="N",
        help="at most so many, half of them the largest outliers (default: %(default)s; some 3 kB each)",
    )
    parser.add_argument("--names", nargs="+", default=[], metavar="NAME", help="display names, one for each table")
    parser.add_argument(
        "--output", type=path_of, default=None, metavar="FILE", help=f"the page (default: {PAGE} in the run's folder)"
    )
    return parser
