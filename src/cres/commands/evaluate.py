"""Resolution and calibration of prediction tables, side by side on their common electrons.

Writes report.html (one file, works offline), table.md, table.csv and figures/*.png, and prints a short table. A table
written by `scripts/estimate.py --method bound` among the others is taken as the Cramér–Rao bound.

Examples:
  python scripts/evaluate.py
  python scripts/evaluate.py runs/s4d/predictions.hdf5 runs/likelihood.hdf5 runs/bound.hdf5 --output runs/comparison
  python scripts/evaluate.py runs/s4d/predictions.hdf5 --tritium runs/s4d/tritium.hdf5

"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from cres.command import Parser, whole
from cres.endpoint.analysis import Options, analyse
from cres.endpoint.report import section as endpoint_section
from cres.endpoint.report import summary_lines
from cres.paths import path_of
from cres.progress import waiting
from cres.ranges import COUNT, SEED
from reconstruction.judging.measures.by_setting import by_setting, settings_named
from reconstruction.judging.measures.comparison import compare, summarise, summary_table
from reconstruction.judging.pictures.illustrations import Section
from reconstruction.judging.report.page import write_comparison
from reconstruction.judging.report.settings_section import setting_lines, settings_section
from reconstruction.judging.tables.find import newest_table, read_tables, same_estimator
from reconstruction.judging.tables.splits import ALLOW_TRAINING
from reconstruction.judging.tables.table import PredictionTable

PLAIN_WIDTH = 110
"""Columns of the printed table where there is no terminal to ask."""


def main() -> None:
    """Parse the arguments and evaluate."""
    options = command_line().parse_args()
    paths = options.tables or [newest_table(Path("runs"))]
    tables = read_tables(paths, options.names)
    with waiting("comparing the tables"):
        comparison = compare(tables, allow_training=options.allow_training)
        settings = settings_named(comparison, options.settings)
        rows = summarise(comparison, resamples=options.bootstrap, seed=options.seed)
    sections, endpoint_lines = _endpoint(options.tritium, read_tables(paths, []), tables, options.allow_training)
    found = by_setting(comparison, comparison.targets[0], settings, resamples=options.bootstrap) if settings else []
    sections = [*([settings_section(comparison, found, settings)] if found else []), *sections]
    report = write_comparison(comparison, rows, options.output, sections=sections)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    console.print(summary_table(rows, len(comparison)))
    for note in comparison.notes:
        console.print(f"note: {note}", markup=False)
    for line in setting_lines(comparison, found):
        console.print(line, markup=False, soft_wrap=True)
    for line in endpoint_lines:
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"report: {report}", markup=False, soft_wrap=True)


def _endpoint(
    paths: Sequence[Path], given: Sequence[PredictionTable], named: Sequence[PredictionTable], allow_training: bool
) -> tuple[list[Section], list[str]]:
    """Fit the endpoint of each tritium table with the response of the same estimator, under its display name."""
    sections: list[Section] = []
    lines: list[str] = []
    for path in paths:
        tritium = PredictionTable.read(path)
        own = same_estimator(tritium, given)
        calibration = next(table for one, table in zip(given, named, strict=True) if one is own)
        # a report does not wait for pseudo-experiments of each estimator: scripts/endpoint.py makes them
        options = Options(allow_training=allow_training, mass_toys=0)
        with waiting(f"fitting the endpoint of {calibration.estimator}"):
            analysis = analyse(tritium.renamed(calibration.estimator), calibration, options)
        sections.append(endpoint_section(analysis, calibration))
        lines += ["The tritium endpoint", *summary_lines(analysis), ""]
    return sections, lines


def command_line() -> Parser:
    """Return the command line."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "tables", nargs="*", type=path_of, metavar="TABLE", help="predictions (HDF5); default: the newest in runs/*/"
    )
    parser.add_argument(
        "--output",
        type=path_of,
        default=Path("runs/evaluation"),
        metavar="FOLDER",
        help="folder (default: %(default)s)",
    )
    parser.add_argument(
        "--names", nargs="+", default=[], metavar="NAME", help="display names, one for each table (default: their own)"
    )
    parser.add_argument(
        "--tritium",
        nargs="+",
        type=path_of,
        default=[],
        metavar="TABLE",
        help="predictions of tritium electrons by one or more of the estimators: adds endpoint fits to the report",
    )
    parser.add_argument(
        "--settings",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="settings of the apparatus: adds figures at each of them, and a map over the first two (default: those "
        "that the first model is told)",
    )
    parser.add_argument(
        "--bootstrap",
        type=whole(COUNT),
        default=400,
        metavar="N",
        help="resamples for the intervals (default: %(default)s)",
    )
    parser.add_argument(
        ALLOW_TRAINING,
        action="store_true",
        help="evaluate electrons too that an estimator was trained on (its errors on them are too small)",
    )
    parser.add_argument("--seed", type=whole(SEED), default=0, help="seed of the bootstrap (default: %(default)s)")
    return parser
