"""Noise and other random changes of a record, drawn on the device, keyed by event.

Each transform is `forward(series (batch, time, channel) in volts, random, scale) -> series`. Channels are (I, Q) pairs,
one pair a read-out channel. `scale` multiplies the *power* of what is injected (the curriculum's noise scale).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cres.errors import UserError
from cres.transforms.spectrum import from_complex, to_complex
from cres.transforms.temperature import thermal_density_w_per_hz
from reconstruction.random.keyed import KeyedRandom
from reconstruction.random.transforms import PiecewiseTransform, Place
from reconstruction.shapes import Series

NOMINAL_DENSITY_W_PER_HZ = 2.2e-13
RESISTANCE_OHM = 50.0


def channel_std_volt(density_w_per_hz: float, sampling_rate_hz: float, resistance_ohm: float = RESISTANCE_OHM) -> float:
    """Return the standard deviation of white noise in I and in Q: σ = √(R/2 · S · f_s)."""
    return math.sqrt(resistance_ohm / 2 * density_w_per_hz * sampling_rate_hz)


def per_event(value: float | Tensor, series: Tensor) -> Tensor:
    """Return a number, or one number an electron, as float32 that broadcasts against (batch, time, channel)."""
    value = torch.as_tensor(value, dtype=torch.float32, device=series.device)
    return value.reshape(-1, 1, 1) if value.ndim else value


def rotate(series: Series, phase_rad: Tensor, gain: float | Tensor = 1.0) -> Series:
    """Return gain · e^{iφ} (I + iQ), φ and gain (batch or 1, time or 1, port or 1), in the dtype of the series."""
    values = to_complex(series)
    phase = phase_rad.to(values.dtype.to_real())
    modulus = gain.to(phase) if isinstance(gain, Tensor) else phase.new_full((), gain)
    return from_complex(values * torch.polar(modulus, phase)).to(series.dtype)


class WhiteNoise(PiecewiseTransform):
    """Add white Gaussian noise to every channel, σ² = R/2 · S · scale · f_s.

    S (`density_w_per_hz`) is the spectral density of the complex record's power |I + iQ|²/R: ⟨|n|²⟩/R = S f_s. On a
    record that `BandSelect` has cut down it means the same with the *original* sampling rate: that transform keeps the
    standard deviation of white noise, so fewer numbers make the same noise.
    """

    def __init__(
        self,
        sampling_rate_hz: float,
        density_w_per_hz: float = NOMINAL_DENSITY_W_PER_HZ,
        resistance_ohm: float = RESISTANCE_OHM,
    ) -> None:
        super().__init__()
        if min(sampling_rate_hz, resistance_ohm) <= 0 or density_w_per_hz < 0:
            raise UserError("white noise needs a positive sampling rate and resistance and a density of zero or more.")
        self.std_volt = channel_std_volt(density_w_per_hz, sampling_rate_hz, resistance_ohm)

    def piece(self, series: Series, random: KeyedRandom, place: Place, scale: float | Tensor = 1.0) -> Series:
        """Return series + noise in the dtype of the series."""
        std = self.std_volt * (per_event(scale, series).sqrt() if isinstance(scale, Tensor) else math.sqrt(scale))
        count, channels = series.shape[1:]
        noise = random.normal_part(place.start, count, place.total, channels, stream="white noise").mul_(std)
        return noise.to(series.dtype).add_(series)


class ThermalNoise(PiecewiseTransform):
    """Add white noise of a system temperature, S = k T · gain (power gain): `WhiteNoise` of that density.

    With `frequency_hz` (before mixing), T is T_eff = (hf/k)(½ + 1/(e^{hf/kT} − 1)), which holds the quantum limit.
    """

    def __init__(
        self,
        sampling_rate_hz: float,
        temperature_k: float,
        gain: float = 1.0,
        frequency_hz: float | None = None,
        resistance_ohm: float = RESISTANCE_OHM,
    ) -> None:
        super().__init__()
        density = float(thermal_density_w_per_hz(temperature_k, gain, frequency_hz))
        self.white = WhiteNoise(sampling_rate_hz, density, resistance_ohm)

    def piece(self, series: Series, random: KeyedRandom, place: Place, scale: float | Tensor = 1.0) -> Series:
        """Return series + noise in the dtype of the series."""
        return self.white.piece(series, random.scoped("thermal"), place, scale)


class RandomPhase(PiecewiseTransform):
    """Turn every record by one random common phase, (I + iQ) → e^{iφ} (I + iQ), φ uniform in [0, 2π).

    The start phase says nothing about the energy; turning is augmentation without cost. `scale` has no effect. All
    read-out channels turn together.
    """

    def piece(self, series: Series, random: KeyedRandom, place: Place, scale: float | Tensor = 1.0) -> Series:
        """Return the turned records in the dtype of the series."""
        phase = 2 * math.pi * random.uniform(1, 1, stream="common phase")
        return rotate(series, phase)
