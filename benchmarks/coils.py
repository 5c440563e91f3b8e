"""The hard apparatus: what the posterior over the radius says of energy and radius, and whether it is true.

    python benchmarks/coils.py                      800 electrons of configs/simulation/coils.yaml, some ten minutes
    python benchmarks/coils.py --electrons 64       a look
    python benchmarks/coils.py --gain-off 0.05 --gain-std 0.05      records of a gain that is not the one assumed
    python benchmarks/coils.py --folder runs/coils  keeps blocks of electrons there, and goes on from them

Prints, for resolved electrons and for all, how often the stated intervals hold the true energy, and, for resolved ones,
how often the truth lies in the inner mode against the weight that the posterior gave it.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cres import errors, schema
from cres.estimation.apparatus import Apparatus
from cres.estimation.methods.model import radial_estimates
from cres.estimation.radial.posterior import RadialEstimator
from cres.estimation.search.matched_filter import MatchedFilter
from cres.evaluation.resolved import ENERGY_GOAL, resolved_mask
from cres.simulation import SimulationConfig, sample_electrons, simulate_columns
from reconstruction.command import Parser
from reconstruction.files import write_whole
from reconstruction.judging.measures.metrics import goal_share, sigma68

CONFIG = Path(__file__).parents[1] / "configs" / "simulation" / "coils.yaml"
BLOCK = 64
SEED = 4_100_000
OF_THE_ESTIMATE = ("fit_failed", "two_solutions", "inner_weight", *schema.interval95_names(schema.ENERGY))

Found = dict[str, NDArray[np.float64]]


def share(inside: NDArray[np.bool_]) -> str:
    part = float(np.mean(inside))
    return f"{100 * part:.1f} ± {100 * np.sqrt(part * (1 - part) / len(inside)):.1f}"


def line(label: str, found: Found, chosen: NDArray[np.bool_]) -> str:
    truth, std = found["true_ev"][chosen], found["std_ev"][chosen]
    residual = found["energy_ev"][chosen] - truth
    low, high = (found[name][chosen] for name in schema.interval95_names(schema.ENERGY))
    wide = (low <= truth) & (truth <= high)
    return (
        f"| {label} | {len(std)} | {sigma68(residual):.3f} | {np.median(std):.3f} | {sigma68(residual / std):.2f} | "
        f"{share(np.abs(residual) < std)} | {share(wide)} | {100 * np.mean(np.abs(residual) < 3):.0f} |"
    )


class Electrons:
    """Electrons of an endless sequence, block by block: their records with gain and noise, and what is found."""

    def __init__(self, gain_off: float, gain_std: float, seed: int) -> None:
        self.config = SimulationConfig.from_yaml(CONFIG)
        readout = dataclasses.replace(self.config.readout, gain_std=gain_std)
        self.apparatus = Apparatus.from_config(dataclasses.replace(self.config, readout=readout))
        self.estimator = RadialEstimator(MatchedFilter(self.apparatus))
        self.gain_off, self.seed = gain_off, seed

    def block(self, begin: int) -> Found:
        """Return what is found of one block, beside the truth."""
        start = time.process_time()
        columns = simulate_columns(self.config, sample_electrons(self.config, BLOCK, self.seed + begin))
        found = radial_estimates(self.estimator.estimate(self._records(columns, begin)))
        return {
            "energy_ev": found.values[schema.ENERGY],
            "std_ev": found.std[schema.ENERGY],
            "true_ev": columns[schema.ENERGY],
            "radius_m": columns["radius_m"],
            "sideband_snr": columns["sideband_snr"],
            **{name: np.asarray(found.extra[name], np.float64) for name in OF_THE_ESTIMATE},
            "seconds": np.full(BLOCK, (time.process_time() - start) / BLOCK),
        }

    def _records(self, columns: dict[str, NDArray[np.float32]], begin: int) -> torch.Tensor:
        """Return the records at gains drawn about the nominal one, with noise, which does not know of them."""
        gains = 1 + self.gain_off * np.random.default_rng([self.seed, begin]).standard_normal(BLOCK)
        clean = torch.from_numpy(columns[schema.SERIES_I] + 1j * columns[schema.SERIES_Q]).to(torch.complex128)
        generator = torch.Generator().manual_seed(self.seed + begin)
        noise = torch.randn(*clean.shape, 2, dtype=torch.float64, generator=generator)
        scaled = clean * torch.from_numpy(np.sqrt(gains))[:, None]
        return scaled + torch.view_as_complex(noise) * self.apparatus.noise_std_volt


def kept(electrons: Electrons, begin: int, folder: Path | None) -> Found:
    """Return a block from the folder, where it is there, else make it and leave it there."""
    known = electrons.apparatus.gain_std
    path = folder and folder / f"{electrons.seed + begin}_{electrons.gain_off:g}_{known:g}.npz"
    if path and path.exists():
        with np.load(path) as file:
            return dict(file)
    found = electrons.block(begin)
    if path:
        buffer = io.BytesIO()
        np.savez(buffer, **found)
        write_whole(path, buffer.getvalue())
    return found


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--electrons", type=int, default=800, help="electrons (default 800)")
    parser.add_argument("--gain-off", type=float, default=0.0, help="std of the records' power gains about the nominal")
    parser.add_argument("--gain-std", type=float, default=0.0, help="what estimators know of it (readout.gain_std)")
    parser.add_argument("--first", type=int, default=0, help="electrons to skip, of an endless sequence")
    parser.add_argument("--folder", type=Path, help="where blocks of electrons are kept, and taken from")
    arguments = parser.parse_args()
    electrons = Electrons(arguments.gain_off, arguments.gain_std, SEED + arguments.first)
    parts = []
    for begin in range(0, arguments.electrons, BLOCK):
        parts.append(kept(electrons, begin, arguments.folder))
        print(f"{min(begin + BLOCK, arguments.electrons)} of {arguments.electrons}", flush=True)
    found = {name: np.concatenate([part[name] for part in parts])[: arguments.electrons] for name in parts[0]}
    resolved = resolved_mask(found["sideband_snr"])
    print("\n| electrons | number | σ68 eV | median std eV | pull width | 68.3 % | 95.4 % | within 3 eV % |")
    print("|---|---|---|---|---|---|---|---|")
    for label, chosen in (("resolved", resolved), ("not resolved", ~resolved), ("all", resolved | True)):
        print(line(label, found, chosen))
    every = np.ones((1, len(found["true_ev"])))
    share_of_all = goal_share(found["energy_ev"] - found["true_ev"], found["std_ev"], every, ENERGY_GOAL.rms)[0]
    print(f"\n{100 * share_of_all:.1f} % of all, the surest first, have a residual of {ENERGY_GOAL.rms} eV rms")
    print(f"{1e3 * found['seconds'].mean():.0f} ms of processor an electron, simulation included")
    two, failed = found["two_solutions"][resolved], found["fit_failed"][resolved]
    print(f"\n{100 * two.mean():.0f} % of the resolved have two solutions; {failed.sum():.0f} fits are flagged")
    strength = electrons.estimator.strength
    inner = found["radius_m"][resolved] < strength.radius_m[strength.best].item()
    weight = found["inner_weight"][resolved]
    print("\n| weight of the inner mode | electrons | truth is in it |\n|---|---|---|")
    for low, high in ((0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.001)):
        part = (weight >= low) & (weight < high)
        if part.any():
            print(f"| {low} to {min(high, 1)} | {part.sum()} | {share(inner[part])} % |")


if __name__ == "__main__":
    errors.run(main)
