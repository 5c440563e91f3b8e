"""One network for all masses of a charged Higgs boson, five seeds, against dedicated networks at every point.

    python benchmarks/higgs.py                          3 000 events a point, the small network: a night on two cores
    python benchmarks/higgs.py --events 20000           for a cluster or a GPU
    python benchmarks/higgs.py -c seven --seeds 2 --events 400 --output runs/higgs_small

Makes the events, trains the joint network and one for each trained and interpolated point with each seed, compares them
seed by seed and the joint ones as an ensemble, and writes one table (table.md, summary.json). What is there is not made
again: an interrupted run goes on with the same command. Each step is a command of the program, printed before it runs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from collider.higgs.learning.samples import roles_of
from collider.higgs.making.samples import MANIFEST
from reconstruction.command import Parser, whole
from reconstruction.errors import run
from reconstruction.files import read_json
from reconstruction.paths import path_of
from steps import ROOT, data_of, made, markdown, over_seeds, require_options, said, write_results

STAGES = ROOT / "configs" / "higgs" / "stages"
ALONE = ("trained", "edge", "validation", "interpolated")
"""Roles of points that get dedicated networks."""
FIGURES = ("auc", "accuracy", "efficiency", "rejection", "significance")


def compared(folder: Path, data: Path, seed: int, others: Sequence[str]) -> dict[str, Any]:
    """Train and compare with one seed; return the comparison."""
    points = [list(point) for point, role in roles_of(read_json(data / MANIFEST)).items() if role in ALONE]
    common = [f"--data.data={data}", f"--seed_everything={seed}", *others]
    joint, alone = folder / f"joint_{seed}", folder / f"dedicated_{seed}"
    made(["scripts/stages.py", str(STAGES / "joint.yaml"), f"--run={joint}", *common], joint / "stages.json")
    options = [f"--run={alone}", f"--data.points={json.dumps(points)}", *common]
    made(["scripts/stages.py", str(STAGES / "dedicated.yaml"), *options], alone / "stages.json")
    judged = folder / f"judged_{seed}"
    given = [str(joint / "together"), "--dedicated", str(alone / "alone"), "--data", str(data), "--output", str(judged)]
    made(["scripts/higgs_compare.py", *given], judged / "comparison.json")
    return read_json(judged / "comparison.json")


def rows_of(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each point: mean and standard deviation over the seeds of every figure and ratio."""
    rows = []
    for parts in zip(*(one["points"] for one in found), strict=True):
        first = parts[0]
        row = {name: first[name] for name in ("mass_charged_higgs_gev", "mass_a_gev", "where", "role", "signal_events")}
        for classifier in first["figures"]:
            for name in FIGURES:
                values = [part["figures"][classifier][name]["value"] for part in parts]
                row[f"{classifier}: {name}"] = over_seeds(values)
        for other in first["one_minus_auc_ratio"]:
            row[f"ratio: {other}"] = over_seeds(part["one_minus_auc_ratio"][other]["value"] for part in parts)
            intervals = [part["one_minus_auc_ratio"][other] for part in parts]
            widths = [(one["high"] - one["low"]) / 2 for one in intervals if one["high"] is not None]
            row[f"ratio: {other}, of events"] = float(np.mean(widths)) if widths else None
        for classifier in first["expected_limit_branching_ratio"]:
            values = [part["expected_limit_branching_ratio"][classifier]["median"] for part in parts]
            row[f"limit: {classifier}"] = over_seeds(values)
        rows.append(row)
    return rows


def table_of(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows with a dedicated network, and then the others, as Markdown."""
    heads = ["mH⁺, mA (GeV)", "where", "AUC", "dedicated AUC", "trees AUC", "(1 − AUC) over dedicated", "over trees"]
    lines = []
    for row in sorted(rows, key=lambda row: "ratio: dedicated network" not in row):
        cells = [
            f"{row['mass_charged_higgs_gev']:g}, {row['mass_a_gev']:g}",
            row["where"],
            said(row.get("network: auc"), 4),
            said(row.get("dedicated network: auc"), 4),
            said(row.get("boosted trees: auc"), 4),
            said(row.get("ratio: dedicated network"), 3, row.get("ratio: dedicated network, of events")),
            said(row.get("ratio: boosted trees"), 3, row.get("ratio: boosted trees, of events")),
        ]
        lines.append(cells)
    return markdown(heads, lines)


def command_line() -> Parser:
    """Return the command line."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-c", "--config", default="points", help="mass points in configs/higgs/ (default: points)")
    parser.add_argument("--events", type=whole(), default=3000, help="signal events at a point (default: 3000)")
    parser.add_argument("--background-events", type=whole(), help="of each background (default: --events)")
    parser.add_argument("--seeds", type=whole(), default=5, help="trainings of everything (default: 5)")
    parser.add_argument("--data", type=path_of, help="samples that are there (default: made in the output)")
    parser.add_argument("--output", type=path_of, default=Path("runs/benchmark_higgs"), help="folder")
    return parser


def main() -> int:
    """Make, train, compare; further options go to every training."""
    arguments, others = command_line().parse_known_args()
    require_options(others)
    folder: Path = arguments.output.resolve()
    backgrounds = arguments.background_events or arguments.events
    events = ["--events", str(arguments.events), "--background-events", str(backgrounds)]
    data = data_of(arguments.data, folder, MANIFEST, ["scripts/higgs.py", "-c", arguments.config, *events])
    found = [compared(folder, data, seed, others) for seed in range(arguments.seeds)]
    if arguments.seeds > 1:
        runs = [str(folder / f"joint_{seed}" / "together") for seed in range(arguments.seeds)]
        ensemble = folder / "ensemble"
        command = ["scripts/higgs_compare.py", *runs, "--data", str(data), "--output", str(ensemble)]
        made(command, ensemble / "comparison.json")
    rows = rows_of(found)
    medians, times = ([one[name] for one in found] for name in ("medians", "processor_s"))
    summary = {"seeds": arguments.seeds, "medians": medians, "processor_s": times, "rows": rows}
    write_results(folder, summary, table_of(rows))
    print("mean ± standard deviation over the seeds; for ratios then ± that of the judged events of one seed")
    return 0


if __name__ == "__main__":
    run(main)
