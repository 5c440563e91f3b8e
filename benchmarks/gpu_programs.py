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
from reconstruction.yaml_files import read_yaml

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
    run, data = bench.folder / "trained", bench.folder / "calibrate.hdf5"
    started = time.perf_counter()
    _simulated(bench.size(8000, 300), 11, data)
    made_s = time.perf_counter() - started
    yield "minutes to make 8 000 electrons to calibrate on", made_s / 60
    judged_beside = _fresh(bench)
    device = "cuda" if bench.device.type == "cuda" else "cpu"
    where = [f"--data.data={data}", f"--run={run}", f"--trainer.accelerator={'gpu' if device == 'cuda' else 'cpu'}"]
    where += [f"--data.stream.init_args.device={device}", "--trainer.enable_progress_bar=false"]
    few = ["--trainer.max_time=00:00:00:05", "--data.batch_size=8", "--data.stream_electrons=64"]
    started = time.perf_counter()
    printed = program(["cli.py", "fit", "-c", str(GPU_CONFIG), *where, *(few if bench.small else [])])
    trained_s = time.perf_counter() - started
    yield "minutes of training with its start and calibration", trained_s / 60
    yield "minutes from nothing", (made_s + trained_s) / 60
    steps = re.search(r"trained in .*: ([\d,]+) steps", printed)
    size = read_yaml(run / "config.yaml")["data"]["batch_size"]
    yield "electrons trained on", size * float(steps[1].replace(",", "")) if steps else float("nan")
    fresh, bound = judged_beside.result()
    program(["cli.py", "predict", f"--run={run}", f"--data.data={fresh}", f"--predictions={bench.folder / 'p.hdf5'}"])
    yield from judged(bench.folder / "p.hdf5", bound)


def _simulated(events: int, seed: int, path: Path, behind: bool = False) -> None:
    """Simulate electrons on the processor and prepare them."""
    raw = str(path.with_suffix(""))
    said = ["--events", str(events), "--output", raw, "--seed", str(seed), "-c", "cavity_26ghz"]
    program(["scripts/simulate.py", *said], behind=behind)
    program(["scripts/data_prep.py", "--input", raw, "--output", str(path)], behind=behind)


def _fresh(bench: Bench) -> Future[tuple[Path, Path]]:
    """Begin to make electrons to judge with, and their bound, by processes of the processor beside a training."""
    fresh, bound = bench.folder / "fresh.hdf5", bench.folder / "bound.hdf5"

    def make() -> tuple[Path, Path]:
        _simulated(bench.size(20_000, 200), 99, fresh, behind=True)
        said = ["--method", "bound", "--data", str(fresh), "--split", "all", "--output", str(bound), "--device", "cpu"]
        program(["scripts/estimate.py", *said], behind=True)
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
