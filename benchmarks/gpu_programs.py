"""The rows of `benchmarks/gpu.py` that run the repository's programs: a start, trainings side by side, one judged."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cres.errors import UserError
from gpu_bench import CONFIG, ROOT, Bench, program
from reconstruction.judging.measures.comparison import compare, summarise
from reconstruction.judging.tables.table import PredictionTable

GPU_CONFIG = ROOT / "configs" / "s4d_gpu.yaml"
EV = "energy_ev"


def start(bench: Bench) -> dict[str, float]:
    """From the command to the first optimiser step."""
    options = ["--trainer.max_steps=1", "--trainer.limit_val_batches=0", "--model.calibration=none"]
    command = ["cli.py", "fit", "-c", str(CONFIG), f"--data.data={bench.data}", f"--run={bench.folder / 'start'}"]
    accelerator = "gpu" if bench.device.type == "cuda" else "cpu"
    started = time.perf_counter()
    program([*command, *options, f"--trainer.accelerator={accelerator}", "--trainer.enable_progress_bar=false"])
    return {"start to the end of the first step, s": time.perf_counter() - started}


def several(bench: Bench) -> dict[str, float]:
    """Total rate of several small trainings that share one device, beside one alone."""
    count = bench.size(4, 2)
    accelerator = "gpu" if bench.device.type == "cuda" else "cpu"
    steps, batch = bench.size(300, 2), bench.size(256, 8)
    options = [
        f"--trainer.accelerator={accelerator}",
        f"--trainer.max_steps={steps}",
        "--trainer.max_epochs=100000",
        "--trainer.limit_val_batches=0",
        "--trainer.enable_progress_bar=false",
        "--model.calibration=none",
        f"--data.batch_size={batch}",
        "--data.cache=device",
    ]

    def command(name: str) -> list[str]:
        run = f"--run={bench.folder / name}"
        return [sys.executable, "cli.py", "fit", "-c", str(CONFIG), f"--data.data={bench.data}", run, *options]

    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": ROOT}
    quiet["env"] = {**os.environ, "WANDB_MODE": "disabled"}

    def rate(many: int) -> float:
        started = time.perf_counter()
        running = [subprocess.Popen(command(f"many{many}_{one}"), **quiet) for one in range(many)]
        ended = [one.wait() for one in running]
        if any(ended):
            raise UserError(f"trainings side by side ended with {ended}")
        return many * steps * batch / (time.perf_counter() - started)

    alone, together = rate(1), rate(count)
    return {
        "one, electrons/s with its start": alone,
        f"{count} together, electrons/s": together,
        "ratio": together / alone,
    }


def train(bench: Bench) -> dict[str, float]:
    """Five minutes of training on electrons made on the device, judged on 20 000 fresh ones."""
    bench.source()  # raises NotRun
    return dict(_trained(bench))


def _trained(bench: Bench) -> Iterator[tuple[str, float]]:
    run, minutes = bench.folder / "trained", 5.0
    judged_beside = _fresh(bench)
    limit = (
        ["--trainer.max_steps=2", "--trainer.max_epochs=1", "--data.batch_size=8", "--data.stream_electrons=16"]
        if bench.small
        else []
    )
    accelerator = "gpu" if bench.device.type == "cuda" else "cpu"
    started = time.perf_counter()
    where = [f"--data.data={bench.data}", f"--run={run}", f"--trainer.accelerator={accelerator}"]
    where += [f"--data.stream.init_args.device={bench.device}", "--trainer.max_time=00:00:05:00"]
    quiet = "--trainer.enable_progress_bar=false"
    printed = program(["cli.py", "fit", "-c", str(GPU_CONFIG), *where, quiet, *limit])
    yield "minutes of training with its start and calibration", (time.perf_counter() - started) / 60
    yield "minutes asked", minutes
    lines = re.findall(r"epoch (\d+)/", printed)
    yield "epochs", float(lines[-1]) if lines else float("nan")
    fresh, bound = judged_beside.result()
    program(["cli.py", "predict", f"--run={run}", f"--data.data={fresh}", f"--predictions={bench.folder / 'p.hdf5'}"])
    program(["scripts/evaluate.py", str(bench.folder / "p.hdf5"), str(bound), "--output", str(bench.folder / "judged")])
    yield from judged(bench.folder / "p.hdf5", bound)


def _fresh(bench: Bench) -> Future[tuple[Path, Path]]:
    """Begin to make electrons to judge with, and their bound, by processes of the processor beside a training."""
    fresh, bound = bench.folder / "fresh.hdf5", bench.folder / "bound.hdf5"
    events = str(bench.size(20_000, 200))

    def make() -> tuple[Path, Path]:
        program(["scripts/simulate.py", "--events", events, "--output", str(bench.folder / "fresh"), "--seed", "99"])
        program(["scripts/data_prep.py", "--input", str(bench.folder / "fresh"), "--output", str(fresh)])
        said = ["--method", "bound", "--data", str(fresh), "--split", "all", "--output", str(bound), "--device", "cpu"]
        program(["scripts/estimate.py", *said])
        return fresh, bound

    return ThreadPoolExecutor(1).submit(make)


def judged(predictions: Path, bound: Path) -> Iterator[tuple[str, float]]:
    """Yield the figures of the energy against the bound of the same electrons."""
    rows = summarise(compare([PredictionTable.read(predictions)], PredictionTable.read(bound)))
    for row in rows:
        if row.target == EV:
            for name in ("bound_ratio", "near_fraction", "coverage1", "sigma68"):
                if name in row.figures:
                    yield f"{row.group}, {name}", float(row.figures[name].value)
