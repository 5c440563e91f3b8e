"""Noise of another spectrum in each row, for data of several spectra and for trainings in which the noise moves."""

from __future__ import annotations

import torch
from torch import Tensor

from cres.transforms.bands import Spectra
from cres.transforms.coloured import shaped_noise
from cres.transforms.noise import RESISTANCE_OHM
from reconstruction.random.keyed import KeyedRandom
from reconstruction.random.transforms import RandomTransform
from reconstruction.shapes import Float, Series


class RowNoise(RandomTransform):
    """Add Gaussian noise of each row's own spectrum, `scale` (batch, point) over `density_w_per_hz`, on a grid.

    The grid is that of `cres.transforms.bands`; linear between its points, see `ShapedNoise` for the formula. With one
    number, or one number a row, as a scale the noise is that of `nominal`.
    """

    def __init__(
        self,
        nominal: RandomTransform,
        sampling_rate_hz: float,
        density_w_per_hz: float,
        resistance_ohm: float = RESISTANCE_OHM,
    ) -> None:
        super().__init__()
        self.nominal = nominal
        self.sampling_rate_hz, self.density_w_per_hz = sampling_rate_hz, density_w_per_hz
        self.resistance_ohm = resistance_ohm

    def forward(self, series: Series, random: KeyedRandom, scale: float | Tensor = 1.0) -> Series:
        """Return series + noise in the dtype of the series."""
        if not isinstance(scale, Tensor) or scale.ndim < 2:
            noisy: Series = self.nominal(series, random, scale)
            return noisy
        density = self.density_w_per_hz * at_bins(scale.double(), series.shape[1])
        power = self.resistance_ohm / 2 * self.sampling_rate_hz * density
        return shaped_noise(power, series, random, "ColouredNoise").to(series.dtype).add_(series)


def at_bins(spectra: Spectra, samples: int) -> Float[Tensor, "batch bin"]:
    """Return spectra at the bins of an FFT, in its order: linear between points, the last one's value behind it."""
    points = spectra.shape[1]
    frequency = torch.fft.fftfreq(samples, dtype=torch.float64, device=spectra.device)
    place = ((frequency + 0.5) * points).clamp(0, points - 1)
    lower = place.floor().clamp(max=max(points - 2, 0)).long()
    return torch.lerp(spectra[:, lower], spectra[:, (lower + 1).clamp(max=points - 1)], place - lower)
