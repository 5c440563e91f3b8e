"""Momenta of several detectors as one, and those of classical reconstruction, as tables beside a network's."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from collider.detectors.combining.tables import (
    combination,
    figures,
    kalman_table,
    require_candidates,
    said_by,
    sum_table,
    track_bound_table,
)
from collider.detectors.learning.columns import CALORIMETER_SUM, ECAL_SUM, KALMAN, MOMENTUM, TRACK_BOUND
from reconstruction.command import Parser
from reconstruction.errors import UserError
from reconstruction.files import write_whole
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.paths import expanded, path_of

NAMED = "NAME=TABLE"


def named_table(text: str) -> tuple[str, Path]:
    """Return name and path of NAME=TABLE."""
    name, sign, path = text.partition("=")
    if not (sign and path and name.isidentifier()):
        raise argparse.ArgumentTypeError(f"{text!r} is not {NAMED}, such as tracker=runs/tracker/all.hdf5")
    return name, Path(expanded(path))


def command_line() -> Parser:
    """Return the command line."""
    parser = Parser(
        description=__doc__,
        epilog="Tables are made with `python cli.py predict --run=RUN --predictions=TABLE`: of all rows, each with the "
        "part of the split that it is in. docs/howto/detectors.md shows the whole way.",
    )
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    combine = commands.add_parser(
        "combine", help="one momentum of several tables, with inverse-variance weights that are learned and calibrated"
    )
    combine.add_argument("tables", type=named_table, nargs="+", metavar=NAMED, help="tracker=TABLE ecal=TABLE …")
    combine.add_argument(
        "--identity", type=path_of, default=None, help="table of identities: ecal, hcal and muon then speak for theirs"
    )
    combine.add_argument("--output", type=path_of, default=Path("runs/combined"), help="folder (default: %(default)s)")
    classical = commands.add_parser(
        "classical", help="what Kalman filter and clusters say of the candidates of a table, and the bound of the hits"
    )
    classical.add_argument("table", type=path_of, metavar="TABLE", help="a table of this system with its observables")
    classical.add_argument("--output", type=path_of, default=None, help="folder (default: that of the table)")
    return parser


def main() -> int:
    """Run the command."""
    arguments = command_line().parse_args()
    if arguments.command == "combine":
        _combine(arguments.tables, arguments.identity, arguments.output)
    else:
        _classical(arguments.table, arguments.output or arguments.table.parent)
    return 0


def _combine(named: Sequence[tuple[str, Path]], identity: Path | None, output: Path) -> None:
    tables: dict[str, PredictionTable] = {}
    for name, path in named:
        if name in tables:
            raise UserError(f"two tables are called {name}: give each its own name")
        tables[name] = PredictionTable.read(path)
    read = [path for _, path in named] + ([] if identity is None else [identity])
    _require_kept(read, [output / f"{name}.hdf5" for name in ("all", "predictions", "bound")])
    said = said_by(tables, None if identity is None else PredictionTable.read(identity))
    combined, bound, weights = combination(said)
    found = figures(said, weights)
    output.mkdir(parents=True, exist_ok=True)
    test = np.isin(combined.event_id, said.event_id[said.rows("test")])
    written = [combined.write(output / "all.hdf5")]
    for table, name in ((combined, "predictions"), (bound, "bound")):
        written.append(table.select(test).write(output / f"{name}.hdf5"))
    content = {"weights": weights.facts(), "test": found}
    written.append(write_whole(output / "combined.json", (json.dumps(content, indent=1) + "\n").encode()))
    for one in found:
        print(described(one))
    if not found:
        print("no set of detectors has 20 candidates of the test split: nothing is judged")
    print(*written, sep="\n")


def _require_kept(read: Sequence[Path], written: Sequence[Path]) -> None:
    """Raise UserError where a table that is read would be written over."""
    kept = {path.resolve() for path in read}
    for path in written:
        if path.resolve() in kept:
            raise UserError(f"{path} is read and would be written over: choose another --output")


def described(one: Mapping[str, Any]) -> str:
    """Return the figures of one set of detectors in words."""
    alone = ", ".join(f"{name} {figure['resolution']:.2%}" for name, figure in one["alone"].items())
    if len(one["alone"]) == 1:
        return f"{one['candidates']} candidates of {alone} alone, coverage {one['coverage']:.1%}"
    return (
        f"{one['candidates']} candidates of {' and '.join(one['alone'])}: {alone}; combined {one['resolution']:.2%}, "
        f"{one['over_bound']:.3f} of the inverse-variance bound, coverage {one['coverage']:.1%} ± "
        f"{one['coverage_error']:.1%}"
    )


def _classical(path: Path, output: Path) -> None:
    table = PredictionTable.read(path)
    require_candidates(str(path), table)
    if not table.has_truth(MOMENTUM):
        raise UserError(f"{path} has no true momenta: responses are measured with them")
    makers: dict[str, tuple[str, Callable[[PredictionTable], PredictionTable]]] = {
        KALMAN: ("kalman", kalman_table),
        TRACK_BOUND: ("track_bound", track_bound_table),
        ECAL_SUM: ("ecal_sum", lambda one: sum_table(one, ECAL_SUM)),
        CALORIMETER_SUM: ("calorimeter_sum", lambda one: sum_table(one, CALORIMETER_SUM)),
    }
    there = {
        column: made for column, made in makers.items() if column in table and np.isfinite(table.column(column)).any()
    }
    if not there:
        raise UserError(
            f"{path} has none of the columns {', '.join(makers)}: it is made with data.observables=null, which is the "
            "default"
        )
    _require_kept([path], [output / f"{name}.hdf5" for name, _ in there.values()])
    output.mkdir(parents=True, exist_ok=True)
    for name, make in there.values():
        print(make(table).write(output / f"{name}.hdf5"))
