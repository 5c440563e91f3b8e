"""What a part of a network is worth beside the default, at equal steps: denoisers before it, attention pooling.

    python benchmarks/parts.py                                       short records, 1 400 steps each; one core
    python benchmarks/parts.py --rows "s4d" "s4d, denoiser first, together" --seeds 3 --steps 5000

Short records have 2 048 samples and a quarter of the default's noise density, so that an electron has the signal-to-
noise ratio of a whole record. Every row trains on the same 12 000 electrons with as many steps of 32 and is judged on
2 000 others; a denoiser that is trained apart takes as many steps before, which no other row has. Results
are appended to FOLDER/results.jsonl, one that is there is not made again; the table is printed at the end.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import itertools
import json
import time
from pathlib import Path

import torch

from cres import errors
from heads import QUIET, SHORT, fit, made_folder, make_records, parser_of
from pretraining import figures
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.training.command_line.cli import main as command

POOLING = "--model.encoders.{view}.init_args.pooling={name}"
APART = "apart"
ROWS: dict[str, tuple[str, tuple[str, ...]]] = {
    "s4d": ("s4d", ()),
    "s4d, denoiser first, together": ("denoise_first", ()),
    "s4d, denoiser first, apart and frozen": ("denoise_first", (APART, "--model.denoise_first.frozen=true")),
    "s4d, denoiser first, apart, then together": ("denoise_first", (APART,)),
    "lstm, last": ("lstm", ()),
    "lstm, attention": ("lstm", (POOLING.format(view="time", name="attention"),)),
    "convnet": ("convnet", ()),
    "convnet, attention": ("convnet", (POOLING.format(view="spectrum", name="attention"),)),
    "s4d_time, mean": ("s4d_time", ()),
    "s4d_time, attention": ("s4d_time", (POOLING.format(view="time", name="attention"),)),
}
"""The configuration, and what a row changes of it."""


def trained(row: str, seed: int, folder: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """Train a row, judge it, and return the figures."""
    steps, records = arguments.steps, arguments.records
    data = make_records(folder, "train", records, 41, SHORT)
    test = make_records(folder, "test", arguments.judged, 42, SHORT)
    config, changes = ROWS[row]
    options = [f"--seed_everything={seed}", *(one for one in changes if one != APART)]
    if APART in changes:
        earlier = folder / f"denoise_{records}_{steps}_{seed}"
        apart = fit("denoise", earlier, data, steps, records, [f"--seed_everything={seed}"])
        options.append(f"--model.denoise_first.checkpoint={apart}")
    name = "".join(one if one.isalnum() else "_" for one in row)
    run = folder / f"{name}_{records}_{steps}_{seed}"
    begun = time.process_time()
    fit(config, run, data, steps, records, options)
    spent = time.process_time() - begun
    if command(["predict", f"--run={run}", f"--data.data={test}", f"--predictions={run / 'test.hdf5'}", QUIET[0]]):
        raise errors.UserError("the prediction was stopped: the same command goes on with it")
    found = figures(PredictionTable.read(run / "test.hdf5"))
    sizes = {"records": records, "judged": arguments.judged, "steps": steps}
    return {"row": row, "seed": seed, **sizes, "cpu_s": spent, **found}


def table_of(results: list[dict[str, object]]) -> str:
    """Return Markdown, a line a training."""
    heads = (
        "row",
        "seed",
        "steps",
        "σ68 resolved (eV)",
        "σ68 all (eV)",
        "within 3 eV, all (%)",
        "1σ (%)",
        "processor (s)",
    )
    lines = [f"| {' | '.join(heads)} |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for one in results:
        numbers = {name: float(str(value)) for name, value in one.items() if name != "row"}
        cells = [f"{numbers[name]:.3g}" for name in ("energy_ev resolved", "energy_ev all")]
        cells += [f"{100 * numbers[name]:.1f}" for name in ("within 3 eV all", "coverage all")]
        lines.append(
            f"| {one['row']} | {one['seed']} | {one['steps']} | {' | '.join(cells)} | {numbers['cpu_s']:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = parser_of(__doc__, "parts", records=12_000, judged=2_000, steps=1_400)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS), help="default: all")
    parser.add_argument("--seeds", type=int, default=1, help="of each row (default %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = made_folder(arguments)
    results = folder / "results.jsonl"
    known = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    for seed, row in itertools.product(range(arguments.seeds), arguments.rows):
        job = {"row": row, "seed": seed} | {name: getattr(arguments, name) for name in ("records", "judged", "steps")}
        if any(job.items() <= one.items() for one in known):
            continue
        known.append(trained(row, seed, folder, arguments))
        with results.open("a") as stream:
            stream.write(json.dumps(known[-1]) + "\n")
        print(json.dumps(known[-1]), flush=True)
    print(table_of(known))


if __name__ == "__main__":
    errors.run(main)
