"""What an estimator knows of the noise: how to make it white with unit variance in every real component."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cres.data.noise_spectrum import NoiseSpectrum
from cres.errors import UserError


def relative_power(spectrum: NoiseSpectrum, samples: int, sampling_rate_hz: float) -> Float[Tensor, "time"]:
    """Return a spectrum at the frequencies of a record, in FFT order; beyond its own ones its ends hold."""
    grid = np.fft.fftfreq(samples, 1 / sampling_rate_hz)
    return torch.from_numpy(np.interp(grid, spectrum.frequency_hz, spectrum.relative_power))


class NoiseModel(ABC):
    """Stationary Gaussian noise. Whitened real and imaginary parts are independent and of variance 1."""

    @abstractmethod
    def to(self, device: torch.device) -> NoiseModel:
        """Return the noise for values on a device."""

    @abstractmethod
    def whiten(self, values: Tensor) -> Tensor:
        """Return complex values (…, time) as unit-noise values (…, time), in time or in frequency."""

    @abstractmethod
    def whiten_spectrum(self, values: Tensor) -> Tensor:
        """Return the unit-noise Fourier coefficients (…, time) of complex values (…, time), in FFT order."""


@dataclass(frozen=True)
class White(NoiseModel):
    """White noise of one standard deviation in I and in Q, in volts (`cres.transforms.noise.channel_std_volt`)."""

    std_volt: float

    def __post_init__(self) -> None:
        if not self.std_volt > 0:
            raise UserError(f"the likelihood needs noise: its standard deviation is {self.std_volt} V")

    def to(self, device: torch.device) -> White:
        """Nothing lies anywhere."""
        return self

    def whiten(self, values: Tensor) -> Tensor:
        """Return values / σ."""
        return values / self.std_volt

    def whiten_spectrum(self, values: Tensor) -> Tensor:
        """Return FFT(values) / (√n σ)."""
        return torch.fft.fft(values) / (self.std_volt * math.sqrt(values.shape[-1]))


@dataclass(frozen=True)
class Coloured(NoiseModel):
    """Noise with a spectrum: `std_volt` (time,) is √(mean |N_k|²/2n) in FFT order (all equal: white noise).

    Whitened values are Fourier coefficients; the record is taken as periodic, exact for n → ∞ (Whittle).
    """

    std_volt: Float[Tensor, "time"]

    def to(self, device: torch.device) -> Coloured:
        """Return the noise for values on a device."""
        return Coloured(self.std_volt.to(device))

    def whiten(self, values: Tensor) -> Tensor:
        """Return FFT(values) / (√n σ_k)."""
        return self.whiten_spectrum(values)

    def whiten_spectrum(self, values: Tensor) -> Tensor:
        """Return FFT(values) / (√n σ_k)."""
        return torch.fft.fft(values) / (self.std_volt * math.sqrt(values.shape[-1]))
