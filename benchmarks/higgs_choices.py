"""What the choices of the network for all masses are worth: how it is told them, weights, stages, one seed or several.

    python benchmarks/higgs_choices.py data/higgs --output runs/higgs_choices          data of scripts/higgs.py
    python benchmarks/higgs_choices.py data/higgs --seeds 3 --only attention stages

Each choice is one change of configs/higgs/small.yaml or of the stages, judged by events that no network met. Writes
table.md and summary.json; what is there is not made again. Further options go to every training.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from higgs import STAGES
from reconstruction.command import Parser, whole
from reconstruction.errors import run
from reconstruction.files import read_json
from reconstruction.paths import path_of
from steps import made, markdown, over_seeds, require_options, said, write_results

STANDARD = "as it is"
TOGETHER = ("together",)
CHOICES: dict[str, tuple[str, tuple[str, ...], list[str]]] = {
    STANDARD: ("joint", TOGETHER, []),
    "pairs not compared": ("joint", TOGETHER, ["--model.hypotheses=[]"]),
    "told through attention": ("joint", TOGETHER, ["--model.condition.by=attention"]),
    "told by concatenation": ("joint", TOGETHER, ["--model.condition.by=concatenation"]),
    "weighed by difficulty": ("joint", TOGETHER, ["--model.weight_column=difficulty_weight"]),
    "in three stages": ("seed", ("apart", "average", *TOGETHER), []),
}
"""Each with its file of stages, those of them that are gone through, and its options."""
PLACES = ("trained", "between", "outside")


def trained(name: str, folder: Path, common: Sequence[str]) -> Path:
    """Train a choice unless it is there; return the run that is told all masses."""
    file, stages, options = CHOICES[name]
    for stage in stages:
        done = folder / f"{stage}.done"
        words = [str(STAGES / f"{file}.yaml"), "--stage", stage, f"--run={folder}", *options, *common]
        made(["scripts/stages.py", *words], done)
        done.touch()
    return folder / stages[-1]


def judged(run_folder: Path, data: Path, output: Path) -> dict[str, Any]:
    """Return the comparison of a run without rivals."""
    words = [str(run_folder), "--data", str(data), "--output", str(output), "--no-trees", "--resamples", "1"]
    made(["scripts/higgs_compare.py", *words], output / "comparison.json")
    return read_json(output / "comparison.json")


def aucs(found: dict[str, Any], where: str) -> np.ndarray:
    """Return the area under the curve at each point of a kind."""
    return np.array([one["figures"]["network"]["auc"]["value"] for one in found["points"] if one["where"] == where])


def row_of(found: Sequence[dict[str, Any]], standard: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return, for each kind of point, the median AUC and the median ratio of 1 − AUC to the standard, over seeds."""
    row: dict[str, Any] = {}
    for where in PLACES:
        pairs = [(aucs(one, where), aucs(other, where)) for one, other in zip(found, standard, strict=True)]
        if len(pairs[0][0]):
            row[f"auc {where}"] = over_seeds([float(np.median(own)) for own, _ in pairs])
            row[f"ratio {where}"] = over_seeds([float(np.median((1 - own) / (1 - other))) for own, other in pairs])
    row["processor_s"] = over_seeds([one["processor_s"].get("network") for one in found])
    return row


def table_of(rows: dict[str, dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    kinds = [where for where in PLACES if all(f"auc {where}" in row for row in rows.values())]
    heads = ["", *(f"AUC, {where}" for where in kinds), *(f"(1 − AUC) over its own, {where}" for where in kinds)]
    lines = []
    for name, row in rows.items():
        cells = [said(row[f"{what} {where}"], 4) for what in ("auc", "ratio") for where in kinds]
        lines.append([name, *cells])
    return markdown(heads, lines)


def command_line() -> Parser:
    """Return the command line."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=path_of, help="folder of samples of scripts/higgs.py")
    parser.add_argument("--seeds", type=whole(), default=1, help="trainings of each choice (default: 1)")
    parser.add_argument("--only", nargs="*", default=[], help="choices whose names have one of these words")
    parser.add_argument("--output", type=path_of, default=Path("runs/benchmark_higgs_choices"), help="folder")
    return parser


def main() -> int:
    """Train and judge every choice."""
    arguments, others = command_line().parse_known_args()
    require_options(others)
    data, folder = arguments.data.resolve(), arguments.output.resolve()
    wanted = [name for name in CHOICES if not arguments.only or any(word in name for word in arguments.only)]
    found: dict[str, list[dict[str, Any]]] = {}
    for name in dict.fromkeys([STANDARD, *wanted]):
        found[name] = []
        for seed in range(arguments.seeds):
            place = folder / f"{name.replace(' ', '_')}_{seed}"
            run_folder = trained(name, place, [f"--data.data={data}", f"--seed_everything={seed}", *others])
            found[name].append(judged(run_folder, data, place / "judged"))
    rows = {name: row_of(own, found[STANDARD]) for name, own in found.items()}
    write_results(folder, {"seeds": arguments.seeds, "rows": rows}, table_of(rows))
    print("medians over mass points; mean ± standard deviation over the seeds")
    return 0


if __name__ == "__main__":
    run(main)
