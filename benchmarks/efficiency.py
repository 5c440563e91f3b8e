"""How near estimators come to the Cramér–Rao bound, and what an electron costs.

    python benchmarks/efficiency.py                        2 000 electrons of the default apparatus at nominal noise
    python benchmarks/efficiency.py --electrons 100        a look
    python benchmarks/efficiency.py --data FILE --network predictions.hdf5      the test split, with a trained network

Without --network a stand-in seeds the likelihood: the truth smeared by 1.2 eV and 0.014°, the published resolution of
the collaboration's network. Prints a Markdown table; ratio = median(|residual|/bound)/0.6745.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from pathlib import Path

import numpy as np
import torch

from cres import errors, schema
from cres.data.prepare import prepare
from cres.estimation.methods import run
from cres.estimation.recordings import FRACTIONS
from cres.estimation.task import Task
from cres.evaluation.table import PredictionTable
from cres.provenance import git_commit
from cres.simulation import SimulationConfig
from cres.simulation.writer import simulate_to_files

RESOLVED_SNR = 25.0
STAND_IN_STD = {schema.ENERGY: 1.2, schema.PITCH_ANGLE: 0.014}
MEDIAN_OF_ABSOLUTE_NORMAL = 0.6745
SEED = 2026


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--electrons", type=int, default=2000, help="electrons to estimate (default 2000)")
    parser.add_argument("--data", default=None, help="prepared data; without it electrons are simulated")
    parser.add_argument("--network", default=None, help="predictions table of a network on the same data")
    parser.add_argument("--methods", nargs="+", default=["peaks", "matched-filter", "likelihood", "seeded"])
    return parser.parse_args()


def simulated(electrons: int, folder: Path) -> Path:
    """Return a prepared file of twice as many electrons: half fit the simple estimators, half are estimated."""
    config = SimulationConfig.default()
    simulate_to_files(config, 2 * electrons, folder, SEED, os.cpu_count() or 1, 1000)
    prepare([str(folder / "*.pkl.gz")], str(folder / "cres.hdf5"))
    return folder / "cres.hdf5"


def stand_in(bound: PredictionTable, folder: Path) -> Path:
    """Write the predictions of a network of the published resolution."""
    rng = np.random.default_rng(SEED)
    values = {name: bound.truth(name) + std * rng.normal(size=len(bound)) for name, std in STAND_IN_STD.items()}
    spread = {name: np.full(len(bound), std) for name, std in STAND_IN_STD.items()}
    truth = {name: bound.truth(name) for name in STAND_IN_STD}
    table = PredictionTable.from_estimates(
        bound.event_id,
        values,
        estimator="stand-in for a network",
        std=spread,
        truth=truth,
        observables={"sideband_snr": bound.column("sideband_snr")},
    )
    return table.write(folder / "network.hdf5")


def row(table: PredictionTable, bound: PredictionTable, chosen: np.ndarray, label: str) -> str:
    """Return one line of the table for the chosen electrons."""
    residual = table.residual(schema.ENERGY)[chosen]
    ratio = np.abs(residual) / bound.std(schema.ENERGY)[chosen]
    pull = residual / table.std(schema.ENERGY)[chosen]
    seconds = table.attributes.get("seconds_per_electron")
    cells = (
        f"{np.median(ratio) / MEDIAN_OF_ABSOLUTE_NORMAL:.2f}",
        f"{half_central(residual):.3f}",
        f"{half_central(pull):.2f} ({np.std(pull):.2f})",
        f"{100 * np.mean(np.abs(pull) < 1):.1f}",
        f"{100 * np.mean(ratio > 6):.1f}",
        f"{100 * np.mean(np.abs(residual) < 3):.1f}",
        f"{1e3 * seconds:.0f}" if seconds else "",
    )
    return f"| {table.estimator} | {label} ({chosen.sum()}) | " + " | ".join(cells) + " |"


def half_central(values: np.ndarray) -> float:
    low, high = np.quantile(values, [0.15865, 0.84135])
    return float(high - low) / 2


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = arguments.data or str(simulated(arguments.electrons, folder))
        fractions = FRACTIONS if arguments.data else (0.5, 0.0, 0.5)

        def table_of(method: str, network: str | None = None) -> PredictionTable:
            return run(Task(data, method, limit=arguments.electrons, fractions=fractions, network=network))

        bound = table_of("bound")
        network = arguments.network or str(stand_in(bound, folder))
        tables = [table_of(method, network) for method in arguments.methods]
        network_table = PredictionTable.read(network)
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, commit {git_commit()}")
    print(f"{len(bound)} electrons; bound {1e3 * bound.attributes['seconds_per_electron']:.0f} ms an electron\n")
    print("| estimator | electrons | ratio | σ68 eV | pull width (raw) | coverage % | > 6 bounds % | in 3 eV % | ms |")
    print("|---|---|---|---|---|---|---|---|---|")
    for table in (network_table, *tables):
        joined, reference = table.join(bound)
        resolved = reference.column("sideband_snr") >= RESOLVED_SNR
        for label, chosen in (("resolved", resolved), ("all", np.ones(len(joined), dtype=bool))):
            print(row(joined, reference, chosen, label))


if __name__ == "__main__":
    errors.run(main)
