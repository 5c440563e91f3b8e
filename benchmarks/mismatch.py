"""What a wrong forward model does: electrons of another apparatus, or in other noise, fitted with the default one.

    python benchmarks/mismatch.py --electrons 200

Prints, for resolved electrons, bias and spread of the energy, and how often the goodness of fit (p < 1e-3) objects.
"""

from __future__ import annotations

import argparse
import dataclasses

import numpy as np
import torch

from cres import errors, schema
from cres.estimation.apparatus import Apparatus
from cres.estimation.fit.likelihood import SMALLEST_GOODNESS, LikelihoodEstimator
from cres.estimation.search.matched_filter import MatchedFilter
from cres.simulation import SimulationConfig, sample_electrons, simulate_columns
from reconstruction.command import Parser

SEED = 31
RESOLVED_SNR = 25.0
BLOCK = 32


def trap(**changes: float) -> SimulationConfig:
    config = SimulationConfig.default()
    return dataclasses.replace(config, trap=dataclasses.replace(config.trap, **changes))


DEFAULT = SimulationConfig.default().trap
# name → (what makes the records, noise amplitude at the band's edges over that in its middle)
CASES = {
    "as assumed": (trap(), 1.0),
    "field 1e-6 higher": (trap(field_t=DEFAULT.field_t * (1 + 1e-6)), 1.0),
    "walls 0.1 % longer": (trap(gradient_length_m=DEFAULT.gradient_length_m * 1.001), 1.0),
    "flat part 0.1 % longer": (trap(flat_length_m=DEFAULT.flat_length_m * 1.001), 1.0),
    "flat part 2 % longer": (trap(flat_length_m=DEFAULT.flat_length_m * 1.02), 1.0),
    "noise 10 % higher at the band's edges": (trap(), 1.1),
}


def noise(shape: tuple[int, int], std_volt: float, edges: float, rate_hz: float) -> torch.Tensor:
    """Return complex noise whose amplitude rises quadratically from the band's middle, −65 MHz, to 40 MHz off it."""
    generator = torch.Generator().manual_seed(SEED)
    white = torch.view_as_complex(torch.randn(*shape, 2, dtype=torch.float64, generator=generator)) * std_volt
    offset = (torch.fft.fftfreq(shape[1], 1 / rate_hz, dtype=torch.float64) + 65e6).abs().clamp(max=40e6) / 40e6
    return torch.fft.ifft(torch.fft.fft(white) * (1 + (edges - 1) * offset.square()))


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--electrons", type=int, default=200, help="electrons a case (default 200)")
    count = parser.parse_args().electrons
    apparatus = Apparatus.from_config(SimulationConfig.default())
    estimator = LikelihoodEstimator(MatchedFilter(apparatus))
    print("| electrons made with | resolved | bias eV | σ68 eV | pull width | p < 1e-3 % |\n|---|---|---|---|---|---|")
    for name, (config, edges) in CASES.items():
        columns = simulate_columns(config, sample_electrons(config, count, SEED))
        clean = torch.from_numpy(columns[schema.SERIES_I] + 1j * columns[schema.SERIES_Q]).to(torch.complex128)
        rate = apparatus.reception.sampling_rate_hz
        records = clean + noise((len(clean), clean.shape[1]), apparatus.noise_std_volt, edges, rate)
        chosen = np.flatnonzero(columns["sideband_snr"] >= RESOLVED_SNR)
        fits = [estimator.estimate(records[rows]) for rows in np.split(chosen, range(BLOCK, len(chosen), BLOCK))]
        energy = np.concatenate([fit.parameters[:, 0].numpy() for fit in fits])
        std = np.concatenate([fit.covariance[:, 0, 0].sqrt().numpy() for fit in fits])
        goodness = np.concatenate([fit.goodness.numpy() for fit in fits])
        residual = energy - columns[schema.ENERGY][chosen]
        low, high, pull_low, pull_high = (
            *np.quantile(residual, [0.15865, 0.84135]),
            *np.quantile(residual / std, [0.15865, 0.84135]),
        )
        objections = 100 * np.mean(goodness < SMALLEST_GOODNESS)
        print(
            f"| {name} | {len(chosen)} | {np.median(residual):.3f} | {(high - low) / 2:.3f} | "
            f"{(pull_high - pull_low) / 2:.2f} | {objections:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    errors.run(main)
