"""Latency and throughput of a checkpoint: electrons a second from raw volts, one at a time and in batches.

    python benchmarks/prediction.py runs/s4d/checkpoints/best.ckpt [--samples 8192] [--seconds 3]

Times hold views, scaling, encoder, head and the table's quantities (estimate and error bar); no reading of files.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from pathlib import Path

import torch

from cres.errors import UserError, run
from reconstruction.command import Parser
from reconstruction.training.network.reconstructor import Reconstructor
from reconstruction.training.runs.loading import load_reconstructor

BATCHES = (1, 8, 64, 256)
NOISE_VOLT = 0.0471


def time_batch(reconstructor: Reconstructor, volts: torch.Tensor, seconds: float) -> float:
    """Return the median time in s of one batch (batch, samples, 2), over repetitions of at least `seconds`."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    with torch.inference_mode():
        reconstructor(volts)
        while time.perf_counter() < end or len(times) < 3:
            started = time.perf_counter()
            distribution = reconstructor(volts)
            distribution.estimate.cpu(), distribution.error_bar.cpu()
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    """Print a line a batch size."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="written by python cli.py fit")
    parser.add_argument("--samples", type=int, default=8192, help="samples a record (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="time spent on each size (default: %(default)s)")
    options = parser.parse_args()
    if options.samples < 1 or options.seconds <= 0:
        raise UserError("--samples must be at least 1 and --seconds positive")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    reconstructor = load_reconstructor(options.checkpoint).to(device)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {device}")
    print(f"{'batch':>6} {'ms a batch':>11} {'electrons/s':>12}")
    for size in BATCHES:
        volts = NOISE_VOLT * torch.randn(size, options.samples, 2, device=device)
        seconds = time_batch(reconstructor, volts, options.seconds)
        print(f"{size:6d} {1e3 * seconds:11.1f} {size / seconds:12.0f}")


if __name__ == "__main__":
    run(main)
