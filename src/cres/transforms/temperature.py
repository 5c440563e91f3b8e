"""Noise temperature and spectral density: S = kT · gain, with the quantum limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from cres.physics.constants import BOLTZMANN_J_PER_K, PLANCK_J_S
from cres.stated import number


def effective_temperature_k(temperature_k: float | Tensor, frequency_hz: float | Tensor) -> Tensor:
    """Return T_eff = (hf/k) (½ + 1/(e^{hf/kT} − 1)): thermal and zero-point fluctuations (Callen and Welton 1951).

    T_eff → T for kT ≫ hf and → hf/2k, the quantum limit, for T → 0. Broadcasts, float64.
    """
    temperature = torch.as_tensor(temperature_k, dtype=torch.float64)
    quantum = PLANCK_J_S / BOLTZMANN_J_PER_K * torch.as_tensor(frequency_hz, dtype=torch.float64)
    return quantum * (0.5 + 1 / torch.expm1(quantum / temperature))


def thermal_density_w_per_hz(
    temperature_k: float | Tensor, gain: float = 1.0, frequency_hz: float | Tensor | None = None
) -> Tensor:
    """Return the density S = k T · gain (power gain); with a frequency, T_eff(T, f) in place of T. Float64."""
    temperature = torch.as_tensor(temperature_k, dtype=torch.float64)
    if frequency_hz is not None:
        temperature = effective_temperature_k(temperature, frequency_hz)
    return BOLTZMANN_J_PER_K * gain * temperature


def noise_temperature_k(density_w_per_hz: float | Tensor, gain: float = 1.0) -> Tensor:
    """Return the temperature T = S/(k · gain) of a density after a power gain. Float64."""
    return torch.as_tensor(density_w_per_hz, dtype=torch.float64) / (BOLTZMANN_J_PER_K * gain)


def stated_density_w_per_hz(readout: Mapping[str, Any], default: float) -> float:
    """Return the density of the nominal noise that a simulation's read-out states, by itself or as a temperature.

    `default` where it states neither as numbers: records that were measured, or of simulations of others.
    """
    kelvin, gain = number(readout.get("noise_temperature_k")), number(readout.get("gain"))
    if kelvin is not None and gain is not None:
        return float(thermal_density_w_per_hz(kelvin, gain))
    stated = number(readout.get("noise_density_w_per_hz"))
    return default if stated is None else stated
