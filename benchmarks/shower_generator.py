"""How well a network draws showers: python benchmarks/shower_generator.py [--steps 5000]

A flow (`collider.showers.generator`) learns the cells of electrons and photons of 1 to 100 GeV in 16 layers of lead and
argon, 0.8 to 1.2 X0 thick. Showers that it draws are told from simulated ones by a classifier that sees all cells and
what they were made from: the area under its ROC curve, 0.5 where nothing differs. Beside it the same of simulated
against simulated showers, which is chance, and of showers whose layers come from others of about the same energy, which
a classifier has to tell. Then moments of the profile and of the sum, and showers a second in processor time.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import dataclasses
import itertools
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from collider.showers.command import configs_folder
from collider.showers.config import ShowerConfig
from collider.showers.generator import Conditioned, ShowerGenerator, encoded, simulated
from collider.showers.particles import PHOTON
from collider.showers.separation import area_between
from reconstruction.command import Parser

THICKNESSES = (0.8, 0.9, 1.0, 1.1, 1.2)
EDGES_GEV = (1.0, 5.0, 20.0, 100.0)
JUDGED_SEED = 10_000
Values = NDArray[np.float64]


def setup() -> ShowerConfig:
    """Return the calorimeter: that of `leaking`, electrons and photons, without sectors."""
    whole = ShowerConfig.from_yaml(configs_folder() / "leaking.yaml")
    particles = dataclasses.replace(whole.particles, kinds={"electron": 1.0, "photon": 1.0})
    return dataclasses.replace(whole, particles=particles, grid=dataclasses.replace(whole.grid, sectors=1))


def features(showers: Conditioned) -> Values:
    """Return what the classifier sees."""
    given = [np.log(showers.energy_gev), showers.layer_x0, showers.particle == PHOTON]
    return np.column_stack([encoded(showers), *given])


def shuffled(showers: Conditioned, layers: int, seed: int = 0) -> Conditioned:
    """Return showers each of whose layers is another one's, of the same particle, thickness and nearly the energy."""
    random = np.random.default_rng(seed)
    shares = (showers.cells_gev / showers.energy_gev[:, None]).reshape(len(showers), layers, -1)
    for kind in np.unique(showers.particle):
        for thickness in np.unique(showers.layer_x0):
            rows = np.flatnonzero((showers.particle == kind) & (showers.layer_x0 == thickness))
            rows = rows[np.argsort(showers.energy_gev[rows])]
            for group in np.array_split(rows, max(len(rows) // 10, 1)):
                for layer in range(layers):
                    shares[group, layer] = shares[random.permutation(group), layer]
    return dataclasses.replace(showers, cells_gev=shares.reshape(len(showers), -1) * showers.energy_gev[:, None])


def moments(showers: Conditioned, layers: int) -> dict[str, tuple[float, float]]:
    """Return what is compared, with its statistical error: of the profile in X0, and of the sum."""
    profile = showers.cells_gev.reshape(len(showers), layers, -1).sum(2)
    depth = (np.arange(layers) + 0.5) * showers.layer_x0[:, None]
    mean = (profile * depth).sum(1) / profile.sum(1)
    width = np.sqrt(np.maximum((profile * depth**2).sum(1) / profile.sum(1) - mean**2, 0))
    inner = showers.cells_gev.reshape(len(showers), layers, -1)[:, :, :3].sum((1, 2)) / profile.sum(1)
    total, count = profile.sum(1) / showers.energy_gev, len(showers)
    means = {"mean depth, X0": mean, "width, X0": width, "within 1 R_M": inner, "sum / E": total}
    found = {name: (float(values.mean()), float(values.std() / np.sqrt(count))) for name, values in means.items()}
    for name, values in (("spread of the depth, X0", mean), ("σ of sum / E", total)):
        found[name] = (float(values.std()), float(values.std() / np.sqrt(2 * count)))
    return found


def trained(config: ShowerConfig, arguments: argparse.Namespace) -> ShowerGenerator:
    """Return a generator that was trained before, or train one and keep it."""
    generator = ShowerGenerator(config.cells.cells)
    if arguments.load:
        generator.load_state_dict(torch.load(arguments.load, map_location="cpu"))
        return generator
    known = simulated(config, THICKNESSES, arguments.events, "train", 1)
    begin = time.process_time()
    losses = generator.fit(known, arguments.steps)
    taken = time.process_time() - begin
    last = np.mean(losses[-200:])
    print(
        f"trained: {len(known)} showers, {arguments.steps} steps, {taken:.0f} s of processor, loss {last:.4f}",
        flush=True,
    )
    if arguments.save:
        torch.save(generator.state_dict(), arguments.save)
    return generator


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--events", type=int, default=8000, help="showers of each of five thicknesses (default: %(default)s)"
    )
    parser.add_argument("--judged", type=int, default=2000, help="of each, to judge with (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=5000, help="of the training (default: %(default)s)")
    parser.add_argument("--save", type=Path, help="file for the trained state")
    parser.add_argument("--load", type=Path, help="file of a trained state, which is judged without training")
    arguments = parser.parse_args()
    config = setup()
    layers = config.grid.layers
    generator = trained(config, arguments)
    begin = time.process_time()
    truth = simulated(config, THICKNESSES, arguments.judged, "validation", JUDGED_SEED)
    simulating = time.process_time() - begin
    again = simulated(config, THICKNESSES, arguments.judged, "validation", 2 * JUDGED_SEED)
    begin = time.process_time()
    drawn = generator.generate(again.energy_gev, again.particle, again.layer_x0, seed=3)
    drawing = time.process_time() - begin
    print(f"\n| classifier tells from {len(truth)} simulated showers | area under the curve |\n|---|---|")
    for name, other in (
        ("simulated", again),
        ("drawn by the network", drawn),
        ("layers of others", shuffled(again, layers)),
    ):
        area, chance = area_between(features(truth), features(other))
        print(f"| {name} | {area:.3f} (chance: 0.5 ± {chance:.3f}) |")
    names = list(moments(truth, layers))
    print("\n| GeV | particle | showers | " + " | ".join(names) + " |")
    print("|---" * (len(names) + 3) + "|")
    for low, high in itertools.pairwise(EDGES_GEV):
        for kind, code in (("electron", 11), ("photon", 22)):
            for label, showers in (("simulated", truth), ("drawn", drawn)):
                chosen = (showers.energy_gev >= low) & (showers.energy_gev < high) & (showers.particle == code)
                found = moments(showers.select(chosen), layers)
                cells = " | ".join(f"{value:.4f} ± {error:.4f}" for value, error in found.values())
                print(f"| {low:g}–{high:g} | {kind} | {label} | {cells} |")
    print(f"\nshowers a second of processor: {len(truth) / simulating:.0f} simulated, {len(drawn) / drawing:.0f} drawn")


if __name__ == "__main__":
    main()
