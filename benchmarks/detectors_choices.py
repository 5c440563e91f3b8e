"""What physics in the loss is worth to a network of candidates: momentum balance, energy conservation, both, neither.

    python benchmarks/detectors_choices.py data/detectors --output runs/detectors_choices    of scripts/detectors.py
    python benchmarks/detectors_choices.py data/detectors --seeds 3 --only balance --trainer.max_epochs=8

Each choice is one change of configs/detectors/graph.yaml on batches of whole events, with the same seeds, judged on the
test split: σ68 of p/p_true − 1 and coverage by what a candidate is, and by how much events lack to balance. Writes
table.md and summary.json; what is there is not made again. Further options go to every training.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from collider.detectors import DetectorEvents
from collider.detectors.learning.columns import CLASSES, IDENTITY, MOMENTUM
from reconstruction.command import Parser, whole
from reconstruction.errors import run
from reconstruction.judging.measures.metrics import coverage, sigma68
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.paths import path_of
from steps import made, markdown, over_seeds, require_options, said, write_results

CONFIG = "configs/detectors/graph.yaml"
STANDARD = "neither"
BALANCE, ENERGY = "--model.momentum_balance.weight=0.1", "--model.energy_conservation.weight=0.1"
CHOICES: dict[str, list[str]] = {
    STANDARD: [],
    "momentum balance": [BALANCE],
    "momentum balance, ten times": ["--model.momentum_balance.weight=1"],
    "energy conservation": [ENERGY],
    "both": [BALANCE, ENERGY],
    "neither, candidates in any order": ["--data.whole_events=false"],
}
FEWEST = 20


def trained(name: str, folder: Path, common: Sequence[str]) -> PredictionTable:
    """Train a choice unless it is there; return its table of the test split."""
    options, done = ["--data.whole_events=true", *CHOICES[name], *common], folder / "trained"
    made(["cli.py", "fit", "-c", CONFIG, f"--run={folder}", *options], done)
    done.touch()
    made(["cli.py", "test", f"--run={folder}"], folder / "predictions.hdf5")
    return PredictionTable.read(folder / "predictions.hdf5")


def resolutions(table: PredictionTable) -> dict[str, float]:
    """Return σ68 of p/p_true − 1 and the coverage of each identity that has some candidates, and of all."""
    truth, away = table.truth(MOMENTUM), table.residual(MOMENTUM)
    identity, std = table.column(f"true_{IDENTITY}"), table.std(MOMENTUM)
    found = {}
    kinds = {"all": identity >= 0} | {name: identity == code for name, code in CLASSES.items()}
    for name, rows in kinds.items():
        if rows.sum() >= FEWEST:
            found[name] = sigma68(away[rows] / truth[rows])
            found[f"coverage, {name}"] = coverage(away[rows], std[rows])
    return found


def balances(table: PredictionTable, events: DetectorEvents) -> dict[str, float]:
    """Return σ68 of what events lack to balance along x and y in GeV, of estimates and of true momenta.

    Candidates, what nobody saw, and what is not followed; what no candidate is of is missing in both.
    """
    ids = events.column("event_id") & np.int64(2**32 - 1)
    keys = events.column("process").astype(np.int64) << 32 | ids
    order = np.argsort(keys)
    mine = table.column("process").astype(np.int64) << 32 | table.column("event_number").astype(np.int64)
    place = order[np.searchsorted(keys, mine, sorter=order)]
    judged = np.unique(place)
    found = {}
    for what, momentum in (("estimated", table.mean(MOMENTUM)), ("true", table.truth(MOMENTUM))):
        across = momentum / np.cosh(table.column("eta"))
        lacks = []
        for axis, turned in (("x", np.cos), ("y", np.sin)):
            total = np.bincount(place, across * turned(table.column("phi_rad")), len(events))
            total += events.column(f"missing_p{axis}_gev") + events.column(f"beyond_p{axis}_gev")
            lacks.append(total[judged])
        found[f"balance, {what}"] = sigma68(np.concatenate(lacks))
    return found


def table_of(rows: dict[str, dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    kinds = [name for name in ("all", *CLASSES) if all(name in row for row in rows.values())]
    heads = [
        "",
        *(f"σ68, {kind}" for kind in kinds),
        "coverage, all",
        "lacks to balance (GeV)",
        "with true momenta (GeV)",
    ]
    lines = []
    for name, row in rows.items():
        cells = [said(row[kind], 4) for kind in (*kinds, "coverage, all")]
        cells += [said(row[f"balance, {what}"], 2) for what in ("estimated", "true")]
        lines.append([name, *cells])
    return markdown(heads, lines)


def command_line() -> Parser:
    """Return the command line."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=path_of, help="folder of events of scripts/detectors.py")
    parser.add_argument("--seeds", type=whole(), default=1, help="trainings of each choice (default: 1)")
    parser.add_argument("--only", nargs="*", default=[], help="choices whose names have one of these words")
    parser.add_argument("--output", type=path_of, default=Path("runs/benchmark_detectors_choices"), help="folder")
    return parser


def main() -> int:
    """Train and judge every choice."""
    arguments, others = command_line().parse_known_args()
    require_options(others)
    data, folder = arguments.data.resolve(), arguments.output.resolve()
    events = DetectorEvents(data)
    wanted = [name for name in CHOICES if not arguments.only or any(word in name for word in arguments.only)]
    rows: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys([STANDARD, *wanted]):
        found = []
        for seed in range(arguments.seeds):
            place = folder / f"{name.replace(',', '').replace(' ', '_')}_{seed}"
            table = trained(name, place, [f"--data.data={data}", f"--seed_everything={seed}", *others])
            found.append(resolutions(table) | balances(table, events))
        rows[name] = {what: over_seeds([one.get(what) for one in found]) for what in found[0]}
    write_results(folder, {"seeds": arguments.seeds, "rows": rows}, table_of(rows))
    print("mean ± standard deviation over the seeds; σ68 of p/p_true − 1 on the test split")
    return 0


if __name__ == "__main__":
    run(main)
