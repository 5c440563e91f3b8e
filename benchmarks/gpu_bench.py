"""What the rows of `benchmarks/gpu.py` are measured with: a device, its clock, a few electrons, the default model."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cres import schema
from cres.data.electrons import SERIES
from cres.errors import UserError
from cres.training.module import CresModule
from reconstruction.training.command_line.cli import CommandLine
from reconstruction.training.runs.fitting import fit_scalers

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "s4d.yaml"
APPARATUS = ROOT / "configs" / "simulation" / "cavity_26ghz.yaml"


class NotRun(Exception):
    """Why a row cannot be measured here."""


class Bench:
    """A device, and what several rows need: a few electrons in a file, the default model with fitted scales.

    `small` makes every size tiny, so that a processor tries each row's code in seconds. What is made stays in `folder`,
    or goes with the benchmark.
    """

    def __init__(self, device: torch.device, small: bool, folder: Path | None = None) -> None:
        self.device, self.small = device, small
        self.least_s = 0.0 if small else 0.5
        self._folder = tempfile.TemporaryDirectory()
        self.folder = folder or Path(self._folder.name)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def size(self, full: int, small: int) -> int:
        """Return one of two sizes."""
        return small if self.small else full

    def time(self, step: Callable[[], object]) -> float:
        """Return the median time of a step in s, over three stretches; the device is waited for at their ends."""
        return seconds(step, self.device, self.least_s)

    @cached_property
    def data(self) -> Path:
        """Prepared electrons, made on the processor."""
        events = str(self.size(2000, 300))
        made = ["--events", events, "--output", str(self.folder / "raw"), "--seed", "7", "-c", str(APPARATUS)]
        program(["scripts/simulate.py", *made])
        program(["scripts/data_prep.py", "--input", str(self.folder / "raw"), "--output", str(self.folder / "e.hdf5")])
        return self.folder / "e.hdf5"

    @cached_property
    def module(self) -> CresModule:
        """The default model on the device, its scales fitted, untrained."""
        arguments = ["-c", str(CONFIG), f"--data.data={self.data}", f"--run={self.folder / 'run'}"]
        command = CommandLine("fit", [*arguments, "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"])
        command.datamodule.setup("fit")
        command.model.to(self.device)
        fit_scalers(command.model, command.datamodule)
        self.loader = command.datamodule.train_dataloader
        return command.model

    def batch(self, size: int) -> dict[str, Any]:
        """Return a batch of electrons on the device, those of the file again and again."""
        batch = self.module.transfer_batch_to_device(next(iter(self.loader())), self.device, 0)
        rows = torch.arange(size, device=self.device) % len(batch["event_id"])
        inputs = {name: values[rows] for name, values in batch["inputs"].items()}
        taken = {"inputs": inputs, "targets": batch["targets"][rows]}
        observables = {name: values[rows] for name, values in batch["observables"].items()}
        return {**taken, "event_id": torch.arange(size, device=self.device), "observables": observables}

    def source(self) -> Any:
        """Return what makes electrons on the device. Raises NotRun where this version has no such source."""
        try:
            from cres.simulation import DeviceElectrons
        except ImportError as error:
            raise NotRun("this version makes no electrons on a device (cres.simulation.DeviceElectrons)") from error
        return DeviceElectrons(str(APPARATUS), self.device)

    def made(self, columns: dict[str, Tensor]) -> dict[str, Any]:
        """Return a batch of what a source made."""
        series = torch.stack([columns[name] for name in schema.SERIES_COLUMNS], dim=-1)
        return {
            "inputs": {SERIES: series},
            "event_id": columns[schema.EVENT_ID],
            "targets": torch.stack([columns[name] for name in self.module.targets], dim=1),
            "observables": {name: values for name, values in columns.items() if values.ndim == 1},
        }


def seconds(step: Callable[[], object], device: torch.device, least_s: float, stretches: int = 3) -> float:
    """Return the median time of a step in s over stretches of at least `least_s`, the device waited for at the ends."""
    step()
    times = []
    for _ in range(stretches):
        wait(device)
        started, count = time.perf_counter(), 0
        while not count or time.perf_counter() - started < least_s:
            step()
            count += 1
            if count % 10 == 0:  # or launches pile up beyond the time that is measured
                wait(device)
        wait(device)
        times.append((time.perf_counter() - started) / count)
    return statistics.median(times)


def replayed(step: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """Return what replays a step as a CUDA graph on a GPU; elsewhere the step."""
    if device.type != "cuda":
        return step
    beside = torch.cuda.Stream(device)
    with torch.cuda.stream(beside):
        for _ in range(3):
            step()
    torch.cuda.synchronize(device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def wait(device: torch.device) -> None:
    """Wait until a device has done everything."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_bytes(step: Callable[[], object], device: torch.device) -> float:
    """Return the largest memory that a step takes on a GPU."""
    if device.type != "cuda":
        return float("nan")
    torch.cuda.reset_peak_memory_stats(device)
    step()
    return float(torch.cuda.max_memory_allocated(device))


def program(command: list[str], timeout_s: float = 600, behind: bool = False) -> str:
    """Run one of the repository's programs; return what it prints. Raises UserError when it fails, NotRun in time.

    `behind` others that want the processor.
    """
    environment = {**os.environ, "WANDB_MODE": "disabled"}
    first = ["nice", "-n", "19"] if behind and shutil.which("nice") else []
    try:
        done = subprocess.run(
            [*first, sys.executable, *command],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as error:
        raise NotRun(f"{command[0]} took longer than {timeout_s:.0f} s") from error
    if done.returncode:
        raise UserError(f"{command[0]} ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout + done.stderr
