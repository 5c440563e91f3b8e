"""The hard apparatus: what the posterior over the radius says of energy and radius, and whether it is true.

    python benchmarks/coils.py                      800 electrons of configs/simulation/coils.yaml, some ten minutes
    python benchmarks/coils.py --electrons 64       a look
    python benchmarks/coils.py --gain-off 0.05 --gain-std 0.05      records of a gain that is not the one assumed

Prints, for resolved electrons and for all, how often the stated intervals hold the true energy, and, for resolved ones,
how often the truth lies in the inner mode against the weight that the posterior gave it.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np
import torch

from cres import errors, schema
from cres.estimation.apparatus import Apparatus
from cres.estimation.estimates import Estimated, joined
from cres.estimation.methods.model import radial_estimates
from cres.estimation.radial.posterior import RadialEstimator
from cres.estimation.search.matched_filter import MatchedFilter
from cres.evaluation.resolved import resolved_mask
from cres.simulation import SimulationConfig, sample_electrons, simulate_columns
from reconstruction.judging.measures.metrics import sigma68

CONFIG = Path(__file__).parents[1] / "configs" / "simulation" / "coils.yaml"
BLOCK = 64
SEED = 4_100_000


def share(inside: np.ndarray) -> str:
    part = float(np.mean(inside))
    return f"{100 * part:.1f} ± {100 * np.sqrt(part * (1 - part) / len(inside)):.1f}"


def line(label: str, found: Estimated, truth: np.ndarray, chosen: np.ndarray) -> str:
    residual, std = found.values[schema.ENERGY][chosen] - truth[chosen], found.std[schema.ENERGY][chosen]
    low, high = (found.extra[name][chosen] for name in schema.interval95_names(schema.ENERGY))
    wide = (low <= truth[chosen]) & (truth[chosen] <= high)
    return (
        f"| {label} | {len(std)} | {sigma68(residual):.3f} | {np.median(std):.3f} | {sigma68(residual / std):.2f} | "
        f"{share(np.abs(residual) < std)} | {share(wide)} | {100 * np.mean(np.abs(residual) < 3):.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--electrons", type=int, default=800, help="electrons (default 800)")
    parser.add_argument("--gain-off", type=float, default=0.0, help="std of the records' power gains about the nominal")
    parser.add_argument("--gain-std", type=float, default=0.0, help="what estimators know of it (readout.gain_std)")
    parser.add_argument("--first", type=int, default=0, help="electrons to skip, of an endless sequence")
    arguments = parser.parse_args()
    count = arguments.electrons
    config = SimulationConfig.from_yaml(CONFIG)
    known = dataclasses.replace(config, readout=dataclasses.replace(config.readout, gain_std=arguments.gain_std))
    apparatus = Apparatus.from_config(known)
    seed = SEED + arguments.first
    gains = 1 + arguments.gain_off * np.random.default_rng(seed).standard_normal(count)
    estimator = RadialEstimator(MatchedFilter(apparatus))
    generator = torch.Generator().manual_seed(seed)
    start = time.process_time()
    parts, truths = [], []
    for begin in range(0, count, BLOCK):
        columns = simulate_columns(config, sample_electrons(config, min(BLOCK, count - begin), seed + begin))
        clean = torch.from_numpy(columns[schema.SERIES_I] + 1j * columns[schema.SERIES_Q]).to(torch.complex128)
        clean *= torch.from_numpy(np.sqrt(gains[begin : begin + len(clean)]))[:, None]
        noise = torch.randn(*clean.shape, 2, dtype=torch.float64, generator=generator) * apparatus.noise_std_volt
        parts.append(radial_estimates(estimator.estimate(clean + torch.view_as_complex(noise))))
        truths.append({name: columns[name] for name in (schema.ENERGY, "radius_m", "sideband_snr")})
        print(f"{begin + len(clean)} of {count}", flush=True)
    found = joined(parts)
    truth = {name: np.concatenate([part[name] for part in truths]) for name in truths[0]}
    resolved = resolved_mask(truth["sideband_snr"])
    good = ~found.extra["fit_failed"]
    print("\n| electrons | number | σ68 eV | median std eV | pull width | 68.3 % | 95.4 % | within 3 eV % |")
    print("|---|---|---|---|---|---|---|---|")
    for label, chosen in (("resolved", resolved), ("not resolved", ~resolved), ("all", resolved | True)):
        print(line(label, found, truth[schema.ENERGY], chosen))
    two = found.extra["two_solutions"][resolved]
    seconds = time.process_time() - start
    print(f"\n{1e3 * seconds / count:.0f} ms an electron, simulation included")
    print(
        f"\n{100 * np.mean(two):.0f} % of the resolved have two solutions; {np.sum(~good[resolved])} fits are flagged"
    )
    best = estimator.strength.radius_m[estimator.strength.best].item()
    inner, weight = truth["radius_m"][resolved] < best, found.extra["inner_weight"][resolved]
    print("\n| weight of the inner mode | electrons | truth is in it |\n|---|---|---|")
    for low, high in ((0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.001)):
        part = (weight >= low) & (weight < high)
        if part.any():
            print(f"| {low} to {min(high, 1)} | {part.sum()} | {share(inner[part])} % |")


if __name__ == "__main__":
    errors.run(main)
