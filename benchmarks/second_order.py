"""What a fit of lines errs beyond the Cramér–Rao bound, which is the first order in one over the SNR: a toy beside it.

    python benchmarks/second_order.py --electrons 40 --trials 1500

Takes the heights of the lines of simulated electrons and nothing else of the program: lines of these heights stand far
apart in short records with noise of variance 1, and are fitted by Gauss–Newton steps from the truth in the phases and
frequencies of carrier and axial motion and in the strength. Prints, for electrons in bins of their sideband SNR, the
squared half-width of the central 68 % of fitted spacings and carriers over the bound, and how often the spacing lies
within one error bar as the likelihood states it (inverse information, less what of the fitted power is noise).
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import itertools
import math

import numpy as np
import torch
from numpy.typing import NDArray

from cres import errors
from cres.resources import simulation_config
from cres.simulation import SimulationConfig
from cres.simulation.electrons import sample_electrons
from cres.simulation.rendered_lines import RenderedLines
from reconstruction.command import Parser, whole

Array = NDArray[np.float64]
SAMPLES, SPACING = 256, 9.0
"""Of a made-up record; between its lines, in their own widths."""
ROUNDS, AT_ONCE = 12, 250
EDGES = (14.0, 25.0, 40.0, 55.0, math.inf)
TAKEN = 2.5
"""Of the fitted SNR that is noise: half a unit of χ² for each of five free parameters."""
CARRIER, AXIAL = 1, 3


class Lines:
    """Records of lines at ω + mΔ, phases and a strength, around given ones. heights: (line,); orders: (line,)."""

    def __init__(self, heights: NDArray[np.complex128], orders: Array) -> None:
        self.heights, self.orders = heights / math.sqrt(SAMPLES), orders
        self.time = (np.arange(SAMPLES) - (SAMPLES - 1) / 2) / SAMPLES

    def __call__(self, values: Array) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
        """Return records (row, sample) and their slopes (row, sample, 5) at (φ, ω, ψ, Δ, ln A)."""
        carrier = values[:, 0, None] + values[:, 1, None] * self.time
        axial = values[:, 2, None] + (2 * np.pi * SPACING + values[:, 3, None]) * self.time
        phases = carrier[:, None] + self.orders[:, None] * axial[:, None]
        each = self.heights[:, None] * np.exp(1j * phases + values[:, 4, None, None])
        record, moved = each.sum(axis=1), (each * self.orders[:, None]).sum(axis=1)
        slopes = [1j * record, 1j * record * self.time, 1j * moved, 1j * moved * self.time, record]
        return record, np.stack(slopes, axis=2)


def information(slopes: NDArray[np.complex128]) -> Array:
    """Return the Fisher information (row, 5, 5) in noise of variance 1."""
    found: Array = np.real(np.einsum("tni,tnj->tij", slopes.conj(), slopes))
    return found


def fitted(lines: Lines, random: np.random.Generator, rows: int) -> tuple[Array, Array]:
    """Return fits (row, 5) of the truth, 0, in noise, and their variances by the information at the fit."""
    found: Array = np.zeros((rows, 5))
    clean, _ = lines(found)
    seen = clean + random.standard_normal(clean.shape) + 1j * random.standard_normal(clean.shape)
    for _ in range(ROUNDS):
        made, slopes = lines(found)
        known = information(slopes)
        score = np.real(np.einsum("tni,tn->ti", slopes.conj(), seen - made))
        found += np.linalg.solve(known, score[:, :, None])[:, :, 0]
    variance = np.linalg.inv(known).astype(np.float64).diagonal(axis1=1, axis2=2)
    return found, variance


def figures(lines: Lines, snr: float, trials: int, random: np.random.Generator) -> tuple[float, float, float]:
    """Return the squared widths of spacing and carrier over the bound, and the coverage of the spacing's error bar."""
    parts = [fitted(lines, random, min(AT_ONCE, trials - begun)) for begun in range(0, trials, AT_ONCE)]
    found, variance = (np.concatenate(part) for part in zip(*parts, strict=True))
    bound = np.linalg.inv(information(lines(np.zeros((1, 5)))[1])[0]).diagonal()
    low, high = np.quantile(found, (0.1587, 0.8413), axis=0)
    ratio = ((high - low) / 2) ** 2 / bound
    stated = np.sqrt(variance[:, AXIAL] / (1 - min(TAKEN / snr, 0.5)))
    return float(ratio[AXIAL]), float(ratio[CARRIER]), float(np.mean(np.abs(found[:, AXIAL]) < stated))


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--apparatus", default="cavity_26ghz_modes", help="a name in configs/simulation")
    parser.add_argument("--electrons", type=whole(), default=40, help="with sidebands of an SNR of 14 or more")
    parser.add_argument("--trials", type=whole(), default=1500, help="fits of each")
    arguments = parser.parse_args()
    rendering = RenderedLines(arguments.apparatus)
    config = SimulationConfig.from_yaml(simulation_config(arguments.apparatus))
    electrons = sample_electrons(config, 20 * arguments.electrons, 5)
    columns = (electrons.energy_ev, electrons.pitch_angle_deg, electrons.radius_m)
    truths = {name: torch.from_numpy(values) for name, values in zip(rendering.given, columns, strict=True)}
    made = rendering.heights(truths, config.readout.samples).numpy().reshape(len(electrons), -1, 2) @ [1, 1j]
    orders = np.array(rendering.harmonics, dtype=np.float64)
    sidebands = (np.abs(made[:, orders != 0]) ** 2).sum(axis=1) / 2
    chosen = np.flatnonzero(sidebands >= EDGES[0])[: arguments.electrons]
    random = np.random.default_rng(1)
    rows = np.array(
        [
            figures(Lines(made[i], orders), float((np.abs(made[i]) ** 2).sum() / 2), arguments.trials, random)
            for i in chosen
        ]
    )
    print("| sideband SNR | electrons | spacing: (σ68 / bound)² | carrier | spacing within one error bar (%) |")
    print("|---|---:|---:|---:|---:|")
    for low, high in itertools.pairwise(EDGES):
        here = (sidebands[chosen] >= low) & (sidebands[chosen] < high)
        if here.any():
            count = int(here.sum())
            error = 1.2 / math.sqrt(count * arguments.trials)
            spacing, carrier, share = rows[here].mean(axis=0)
            cells = [f"{sidebands[chosen][here].mean():.0f}", str(count), f"{spacing:.3f} ± {2 * error:.3f}"]
            cells += [f"{carrier:.3f}", f"{100 * share:.1f} ± {100 * 0.47 / math.sqrt(count * arguments.trials):.1f}"]
            print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    errors.run(main)
