"""How near estimators come to the Cramér–Rao bound, and what an electron costs.

    python benchmarks/efficiency.py                        2 300 electrons of the default apparatus at nominal noise
    python benchmarks/efficiency.py --electrons 100        a look
    python benchmarks/efficiency.py --data FILE --network predictions.hdf5 --folder runs/efficiency
                                                           the test split, with a trained network
    python benchmarks/efficiency.py --network pretrained --methods     the model that comes with the package, alone

Without --network a stand-in seeds the likelihood: the truth smeared by 1.2 eV and 0.014°, the published resolution of
the collaboration's network. Electrons go in blocks, through all methods in turn; each block's tables stay in --folder,
so that the same command after an interruption goes on where it was; --data and --network can also name the electrons of
such a folder (cres.hdf5, --fractions 0.5 0 0.5) and a network's predictions of them.

Prints two Markdown tables: what bounds of other names are over the tied one (docs/concepts/bound.md), electron by
electron; and the estimators over the tied bound. There over bound = median(|residual|/bound)/0.6745, followed by rms
and σ68 of residual/bound and the median of stated uncertainty/bound. In brackets half the 68 % interval of a bootstrap
over electrons, in units of the last digits. Times are those of the processor, without reading and noise; the seeded
likelihood's come on top of the network's, whose row says what its own cost was where it ran.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import platform
import tempfile
from pathlib import Path

import numpy as np
import torch

import cres
from cres import errors, schema
from cres.data.prepare.preparation import prepare
from cres.errors import UserError
from cres.estimation.bound.electrons import BOUNDS, TIED
from cres.estimation.methods.recordings import FRACTIONS, Recordings
from cres.estimation.methods.registry import run
from cres.estimation.methods.task import Task
from cres.evaluation.resolved import ENERGY_GOAL, resolved_mask
from cres.provenance import git_commit
from cres.simulation import SimulationConfig
from cres.simulation.writer import simulate_to_files
from reconstruction.command import Parser
from reconstruction.judging.measures.bootstrap import Figure, Sample, bootstrapped
from reconstruction.judging.measures.metrics import resolution_metrics
from reconstruction.judging.measures.numbers import in_brackets
from reconstruction.judging.tables.table import PredictionTable

STAND_IN_STD = {schema.ENERGY: 1.2, schema.PITCH_ANGLE: 0.014}
SEED = 2026
BLOCK = 512
RESAMPLES = 400
PRETRAINED = "pretrained"
# These fit curves on training electrons first: all electrons are one block.
WHOLE = ("carrier", "peaks", "matched-filter")


def parse_arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--electrons", type=int, default=2300, help="electrons to estimate (default 2300)")
    parser.add_argument("--data", default=None, help="prepared data; without it electrons are simulated")
    parser.add_argument("--network", default=None, help="predictions of a network on the same data, or pretrained")
    parser.add_argument("--split", default="test", help="test for figures, validation to steer by (default test)")
    parser.add_argument(
        "--fractions", type=float, nargs=3, default=FRACTIONS, help="training, validation, test: as the network's data"
    )
    parser.add_argument("--methods", nargs="*", default=["peaks", "matched-filter", "likelihood", "seeded"])
    parser.add_argument("--folder", type=Path, default=None, help="keep the blocks' tables here and go on from them")
    return parser.parse_args()


def simulated(electrons: int, folder: Path) -> Path:
    """Return a prepared file of twice as many electrons: half fit the simple estimators, half are estimated.

    A folder that has one already keeps it.
    """
    path = folder / "cres.hdf5"
    if not path.exists():
        simulate_to_files(SimulationConfig.default(), 2 * electrons, folder, SEED, os.cpu_count() or 1, 1000)
        prepare([str(folder / "*.pkl.gz")], str(path))
    return path


def stand_in(bound: PredictionTable, folder: Path) -> Path:
    """Write the predictions of a network of the published resolution."""
    rng = np.random.default_rng(SEED)
    values = {name: bound.truth(name) + std * rng.normal(size=len(bound)) for name, std in STAND_IN_STD.items()}
    table = PredictionTable.from_estimates(
        bound.event_id,
        values,
        estimator="stand-in for a network",
        std={name: np.full(len(bound), std) for name, std in STAND_IN_STD.items()},
        truth={name: bound.truth(name) for name in STAND_IN_STD},
        observables={"sideband_snr": bound.column("sideband_snr")},
    )
    return table.write(folder / "network.hdf5")


def shipped(recordings: Recordings, rows: np.ndarray, folder: Path) -> Path:
    """Write the predictions of the model that comes with the package, whose training held other electrons."""
    model, parts = cres.pretrained("cavity_26ghz"), []
    for part in np.split(rows, range(BLOCK, len(rows), BLOCK)):
        truth = {name: recordings.truth(name, part) for name in (*model.targets, "sideband_snr")}
        volts = recordings.series(part).numpy()
        parts.append(model(volts, event_id=recordings.records.event_ids[part], truth=truth).table)
    return joined(parts).write(folder / "pretrained.hdf5")


def row(table: PredictionTable, bound: PredictionTable, chosen: np.ndarray, label: str) -> str:
    """Return one line of the table for the chosen electrons."""
    residual, limit = table.residual(schema.ENERGY)[chosen], bound.std(schema.ENERGY)[chosen]
    figures = resolution_metrics(residual, table.std(schema.ENERGY)[chosen], limit, near=ENERGY_GOAL.near)
    covered = figures["coverage1"].value
    seconds = table.attributes.get("seconds_per_electron")
    cells = (
        in_brackets(figures["bound_ratio"]),
        in_brackets(figures["bound_rms"]),
        in_brackets(figures["bound_sigma68"]),
        in_brackets(median(table.std(schema.ENERGY)[chosen] / limit)),
        in_brackets(figures["sigma68"]),
        f"{in_brackets(figures['pull_width'])}, {figures['pull_rms'].value:.2f}",
        f"{100 * covered:.1f} ± {100 * np.sqrt(covered * (1 - covered) / chosen.sum()):.1f}",
        f"{100 * np.mean(~(np.abs(residual) <= 6 * limit)):.2f}",
        f"{100 * figures['near_fraction'].value:.1f}",
        f"{1e3 * seconds:.1f}" if seconds else "",
    )
    return f"| {table.estimator} | {label} ({chosen.sum()}) | " + " | ".join(cells) + " |"


def median(values: np.ndarray) -> Figure:
    """Return the median with its interval."""
    values = values[np.isfinite(values)]
    figures = bootstrapped(lambda weights: {"": Sample(values, weights).quantile(0.5)}, len(values), RESAMPLES, SEED)
    return figures[""]


def bounds_table(bounds: dict[str, PredictionTable]) -> list[str]:
    """Return the lines of the table that says what the knowledge of the radiated power is worth."""
    tied = bounds[TIED]
    resolved = resolved_mask(tied.column("sideband_snr"))
    lines = ["| bound | electrons | median eV | over the tied one | 5 % to 95 % |", "|---|---|---|---|---|"]
    for name, table in bounds.items():
        for label, chosen in (("resolved", resolved), ("all", np.ones(len(tied), dtype=bool))):
            std = table.std(schema.ENERGY)[chosen]
            ratio = std / tied.std(schema.ENERGY)[chosen]
            low, high = np.quantile(ratio, [0.05, 0.95])
            cells = (in_brackets(median(std)), in_brackets(median(ratio)), f"{low:.3f} to {high:.3f}")
            lines.append(f"| {name.replace('-', ' ')} | {label} ({chosen.sum()}) | " + " | ".join(cells) + " |")
    return lines


def in_blocks(tasks: list[Task], electrons: int, folder: Path) -> list[PredictionTable]:
    """Run all tasks block by block, in turn; blocks that the folder has are read."""
    parts: list[list[PredictionTable]] = [[] for _ in tasks]
    for begin in range(0, electrons, BLOCK):
        for task, found in zip(tasks, parts, strict=True):
            whole = task.method in WHOLE
            if whole and begin:
                continue
            path = folder / f"{task.method}{kind_of(task)}_{begin:06d}.hdf5"
            count = electrons if whole else min(BLOCK, electrons - begin)
            if not path.exists():
                run(dataclasses.replace(task, first=begin, limit=count)).write(path)
            table = PredictionTable.read(path)
            if len(table) != count:
                raise UserError(f"{path} holds {len(table)} electrons, not {count}: it is of another run, remove it")
            found.append(table)
    return [joined(found) for found in parts]


def kind_of(task: Task) -> str:
    """Return what tells the tables of one method apart: which bound, seeded by which predictions."""
    if task.method == "bound":
        return f"_{task.bound}"
    if task.method == "seeded" and task.network:
        return "_" + hashlib.sha256(PredictionTable.read(task.network).mean(schema.ENERGY).tobytes()).hexdigest()[:8]
    return ""


def joined(parts: list[PredictionTable]) -> PredictionTable:
    """Return the tables of blocks as one, its time the mean."""
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns}
    seconds = sum(part.attributes["seconds_per_electron"] * len(part) for part in parts) / sum(map(len, parts))
    return PredictionTable(columns, {**parts[0].attributes, "seconds_per_electron": seconds})


def main() -> None:
    arguments = parse_arguments()
    if arguments.network not in (None, PRETRAINED) and not arguments.data:
        raise UserError("--network goes with --data: the network has seen no simulated electrons of this run")
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        data = arguments.data or str(simulated(arguments.electrons, folder))
        fractions = tuple(arguments.fractions) if arguments.data else (0.5, 0.0, 0.5)

        def task(method: str, network: str | None = None, bound: str = TIED) -> Task:
            return Task(data, method, arguments.split, fractions=fractions, network=network, bound=bound)

        recordings = Recordings(data, fractions=fractions)
        rows = recordings.rows(arguments.split, arguments.electrons)
        electrons = len(rows)
        tables = in_blocks([task("bound", bound=name) for name in BOUNDS], electrons, folder)
        bounds = dict(zip(BOUNDS, tables, strict=True))
        bound = bounds[TIED]
        if arguments.network == PRETRAINED:
            network = str(shipped(recordings, rows, folder))
        else:
            network = arguments.network or str(stand_in(bound, folder))
        tables = in_blocks([task(method, network) for method in arguments.methods], electrons, folder)
        network_table = PredictionTable.read(network)
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, commit {git_commit()}")
    print(f"{len(bound)} electrons; bound {1e3 * bound.attributes['seconds_per_electron']:.0f} ms an electron\n")
    print(*bounds_table(bounds), "", sep="\n")
    print("| estimator | electrons | over bound | rms/bound | σ68/bound | stated/bound | σ68 eV | pull width, raw "
          "| coverage % | > 6 bounds % | in 3 eV % | ms |\n" + "|---" * 12 + "|")  # fmt: skip
    for table in (network_table, *tables):
        joined, reference = table.join(bound)
        resolved = resolved_mask(reference.column("sideband_snr"))
        for label, chosen in (("resolved", resolved), ("all", np.ones(len(joined), dtype=bool))):
            print(row(joined, reference, chosen, label))
    seconds = {table.estimator: table.attributes["seconds_per_electron"] for table in tables}
    if {"maximum likelihood", "network-seeded likelihood"} <= seconds.keys():
        cheaper = seconds["maximum likelihood"] / seconds["network-seeded likelihood"]
        print(f"\nseeded by the network: {cheaper:.1f} times cheaper than from the bank")


if __name__ == "__main__":
    errors.run(main)
