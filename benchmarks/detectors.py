"""Four detectors read as one, from collisions to the peaks: events, networks, their combination, physics with each.

    python benchmarks/detectors.py                              8 000 events
    python benchmarks/detectors.py --events 100000              for a GPU; events alone take 80 minutes on one core
    python benchmarks/detectors.py --trainer.max_epochs=1       a first look

Makes the events, trains the networks, writes what each says of all candidates, joins the detectors' momenta, and makes
physics by rules, by the combination, with energies without a track or of jets beside it, and by each network of momenta
that reads everything; one table (table.md, summary.json).
What is there is not made again, a training goes on where it stopped: an interrupted run goes on with the same command.
Each step is a command of the program, printed before it runs. The weight of a detector is learned of 100 candidates of
the validation split or more: 300 events have too few muons, and the command ends there.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from collider.detectors.making.files import MANIFEST
from reconstruction.command import Parser, whole
from reconstruction.errors import run
from reconstruction.files import read_json, write_whole
from reconstruction.paths import path_of
from steps import data_of, made, markdown, require_options, write_results

APART = ("tracker", "ecal", "hcal", "muon")
"""Networks of one detector, that are joined by inverse-variance weights."""
FOR_ALL = {"ecal", "hcal", "muon"}
"""Networks that are trained on their own particles, and asked of everybody: `--identity` says whose momenta count."""
IDENTITY = "identity"
UNTRACKED = "untracked"
JETS = "jets"
TOGETHER = ("joint", "graph")
"""Networks of momenta that read everything."""


def trained(name: str, folder: Path, data: Path, others: Sequence[str]) -> Path:
    """Train a network and return the table of what it says of all candidates."""
    place, table, finished = folder / name, folder / name / "all.hdf5", folder / name / "fitted"
    going_on = ["--resume"] if (place / "checkpoints" / "last.ckpt").exists() else []
    config = f"configs/detectors/{name}.yaml"
    made(["cli.py", "fit", "-c", config, f"--data.data={data}", f"--run={place}", *others, *going_on], finished)
    write_whole(finished, b"")
    everybody = ["--data.classes=[]"] if name in FOR_ALL else []
    made(["cli.py", "predict", f"--run={place}", f"--predictions={table}", *everybody], table)
    return table


def physics(name: str, folder: Path, data: Path, tables: Sequence[str]) -> dict[str, Any]:
    """Make physics with some tables; return what its JSON holds."""
    output = folder / "physics" / name
    made(["scripts/detectors_physics.py", str(data), *tables, "--output", str(output)], output / "physics.json")
    return read_json(output / "physics.json")


def rows_of(found: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row of figures for each way that physics was made, and for the rules on its events."""
    rows = []
    for name, one in found.items():
        asked = one["jets"][-1]
        for flow in ("rules", "network"):
            if flow not in asked:
                continue
            masses = {peak: fits["fits"][flow].get("mass_gev") for peak, fits in one["masses"].items()}
            rows.append(
                {
                    "physics": name,
                    "flow": flow,
                    "events": one["events"],
                    "jets": asked[flow]["resolution"],
                    "network over rules": asked["network_over_rules"] if flow == "network" else None,
                    "missing (GeV)": one["missing_momentum_gev"].get("all", {}).get(flow),
                    "identified": one["identification"].get(flow, {}).get("macro"),
                    **masses,
                }
            )
    return rows


def table_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as Markdown."""
    heads = list(rows[0])
    return markdown(heads, [[cell_of(row[head]) for head in heads] for row in rows])


def cell_of(cell: Any) -> str:
    """Return a cell in words: a figure with its interval or its error, or as it is."""
    if not isinstance(cell, Mapping):
        return "" if cell is None else str(cell)
    if cell.get("value") is None:
        return ""
    half = cell.get("error", (cell["high"] - cell["low"]) / 2 if cell.get("high") is not None else None)
    return f"{cell['value']:.4g}" + ("" if half is None else f" ± {half:.2g}")


def command_line() -> Parser:
    """Return the command line."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=whole(), default=8000, help="events of five processes (default: 8000)")
    parser.add_argument("--data", type=path_of, help="events that are there (default: made in the output)")
    parser.add_argument(
        "--together", choices=TOGETHER, nargs="*", default=["joint"], help="networks of everything (default: joint)"
    )
    parser.add_argument("--output", type=path_of, default=Path("runs/benchmark_detectors"), help="folder")
    return parser


def main() -> int:
    """Make, train, join, judge; further options go to every training."""
    arguments, others = command_line().parse_known_args()
    require_options(others)
    folder: Path = arguments.output.resolve()
    events = ["scripts/detectors.py", "--events", str(arguments.events)]
    data = data_of(arguments.data, folder, MANIFEST, events)
    found = {"rules": physics("rules", folder, data, [])}
    identity = str(trained(IDENTITY, folder, data, others))
    apart = [f"{name}={trained(name, folder, data, others)}" for name in APART]
    combined = folder / "combined"
    command = ["scripts/detectors_combine.py", "combine", *apart, "--identity", identity, "--output", str(combined)]
    made(command, combined / "all.hdf5")
    ways = {"combination": combined / "all.hdf5"}
    ways |= {name: trained(name, folder, data, others) for name in arguments.together}
    said = {name: ["--identity", identity, "--momenta", str(table)] for name, table in ways.items()}
    said[UNTRACKED] = [*said["combination"], "--untracked", str(trained(UNTRACKED, folder, data, others))]
    said[JETS] = [*said["combination"], "--jets", str(trained(JETS, folder, data, others))]
    for name, tables in said.items():
        found[name] = physics(name, folder, data, tables)
    rows = rows_of(found)
    write_results(folder, rows, table_of(rows))
    return 0


if __name__ == "__main__":
    run(main)
