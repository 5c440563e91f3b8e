"""What each apparatus of configs/simulation resolves: share of resolved electrons, bound, likelihood.

    python benchmarks/presets.py                              400 electrons each, the likelihood on 60; half an hour
    python benchmarks/presets.py --presets tritium_35k        one of them
    python benchmarks/presets.py --likelihood 0               no likelihood: a few minutes

Resolved are electrons whose sidebands have an SNR of 25. The bound is the tied one (docs/concepts/bound.md), the median
over the electrons; likelihood: σ68 of the energy, and the largest share of electrons, the surest first, whose residual
is 0.3 eV rms. Networks are not trained here.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from cres import errors, schema
from cres.estimation.apparatus import Apparatus
from cres.estimation.bound.electrons import bound_of, freedom
from cres.estimation.fit.likelihood import LikelihoodEstimator, likelihood_estimates
from cres.estimation.search.matched_filter import MatchedFilter
from cres.evaluation.resolved import ENERGY_GOAL, resolved_mask
from cres.simulation import SimulationConfig, sample_electrons, simulate_columns
from cres.simulation.parameters import parameters_of
from reconstruction.command import Parser
from reconstruction.judging.measures.metrics import goal_share, sigma68

FOLDER = Path(__file__).parents[1] / "configs" / "simulation"
PRESETS = ("cavity_26ghz", "cavity_26ghz_modes", "tritium_35k", "krypton_45k", "atomic_tritium_1t", "low_frequency")
BLOCK_SAMPLES = 1 << 20
SEED = 7_200_000


def measured(config: SimulationConfig, count: int, fits: int) -> dict[str, np.ndarray]:
    """Return sideband SNR and bound of the electrons; residual, uncertainty and flag of the fits, NaN where none is."""
    apparatus, free = Apparatus.from_config(config), freedom(config)
    estimator = LikelihoodEstimator(MatchedFilter(apparatus)) if fits else None
    generator = torch.Generator().manual_seed(SEED)
    block = max(1, min(64, BLOCK_SAMPLES // config.readout.samples))
    parts: dict[str, list[np.ndarray]] = {"snr": [], "bound": [], "residual": [], "std": [], "failed": []}
    for begin in range(0, count, block):
        electrons = sample_electrons(config, min(block, count - begin), SEED + begin)
        columns, parameters = simulate_columns(config, electrons), parameters_of(electrons)
        parts["snr"].append(columns["sideband_snr"])
        parts["bound"].append(bound_of(apparatus, free, parameters).std_of("energy_ev").numpy())
        nothing = np.full(len(parameters), np.nan)
        residual, std, failed = nothing, nothing, nothing
        if estimator is not None and begin < fits:
            clean = torch.from_numpy(columns[schema.SERIES_I] + 1j * columns[schema.SERIES_Q]).to(torch.complex128)
            noise = torch.randn(*clean.shape, 2, dtype=torch.float64, generator=generator) * apparatus.noise_std_volt
            found = estimator.estimate(clean + torch.view_as_complex(noise))
            residual, failed = (found.parameters - parameters)[:, 0].numpy(), found.failed.double().numpy()
            std = likelihood_estimates(found).std[schema.ENERGY]
        parts["residual"].append(residual)
        parts["std"].append(std)
        parts["failed"].append(failed)
    return {name: np.concatenate(values) for name, values in parts.items()}


def line(name: str, config: SimulationConfig, found: dict[str, np.ndarray]) -> str:
    readout, resolved = config.readout, resolved_mask(found["snr"])
    share = resolved.mean()
    error = np.sqrt(share * (1 - share) / len(resolved))
    fitted = np.isfinite(found["residual"])
    some = fitted & resolved
    likelihood = f"{sigma68(found['residual'][some]):.3f} ({some.sum()})" if some.sum() >= 10 else "–"
    every = f"{sigma68(found['residual'][fitted]):.3f}" if fitted.sum() >= 10 else "–"
    made, sure = found["residual"][fitted], found["std"][fitted]
    good = f"{100 * goal_share(made, sure, np.ones((1, len(made))), ENERGY_GOAL.rms)[0]:.0f}" if len(made) else "–"
    bound = f"{np.median(found['bound'][resolved]):.3f}" if resolved.any() else "–"
    return (
        f"| `{name}` | {readout.temperature_k:.3g} | {readout.samples} | {1e6 * readout.duration_s:.4g} | "
        f"{100 * share:.0f} ± {100 * error:.0f} | {bound} | {np.median(found['bound']):.3f} | {likelihood} | {every} | "
        f"{good} | {int(np.nansum(found['failed']))} of {fitted.sum()} | not trained |"
    )


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=PRESETS, help="names of files in configs/simulation")
    parser.add_argument("--electrons", type=int, default=400, help="default: %(default)s")
    parser.add_argument("--likelihood", type=int, default=60, help="electrons to fit; default: %(default)s")
    arguments = parser.parse_args()
    print(
        "| apparatus | K | samples | µs | resolved % | bound, resolved (eV) | all | likelihood σ68, resolved (n) | "
        "all | share at 0.3 eV rms % | fits flagged | network |\n|---|---|---|---|---|---|---|---|---|---|---|---|",
        flush=True,
    )
    for name in arguments.presets:
        start = time.process_time()
        config = SimulationConfig.from_yaml(FOLDER / f"{name}.yaml")
        print(line(name, config, measured(config, arguments.electrons, arguments.likelihood)), flush=True)
        print(f"<!-- {time.process_time() - start:.0f} s of processor -->", flush=True)


if __name__ == "__main__":
    errors.run(main)
