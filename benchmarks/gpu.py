"""What a GPU does with this package: rates, ratios, operations, waits and memory, row by row.

    python benchmarks/gpu.py                               every row but the training, at most four minutes
    python benchmarks/gpu.py --train                       five minutes of training and its judgement, seven in all
    python benchmarks/gpu.py --rows prediction kernel      some rows alone
    python benchmarks/gpu.py --device cpu --small          every row's code at tiny sizes on a processor: tries it only

One table and one JSON file (`--output`). A row for which no time was left, or that needs what is not there, says so.
Without a GPU the rows that can be counted on a processor run, and the others say that they did not. Ratios are of
measurements made one after the other in the same run; the bars are those of an H200.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import gpu_programs
import gpu_rows
from cres.errors import UserError, run
from cres.provenance import git_commit
from gpu_bench import Bench, NotRun
from reconstruction.command import Parser

MINUTES = 4.0
TRAINING_MINUTES = 7.0


@dataclass(frozen=True)
class Row:
    """One measurement: what is asked of it, and how it is made."""

    name: str
    asked: str
    measure: Callable[[Bench], dict[str, float]]
    seconds: float
    """What it takes on a device, about; it is not begun with less time left."""
    counted: bool = False
    """Whether a processor counts it as well as a device."""


ROWS = (
    Row("operations", "≤ 700 a training step, ≤ 400 a prediction, 0 waits", gpu_rows.operations, 25, counted=True),
    Row("memory", "half of what the plain form keeps", gpu_rows.memory, 10, counted=True),
    Row("estimator_operations", "few", gpu_rows.estimator_operations, 20, counted=True),
    Row("noise", "", gpu_rows.noise, 5),
    Row("electrons", "≥ 200 000/s", gpu_rows.electrons, 10),
    Row("training", "≥ 60 000 electrons/s", gpu_rows.training, 30),
    Row("compiled_training", "≥ 60 000 electrons/s", gpu_rows.compiled_training, 60),
    Row("prediction", "≥ 100 000/s, ≤ 3 ms for one", gpu_rows.prediction, 15),
    Row("kernel", "≥ 3 × at 8 192, ≥ 10 × at 65 536", gpu_rows.kernel, 10),
    Row("six_layers", "≤ 1.5 × its FFTs, less in bf16", gpu_rows.six_layers, 15),
    Row("estimators", "≤ 1 ms, ≤ 0.3 ms, ≤ 0.2 ms an electron", gpu_rows.estimators, 30),
    Row("start", "≤ 6 s", gpu_programs.start, 25),
    Row("several", "", gpu_programs.several, 40),
)
TRAIN = Row("train", "ratio ≤ 1.03, within 3 eV ≥ 85.5 %, coverage 68.3 ± 1 %", gpu_programs.train, 360)


@dataclass
class Outcome:
    """What a row gave: figures by name, or why it did not run."""

    name: str
    asked: str
    figures: dict[str, float] = field(default_factory=dict)
    not_run: str = ""
    failed: bool = False
    seconds: float = 0.0


def measure(row: Row, bench: Bench, left_s: float) -> Outcome:
    """Run one row, if there is a device and time for it; what it raises is told in its place, and the others go on."""
    outcome = Outcome(row.name, row.asked)
    if bench.device.type == "cpu" and not row.counted and not bench.small:
        outcome.not_run = "no GPU"
    elif left_s < row.seconds and not bench.small:
        outcome.not_run = f"no time: it takes {row.seconds:.0f} s, {max(0.0, left_s):.0f} s were left"
    else:
        started = time.perf_counter()
        try:
            outcome.figures = row.measure(bench)
        except NotRun as reason:
            outcome.not_run = str(reason)
        except torch.OutOfMemoryError:
            outcome.not_run = "out of memory"
        except Exception as fault:  # a device's time is short: no row costs the others theirs
            traceback.print_exc()
            outcome.not_run = f"failed: {type(fault).__name__}: {str(fault).splitlines()[0] if str(fault) else ''}"
            outcome.failed = True
        outcome.seconds = time.perf_counter() - started
    return outcome


def table(outcomes: list[Outcome]) -> str:
    """Return the rows as Markdown."""
    lines = ["| row | figure | value | asked |", "|---|---|---:|---|"]
    for outcome in outcomes:
        if outcome.not_run:
            lines.append(f"| {outcome.name} | | not run ({outcome.not_run}) | {outcome.asked} |")
        for name, value in outcome.figures.items():
            lines.append(f"| {outcome.name} | {name} | {value:.4g} | {outcome.asked} |")
    return "\n".join(lines)


def environment(device: torch.device) -> dict[str, Any]:
    """Return what the figures depend on beside the program."""
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU"
    return {
        "card": card,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": [round(value, 1) for value in os.getloadavg()],
        "commit": git_commit(),
    }


def chosen(arguments: argparse.Namespace) -> list[Row]:
    """Return the rows that were asked for. Raises UserError for names that are none."""
    if arguments.train:
        return [TRAIN]
    names = [row.name for row in ROWS]
    for name in arguments.rows or ():
        if name not in names:
            raise UserError(f"no row is called {name!r}: choose {', '.join(names)}")
    return [row for row in ROWS if not arguments.rows or row.name in arguments.rows]


def main() -> None:
    """Print the table and write the file."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", help="these rows alone")
    parser.add_argument("--train", action="store_true", help="train for five minutes with configs/s4d_gpu.yaml")
    parser.add_argument("--minutes", type=float, help="time for all rows (default: 4, with --train 7)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="default: %(default)s")
    parser.add_argument("--small", action="store_true", help="tiny sizes: tries the code, measures nothing")
    parser.add_argument("--folder", type=Path, help="keep what the rows make here: data, the trained model")
    parser.add_argument("--output", type=Path, default=Path("runs/gpu.json"), help="default: %(default)s")
    arguments = parser.parse_args()
    rows = chosen(arguments)
    end = time.perf_counter() + 60 * (arguments.minutes or (TRAINING_MINUTES if arguments.train else MINUTES))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    if arguments.folder is not None:
        arguments.folder.mkdir(parents=True, exist_ok=True)
    about = environment(torch.device(arguments.device))
    print(", ".join(f"{name} {value}" for name, value in about.items()), flush=True)
    outcomes: list[Outcome] = []
    with Bench(torch.device(arguments.device), arguments.small, arguments.folder) as bench:
        for row in rows:
            outcomes.append(measure(row, bench, end - time.perf_counter()))
            print(table(outcomes[-1:]).splitlines()[-1], f"{outcomes[-1].seconds:.1f} s", flush=True)
            written = {"environment": about, "small": arguments.small, "rows": [vars(one) for one in outcomes]}
            arguments.output.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n")
    print(table(outcomes))
    if any(outcome.failed for outcome in outcomes):
        raise UserError(f"failed: {', '.join(outcome.name for outcome in outcomes if outcome.failed)}")


if __name__ == "__main__":
    run(main)
