"""Electrons a second of the default apparatus in memory and with writing, memory, and the cost against the samples.

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
from pathlib import Path

import numpy as np
import torch

from cres.provenance import git_commit
from cres.simulation import SimulationConfig, sample_electrons, simulate_columns
from cres.simulation.writer import simulate_to_files

CHUNK = 500


def generate(config: SimulationConfig, start: int) -> float:
    """Simulate one chunk in memory; the sum proves that it was made."""
    columns = simulate_columns(config, sample_electrons(config, CHUNK, 1, start))
    return float(np.square(columns["output_ts_I"]).sum())


def rate_in_memory(pool: ProcessPoolExecutor, config: SimulationConfig, events: int) -> float:
    begin = time.perf_counter()
    starts = range(0, events, CHUNK)
    list(pool.map(generate, [config] * len(starts), starts))
    return len(starts) * CHUNK / (time.perf_counter() - begin)


def with_samples(config: SimulationConfig, samples: int) -> SimulationConfig:
    return dataclasses.replace(config, readout=dataclasses.replace(config.readout, samples=samples))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--events", type=int, default=6000, help="electrons of each measurement")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    arguments = parser.parse_args()
    config = SimulationConfig.default()
    context = get_context("spawn")
    with ProcessPoolExecutor(arguments.workers, context, torch.set_num_threads, (1,)) as pool:
        list(pool.map(generate, [config] * arguments.workers, range(arguments.workers)))  # imports
        result: dict[str, object] = {
            "electrons_per_second_in_memory": rate_in_memory(pool, config, arguments.events),
            "seconds_per_electron_by_samples": {
                samples: 1 / rate_in_memory(pool, with_samples(config, samples), arguments.events // 4)
                for samples in (4096, 8192, 16384, 32768)
            },
        }
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        simulate_to_files(config, arguments.events, Path(folder), 1, arguments.workers, CHUNK)
        result["electrons_per_second_written"] = arguments.events / (time.perf_counter() - begin)
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
