"""How near networks come to the bound of a shower's energy: python benchmarks/shower_networks.py DATA TABLE [TABLE …]

DATA is the folder of a data set of electrons, the tables are predictions of its test split by `python cli.py test`. For
bins of the true energy: σ/E as the rms of estimate over truth, residual over the bound of the same showers (rms, each
shower its own; 1 is perfect), bias, and how often the truth is within one error bar. Beside them, of the same showers,
maximum likelihood of the layers and the sum of the cells, scaled in each bin so that its mean is right.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import itertools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from collider.showers.information import over_bound
from collider.showers.learning.bounds import bound_table, config_of, layer_model
from collider.showers.learning.files import ShowerFiles, shower_paths
from reconstruction.command import Parser
from reconstruction.judging.tables.table import PredictionTable

EDGES_GEV = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
ENERGY = "energy_gev"
Values = NDArray[np.float64]


def likelihood(files: ShowerFiles, wanted: NDArray[np.int64]) -> tuple[Values, Values]:
    """Return energies and their errors of the showers with these ids, by maximum likelihood of their layers."""
    order = np.argsort(files.event_ids)
    rows = order[np.searchsorted(files.event_ids, wanted, sorter=order)]
    layers = files.showers.cells_gev[rows].astype(np.float64).sum((2, 3))
    energy, relative, _ = layer_model(config_of(files.files[0]), "the data").fit(layers)
    return energy, energy * relative


def line(name: str, estimate: Values, std: Values | None, truth: Values, bound: Values) -> str:
    """Return one row of the table of a bin."""
    ratio, error = over_bound(estimate - truth, bound)
    relative = estimate / truth - 1
    inside = "" if std is None else f"{np.mean(np.abs(estimate - truth) < std):.1%}"
    spread = np.sqrt(np.mean(relative**2))
    return f"{name} | {spread:.2%} | {ratio:.3f} ± {error:.3f} | {relative.mean():+.2%} | {inside}"


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the data set")
    parser.add_argument("tables", type=Path, nargs="+", help="predictions of its test split")
    arguments = parser.parse_args()
    paths = [path for path in shower_paths(str(arguments.data)) if path.name != "bound.hdf5"]
    tables = [PredictionTable.read(path) for path in arguments.tables]
    *tables, bound = tables[0].join(*tables[1:], bound_table(paths))
    truth, least = bound.truth(ENERGY), bound.std(ENERGY)
    fitted, stated = likelihood(ShowerFiles(paths), bound.event_id)
    seen = tables[0].column("deposited_gev")
    print("| GeV | estimator | σ/E | rms over bound | bias | within 1σ |")
    print("|---" * 6 + "|")
    whole = [(EDGES_GEV[0], EDGES_GEV[-1]), (10.0, EDGES_GEV[-1])]
    for low, high in [*itertools.pairwise(EDGES_GEV), *whole]:
        chosen = (truth >= low) & (truth < high)
        place = f"{low:g}–{high:g} ({chosen.sum()})"
        if chosen.sum() < 2:
            continue
        energy, limit = truth[chosen], least[chosen]
        print(f"| {place} | bound | {np.sqrt(np.mean((limit / energy) ** 2)):.2%} | 1 | | |")
        for table in tables:
            own = line(table.estimator, table.mean(ENERGY)[chosen], table.std(ENERGY)[chosen], energy, limit)
            print(f"| {place} | {own} |")
        print(f"| {place} | {line('maximum likelihood', fitted[chosen], stated[chosen], energy, limit)} |")
        scaled = seen[chosen] / np.mean(seen[chosen] / energy)
        print(f"| {place} | {line('sum of the cells', scaled, None, energy, limit)} |")


if __name__ == "__main__":
    main()
