"""A shower's profile in thin layers from what thick ones saw: python benchmarks/shower_shapes.py DATA TABLE [TABLE …]

DATA is the folder of a data set of electrons, the tables are predictions of its test split by a model of
configs/showers/profile.yaml. For each thick layer, and for all: the rms error of the energies of the thin layers in it,
in per cent of the shower's energy, and how often the truth, which is what they read out, is within one error bar.
Beside the network: monotone cubic interpolation of the running sum, maximum likelihood of the parametrisation for the
thick layers, and what sampling and noise alone make, E, T and α known.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from collider.showers.information import shapes_of
from collider.showers.learning.bounds import config_of, layer_model
from collider.showers.learning.files import ShowerFiles, shower_paths
from collider.showers.shapes import Profiles, by_likelihood, given, interpolated, thick
from reconstruction.command import Parser
from reconstruction.judging.tables.table import PredictionTable

Values = NDArray[np.float64]


def line(name: str, found: Profiles, truth: Values, energy: Values, together: int) -> str:
    """Return one row of the table."""
    relative = (found.energies_gev - truth) / energy[:, None]
    inside = np.abs(found.energies_gev - truth) < found.std_gev
    cells = []
    for begin in [*range(0, truth.shape[1], together), None]:
        part = slice(None) if begin is None else slice(begin, begin + together)
        covered = "" if np.isnan(found.std_gev).all() else f", {inside[:, part].mean():.1%}"
        error = np.sqrt(np.mean(relative[:, part] ** 2))
        # showers are independent, layers of one are not
        own = np.mean(relative[:, part] ** 2, axis=1)
        doubt = own.std() / np.sqrt(len(own)) / (2 * error)
        cells.append(f"{error:.3%} ± {doubt:.3%}{covered}")
    return f"| {name} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the data set")
    parser.add_argument("tables", type=Path, nargs="+", help="predictions of its test split")
    parser.add_argument("--together", type=int, default=4, help="thin layers in a thick one (default: %(default)s)")
    arguments = parser.parse_args()
    together = arguments.together
    files = ShowerFiles([path for path in shower_paths(str(arguments.data)) if path.name != "bound.hdf5"])
    config = config_of(files.files[0])
    model = layer_model(config, arguments.data)
    first, *others = (PredictionTable.read(path) for path in arguments.tables)
    tables = first.join(*others)
    order = np.argsort(files.event_ids)
    place = np.searchsorted(files.event_ids, tables[0].event_id, sorter=order)
    rows = order[np.minimum(place, len(order) - 1)]
    if not np.array_equal(files.event_ids[rows], tables[0].event_id):
        raise SystemExit(f"{arguments.data} does not hold the showers of {arguments.tables[0]}")
    truth = files.showers.cells_gev[rows].sum((2, 3), dtype=np.float64)
    energy, t, alpha = (
        np.asarray(values, np.float64)[rows]
        for values in (files.showers.energy_gev, files.showers.t, files.showers.alpha)
    )
    seen = thick(truth, together)
    known = np.column_stack([np.log(energy), shapes_of(energy, t, alpha, config.medium)])
    depths = [f"{model.depth_edges_x0[i]:g}–{model.depth_edges_x0[i + together]:g} X0"
              for i in range(0, truth.shape[1], together)]  # fmt: skip
    print("| rms error, % of E | " + " | ".join(depths) + " | all |")
    print("|---" * (len(depths) + 2) + "|")
    nothing = np.full(truth.shape, np.nan)
    print(line("interpolation", Profiles(interpolated(seen, together), nothing), truth, energy, together))
    print(line("maximum likelihood", by_likelihood(model, seen, together), truth, energy, together))
    for table in tables:
        found = Profiles(*(np.stack(columns, axis=1) for columns in (
            [table.mean(target) for target in table.targets], [table.std(target) for target in table.targets]
        )))  # fmt: skip
        print(line(table.estimator, found, truth, energy, together))
    print(line("fluctuation alone", given(model, seen, together, known), truth, energy, together))


if __name__ == "__main__":
    main()
