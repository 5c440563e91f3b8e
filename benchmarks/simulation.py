"""Electrons a second of the default apparatus in memory and with writing, memory, and the cost against the samples.

`torch_operations_a_batch` are those of records made on a device and of the forward model's derivatives, whatever the
number of electrons. Long tracks are measured up to a million samples; `linearity` is the cost a sample of the longest
over that of the shortest of them: 1 is a linear function. The memory of a stream and of files of long tracks is that of
processes of their own.

python benchmarks/simulation.py [--events 6000] [--workers 2]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cres.provenance import git_commit
from cres.simulation import (
    ForwardModel,
    SimulationConfig,
    sample_electrons,
    simulate_columns,
    stream_records,
)
from cres.simulation.device_stream import DeviceElectrons
from cres.simulation.parameters import parameters_of
from cres.simulation.writer import simulate_to_files
from reconstruction.command import Parser

CHUNK = 500
LONG = (32_768, 131_072, 524_288, 1_048_576)
LONG_ROWS = 8


def generate(config: SimulationConfig, start: int) -> float:
    """Simulate one chunk in memory; return what it took of the processor, seconds."""
    begin = time.process_time()
    columns = simulate_columns(config, sample_electrons(config, CHUNK, 1, start))
    assert np.square(columns["output_ts_I"]).sum() > 0
    return time.process_time() - begin


def rates_in_memory(pool: ProcessPoolExecutor, config: SimulationConfig, events: int) -> dict[str, float]:
    """Return electrons a second of the clock, and of one core's processor time, which a busy machine hardly changes."""
    begin = time.perf_counter()
    starts = range(0, events, CHUNK)
    seconds = list(pool.map(generate, [config] * len(starts), starts))
    made = len(starts) * CHUNK
    return {"a_second": made / (time.perf_counter() - begin), "a_processor_second": made / sum(seconds)}


def with_samples(config: SimulationConfig, samples: int) -> SimulationConfig:
    return dataclasses.replace(config, readout=dataclasses.replace(config.readout, samples=samples))


def three_modes() -> SimulationConfig:
    return SimulationConfig.from_yaml(Path(__file__).parents[1] / "configs/simulation/cavity_26ghz_modes.yaml")


def seconds_per_long_electron(config: SimulationConfig, samples: int) -> float:
    """Time of one electron of so many samples, in one process, streamed: nothing is kept."""
    electrons = sample_electrons(config, LONG_ROWS, 1)
    begin = time.process_time()
    for _ in stream_records(with_samples(config, samples), electrons):
        pass
    return (time.process_time() - begin) / LONG_ROWS


def peak_of_long_files(config: SimulationConfig) -> float:
    """Write a file of long tracks; return the peak of this process, MiB."""
    with tempfile.TemporaryDirectory() as folder:
        simulate_to_files(with_samples(config, LONG[-1]), LONG_ROWS, Path(folder), 1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Dispatched(TorchDispatchMode):
    """Counts torch operations."""

    count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return function(*args, **(kwargs or {}))


def operations(config: SimulationConfig) -> dict[str, int]:
    """Return the torch operations that a batch takes, of any number of electrons that a device makes together."""
    source, model = DeviceElectrons(config), ForwardModel(config)
    starts = source.start_values(1, 0, 4)
    parameters = parameters_of(starts)
    calls = {"records": lambda: source.records(starts), "jacobian": lambda: model.jacobian(parameters)}
    counts = {}
    for name, call in calls.items():
        with Dispatched() as dispatched:
            call()
        counts[name] = dispatched.count
    return counts


def long_tracks(config: SimulationConfig, context: SpawnContext) -> dict[str, object]:
    """Return cost and memory of long tracks."""
    with ProcessPoolExecutor(1, context, torch.set_num_threads, (1,)) as pool:
        pool.submit(seconds_per_long_electron, config, LONG[0]).result()
        seconds = {samples: pool.submit(seconds_per_long_electron, config, samples).result() for samples in LONG}
    with ProcessPoolExecutor(1, context, torch.set_num_threads, (1,)) as pool:
        peak = pool.submit(peak_of_long_files, config).result()
    return {
        "cpu_seconds_per_electron_by_samples": seconds,
        "linearity": seconds[LONG[-1]] / LONG[-1] / (seconds[LONG[0]] / LONG[0]),
        "peak_memory_writing_a_million_samples_mib": peak,
    }


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--events", type=int, default=6000, help="electrons of each measurement")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    arguments = parser.parse_args()
    config, events = SimulationConfig.default(), arguments.events
    context = get_context("spawn")
    with ProcessPoolExecutor(arguments.workers, context, torch.set_num_threads, (1,)) as pool:
        list(pool.map(generate, [config] * arguments.workers, range(arguments.workers)))  # imports
        result: dict[str, object] = {
            "rows_in_memory": rates_in_memory(pool, config, events),
            "rows_in_memory_three_modes": rates_in_memory(pool, three_modes(), events // 2),
            "cpu_seconds_per_electron_by_samples": {
                samples: 1 / rates_in_memory(pool, with_samples(config, samples), events // 4)["a_processor_second"]
                for samples in (4096, 8192, 16384, 32768)
            },
        }
    result["torch_operations_a_batch"] = operations(config)
    result["long_tracks"] = long_tracks(config, context)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        simulate_to_files(config, events, Path(folder), 1, arguments.workers, CHUNK)
        result["rows_per_second_written"] = events / (time.perf_counter() - begin)
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    result |= {
        "peak_memory_of_a_process_mib": peak / 1024,
        "workers": arguments.workers,
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "git_commit": git_commit(),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
