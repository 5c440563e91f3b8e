"""The whole posterior of electrons between coils: whether a flow that is weighed by the likelihood states what is true.

    python benchmarks/posterior.py                                  a small size for two cores
    python benchmarks/posterior.py --events 60000 --epochs 40 --judged 10000      full size, on a GPU
    python benchmarks/posterior.py --run runs/mine --data mine.hdf5 --judged 500  a flow that is trained

Simulates electrons of configs/simulation/coils.yaml, trains configs/posterior.yaml, weighs its samples of unseen
electrons, and prints for the flow as it is and for its weighted samples: how far the probabilities below the truth are
from uniform (P–P) and how far chance takes them, how efficient the samples are, and how often the truth is in the inner
of two modes of the radius against the weight that was stated. A folder that is there is gone on with.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cres import errors
from cres.estimation.apparatus import Apparatus
from cres.estimation.fit.least_squares import RadialStrength
from cres.evaluation.resolved import resolved_mask
from cres.evaluation.weighted import VALUES, WeightedSamples
from cres.simulation import SimulationConfig
from reconstruction.command import Parser
from reconstruction.judging.tables.table import PredictionTable

ROOT = Path(__file__).parents[1]
APPARATUS = ROOT / "configs" / "simulation" / "coils.yaml"
CONFIG = ROOT / "configs" / "posterior.yaml"
CHANCE = 1.36
"""√n times the largest deviation of n uniform numbers that chance passes in one of twenty (Kolmogorov)."""
HEADS = (
    "electrons",
    "number",
    *(f"{name}, {of}" for name in ("energy", "pitch angle", "radius") for of in ("flow", "weighed")),
    "chance",
    "median efficiency %",
    "too few %",
)
INNER_BINS = ((0.0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.001))

Array = NDArray[np.float64]
Chosen = NDArray[np.bool_]


def run(*command: object) -> None:
    """Run a script of the checkout; its words go to the terminal."""
    subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, check=True)


def prepared(arguments: argparse.Namespace) -> Path:
    """Return the file of electrons, simulated where it is not there."""
    if arguments.data is not None:
        given: Path = arguments.data.absolute()
        return given
    folder = arguments.folder.absolute()
    data: Path = folder / "coils.hdf5"
    if not data.exists():
        raw = folder / "raw"
        run("scripts/simulate.py", "-c", APPARATUS, "--events", arguments.events, "--seed", 1, "--output", raw)
        run("scripts/data_prep.py", "--input", f"{raw}/*.pkl.gz", "--output", data)
    return data


def trained(arguments: argparse.Namespace, data: Path) -> Path:
    """Return the folder of the run, trained where it is not there."""
    if arguments.run is not None:
        given: Path = arguments.run.absolute()
        return given
    folder: Path = arguments.folder.absolute() / "run"
    if not (folder / "checkpoints" / "best.ckpt").exists():
        epochs = f"--trainer.max_epochs={arguments.epochs}"
        run("cli.py", "fit", "-c", CONFIG, f"--data.data={data}", f"--run={folder}", epochs, "--figures.every_epochs=0")
    return folder


def weighed(arguments: argparse.Namespace, data: Path, flow: Path) -> tuple[WeightedSamples, PredictionTable]:
    """Return weighted samples of unseen electrons, and their table."""
    table, samples = (arguments.folder.absolute() / name for name in ("posterior.hdf5", "samples.hdf5"))
    if not samples.exists():
        size = ("--limit", arguments.judged, "--samples", arguments.samples)
        where = ("--output", table, "--samples-file", samples)
        run("scripts/posterior.py", "--run", flow, "--data", data, *size, *where)
    return WeightedSamples.read(samples), PredictionTable.read(table)


def unweighted(samples: WeightedSamples) -> WeightedSamples:
    """Return the samples as the flow drew them, its defensive share among them."""
    return replace(samples, log_weight=np.zeros_like(samples.log_weight))


def deviation(samples: WeightedSamples, name: str, chosen: Chosen) -> float:
    """Return the largest distance of the probabilities below the truth from uniform, in per cent."""
    below = np.sort(samples.below(name, samples.truth[name])[chosen])
    steps = np.arange(len(below) + 1) / len(below)
    return 100 * float(max((steps[1:] - below).max(), (below - steps[:-1]).max()))


def line(label: str, samples: WeightedSamples, flow: WeightedSamples, chosen: Chosen) -> str:
    count = int(chosen.sum())
    efficiency = 100 * samples.efficiency[chosen]
    parts = [f"{label} | {count}"]
    parts += [f"{deviation(flow, name, chosen):.1f} | {deviation(samples, name, chosen):.1f}" for name in VALUES]
    few = 100 * samples.too_few[chosen].mean()
    return f"| {' | '.join(parts)} | {100 * CHANCE / np.sqrt(count):.1f} | {np.median(efficiency):.1f} | {few:.0f} |"


def modes(samples: WeightedSamples, chosen: Chosen) -> list[str]:
    """Return how often the truth is in the inner mode of the radius, by the stated weight of that mode."""
    strength = RadialStrength.measure(Apparatus.from_config(SimulationConfig.from_yaml(APPARATUS)))
    middle = float(strength.radius_m[strength.best])
    inner = samples.truth["radius_m"] < middle
    weight = (samples.weights * (samples.values["radius_m"] < middle)).sum(axis=1)
    lines = []
    for low, high in INNER_BINS:
        part = chosen & (weight >= low) & (weight < high)
        if part.any():
            share, stated = inner[part].mean(), weight[part].mean()
            error = 100 * np.sqrt(stated * (1 - stated) / part.sum())
            found = f"{100 * stated:.1f} | {100 * share:.1f} ± {error:.1f}"
            lines.append(f"| {low:g} to {min(high, 1):g} | {part.sum()} | {found} |")
    return lines


def sideband_snr(table: PredictionTable) -> Array:
    return np.asarray(table.column("sideband_snr"), np.float64)


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=12_000, help="electrons simulated, a tenth of them for judging")
    parser.add_argument("--epochs", type=int, default=5, help="epochs of the training (default 5)")
    parser.add_argument("--judged", type=int, default=1200, help="unseen electrons at most (default 1200)")
    parser.add_argument("--samples", type=int, default=2000, help="samples of each (default 2000)")
    parser.add_argument("--folder", type=Path, default=Path("runs/posterior_benchmark"), help="where all of it is kept")
    parser.add_argument("--run", type=Path, help="a flow that is trained already")
    parser.add_argument("--data", type=Path, help="its electrons")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    data = prepared(arguments)
    samples, table = weighed(arguments, data, trained(arguments, data))
    resolved = resolved_mask(sideband_snr(table))
    everyone = np.ones(len(samples), bool)
    enough = ~samples.too_few
    print("\nLargest P–P deviation in %, of the flow | of its weighted samples; what chance passes in one of twenty")
    print(f"| {' | '.join(HEADS)} |")
    print("|---" * len(HEADS) + "|")
    for label, chosen in (
        ("resolved", resolved),
        ("not resolved", ~resolved),
        ("all", everyone),
        ("resolved, enough samples", resolved & enough),
        ("all, enough samples", enough),
    ):
        print(line(label, samples, unweighted(samples), chosen))
    print("\n| weight of the inner mode | electrons | stated % | truth is in it % |\n|---|---|---|---|")
    print("\n".join(modes(samples, enough)))


if __name__ == "__main__":
    errors.run(main)
