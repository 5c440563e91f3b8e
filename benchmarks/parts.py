"""What a part of a network is worth beside the default, at equal steps: denoisers before it, attention pooling.

    python benchmarks/parts.py                                       short records, 1 400 steps each; one core
    python benchmarks/parts.py --rows "s4d" "s4d, denoiser first, together" --seeds 3 --steps 5000

Short records have 2 048 samples and a quarter of the default's noise density, so that an electron has the signal-to-
noise ratio of a whole record. Every row trains on the same 12 000 electrons with as many steps of 32 and is judged on
the same 2 000 others; a denoiser that is trained apart takes as many steps before, which no other row has. Results
are appended to FOLDER/results.jsonl, one that is there is not made again; the table is printed at the end.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import torch
import yaml

from cres import errors
from pretraining import NOISE_K, figures
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.training.command_line.cli import main as command

ROOT = Path(__file__).parents[1]
SAMPLES, BATCH, TRAIN, TEST = 2048, 32, 12_000, 2_000
POOLING = "--model.encoders.{view}.init_args.pooling={name}"
APART = "apart"
ROWS: dict[str, tuple[str, tuple[str, ...]]] = {
    "s4d": ("s4d", ()),
    "s4d, denoiser first, together": ("denoise_first", ()),
    "s4d, denoiser first, apart and frozen": ("denoise_first", (APART, "--model.denoise_first.frozen=true")),
    "s4d, denoiser first, apart, then together": ("denoise_first", (APART,)),
    "lstm, last": ("lstm", ()),
    "lstm, attention": ("lstm", (POOLING.format(view="spectrum", name="attention"),)),
    "convnet": ("convnet", ()),
    "convnet, attention": ("convnet", (POOLING.format(view="spectrum", name="attention"),)),
    "s4d_time, mean": ("s4d_time", ()),
    "s4d_time, attention": ("s4d_time", (POOLING.format(view="time", name="attention"),)),
}
"""The configuration, and what a row changes of it."""
QUIET = ("--trainer.enable_progress_bar=false", "--figures.every_epochs=0", "--early_stopping.patience=100000")


def make_records(folder: Path, name: str, count: int, seed: str) -> Path:
    """Simulate and prepare; what is there stays."""
    data, raw, config = (folder / one for one in (f"{name}.hdf5", f"raw_{name}", "simulation.yaml"))
    config.write_text(
        yaml.safe_dump({"readout": {"samples": SAMPLES, "noise_temperature_k": NOISE_K * SAMPLES / 8192}})
    )
    if not data.exists():
        made = ("--events", str(count), "--seed", seed, "-c", str(config), "--output", str(raw))
        prepared = ("--input", str(raw), "--output", str(data))
        for step in (("scripts/simulate.py", *made), ("scripts/data_prep.py", *prepared)):
            subprocess.run([sys.executable, *step], cwd=ROOT, check=True)
    return data


def fit(config: str, run: Path, data: Path, steps: int, options: list[str]) -> Path:
    """Train, and return the checkpoint; a training that is done is not done again."""
    if not (run / "done").exists():
        epochs = max(1, round(steps / (0.95 * TRAIN / BATCH)))
        size = [f"--trainer.max_epochs={epochs}", f"--data.batch_size={BATCH}", "--data.fractions=[0.95,0.05,0]"]
        given = [f"--data.data={data}", f"--run={run}", *size, *QUIET, *options]
        if command(["fit", "-c", str(ROOT / "configs" / f"{config}.yaml"), *given]):
            raise errors.UserError("the training was stopped: the same command goes on with it")
        (run / "done").touch()
    return run / "checkpoints" / "best.ckpt"


def trained(row: str, seed: int, folder: Path, steps: int) -> dict[str, object]:
    """Train a row, judge it, and return the figures."""
    data, test = make_records(folder, "train", TRAIN, "41"), make_records(folder, "test", TEST, "42")
    config, changes = ROWS[row]
    options = [f"--seed_everything={seed}", *(one for one in changes if one != APART)]
    if APART in changes:
        apart = fit("denoise", folder / f"denoise_{steps}_{seed}", data, steps, [f"--seed_everything={seed}"])
        options.append(f"--model.denoise_first.checkpoint={apart}")
    run = folder / "_".join(["".join(one if one.isalnum() else "_" for one in row), str(steps), str(seed)])
    begun = time.process_time()
    fit(config, run, data, steps, options)
    spent = time.process_time() - begun
    if command(["predict", f"--run={run}", f"--data.data={test}", f"--predictions={run / 'test.hdf5'}", QUIET[0]]):
        raise errors.UserError("the prediction was stopped: the same command goes on with it")
    found = figures(PredictionTable.read(run / "test.hdf5"))
    return {"row": row, "seed": seed, "steps": steps, "cpu_s": spent, **found}


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS), help="default: all")
    parser.add_argument("--seeds", type=int, default=1, help="of each row (default %(default)s)")
    parser.add_argument("--steps", type=int, default=1_400, help="of each training (default %(default)s)")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "parts", help="default: %(default)s")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / "results.jsonl"
    known = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    for seed in range(arguments.seeds):
        for row in arguments.rows:
            if (row, seed, arguments.steps) in [(one["row"], one["seed"], one["steps"]) for one in known]:
                continue
            known.append(trained(row, seed, folder, arguments.steps))
            with results.open("a") as stream:
                stream.write(json.dumps(known[-1]) + "\n")
            print(json.dumps(known[-1]), flush=True)
    print(table_of(known))


if __name__ == "__main__":
    errors.run(main)
