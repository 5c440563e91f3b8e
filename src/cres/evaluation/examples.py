"""Tables with known resolution, tails and bias, for tests and for trying the evaluation without data."""

from __future__ import annotations

import numpy as np

from cres import schema
from reconstruction.judging.tables.table import PredictionTable


def example_table(
    count: int = 2000,
    *,
    std_scale: float = 1.0,
    bias: float = 0.0,
    tails: float = 0.0,
    worse: float = 1.0,
    estimator: str = "network",
    seed: int = 0,
    noise_seed: int = 1,
    kind: str = "estimate",
    uncertain: bool = True,
    truth: bool = True,
    split: str = "test",
) -> PredictionTable:
    """Draw electrons of `seed` and estimates whose true σ is `worse` × bound and whose stated σ is `std_scale` × that.

    `bias` is in units of the true σ; a fraction `tails` of the residuals is 30 times wider. With `kind` "bound" the
    table states the bound itself. Without `uncertain` or `truth` those columns are absent. All electrons are of one
    `split`. The numbers imitate the default apparatus; nothing is simulated.
    """
    random, noise = np.random.default_rng(seed), np.random.default_rng(noise_seed)
    energy = random.uniform(18500, 18700, count)
    pitch = np.rad2deg(np.arccos(np.cos(np.deg2rad(88)) * random.uniform(0, 1, count)))
    radius = 6.5e-3 * np.sqrt(random.uniform(0, 1, count))
    coupling = np.sin(np.pi * radius / 7.063e-3) ** 2 + 0.02
    sideband_snr = 200 * coupling * (90 - pitch) ** 1.5
    strength = 1 / np.sqrt(1 + sideband_snr)
    bound = {"energy_eV": 0.03 + 0.2 * strength, "pitch_angle_deg": 2e-3 + 0.02 * strength}
    estimates, std = {}, {}
    for (name, width), centre in zip(bound.items(), (energy, pitch), strict=True):
        spread = width * worse * np.where(noise.uniform(size=count) < tails, 30, 1)
        estimates[name] = centre + (0 if kind == "bound" else spread * noise.normal(size=count) + bias * width * worse)
        std[name] = width if kind == "bound" else width * worse * std_scale
    return PredictionTable.from_estimates(
        np.arange(count) + 1000,
        estimates,
        std=std if uncertain else None,
        truth={"energy_eV": energy, "pitch_angle_deg": pitch} if truth else None,
        observables={
            "radius_m": radius,
            "avg_axial_frequency_Hz": 7e6 + 1e6 * (90 - pitch),
            "avg_carrier_frequency_Hz": 25.905e9 - 49e3 * (energy - 18600) + 2e6 * (90 - pitch),
            "sideband_snr": sideband_snr,
            "signal_snr": 350 * coupling,
            schema.SPLIT: np.full(count, schema.SPLITS[split]),
        },
        estimator=estimator,
        kind="bound" if kind == "bound" else "estimate",
        seconds_per_electron=0.001,
        seed=seed,
    )
