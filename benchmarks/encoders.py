"""Figure of each encoder's cost against the length of the record: one training step's forward and backward pass.

    python benchmarks/encoders.py                       writes docs/images/encoder_cost.png
    python benchmarks/encoders.py --longest 4096        shorter records only

Every encoder has the same width and reads the same two channels. S4D costs n log n at full resolution, the convnet and
the LSTM n, the Conformer n² once attention outweighs its other layers.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import torch

from cres.errors import UserError, run
from cres.progress import track
from reconstruction.command import Parser
from reconstruction.models import ConformerEncoder, ConvNetEncoder, Encoder, LSTMEncoder, S4DEncoder

mpl.use("Agg")
import matplotlib.pyplot as plt

WIDTH = 64
ENCODERS: dict[str, Callable[[], Encoder]] = {
    "S4D, every sample": lambda: S4DEncoder(2, WIDTH, 32, 4),
    "S4D, stride 4": lambda: S4DEncoder(2, WIDTH, 32, 4, stride=4),
    "S4D, 1 → 1/8 resolution": lambda: S4DEncoder(2, WIDTH, 32, 4, downsample=(2, 2, 2, 1)),
    "convnet": lambda: ConvNetEncoder(2, WIDTH),
    "LSTM, stride 16": lambda: LSTMEncoder(2, WIDTH, 2),
    "Conformer, stride 16": lambda: ConformerEncoder(2, WIDTH, 4),
}


def step_seconds(encoder: Encoder, length: int, repeats: int) -> float:
    """Fastest of a few passes, in seconds a record."""
    series = torch.randn(2, length, 2)
    best = math.inf
    for _ in range(repeats):
        start = time.perf_counter()
        encoder(series).square().mean().backward()
        best = min(best, time.perf_counter() - start)
    return best / len(series)


def measure(lengths: list[int], repeats: int) -> dict[str, list[float]]:
    """Seconds a record of each encoder at each length."""
    torch.manual_seed(0)
    encoders = {name: make() for name, make in ENCODERS.items()}
    costs: dict[str, list[float]] = {name: [] for name in ENCODERS}
    jobs = [(name, length) for length in lengths for name in ENCODERS]
    for name, length in track(jobs, "measuring", len(jobs), "sizes"):
        costs[name].append(step_seconds(encoders[name], length, repeats + 1))
    return costs


def draw(lengths: list[int], costs: dict[str, list[float]], path: Path) -> None:
    """One line an encoder, on logarithmic axes."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for (name, seconds), marker in zip(costs.items(), "os^Dv*", strict=True):
        axes.plot(lengths, [1e3 * value for value in seconds], marker=marker, label=name)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("samples in the record")
    axes.set_ylabel("forward + backward pass (ms a record)")
    axes.set_title(f"Cost against length: width {WIDTH}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=80)
    plt.close(figure)


def table(lengths: list[int], costs: dict[str, list[float]]) -> str:
    """Milliseconds a record as Markdown, lengths across; last column: exponent of the growth over the last doubling."""
    lines = [f"| samples | {' | '.join(f'{length:,}' for length in lengths)} | exponent |"]
    lines.append("|---|" + "---:|" * (len(lengths) + 1))
    for name, seconds in costs.items():
        exponent = math.log2(seconds[-1] / seconds[-2])
        cells = [*(f"{1e3 * value:.3g}" for value in seconds), f"{exponent:.2f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--longest", type=int, default=32_768, help="longest record (default: 32768 samples)")
    parser.add_argument("--repeats", type=int, default=3, help="passes of which the fastest counts (default: 3)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of torch (default: all cores)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).parents[1] / "docs" / "images" / "encoder_cost.png",
        help="figure (default: docs/images/encoder_cost.png)",
    )
    arguments = parser.parse_args()
    if arguments.longest < 2048:
        raise UserError(f"--longest must be at least 2048 samples, not {arguments.longest}")
    torch.set_num_threads(arguments.threads)
    lengths = [2**exponent for exponent in range(10, int(math.log2(arguments.longest)) + 1)]
    costs = measure(lengths, arguments.repeats)
    print(table(lengths, costs))
    draw(lengths, costs, arguments.output)
    print(f"figure: {arguments.output}")


if __name__ == "__main__":
    run(main)
