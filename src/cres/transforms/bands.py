"""The spectrum of noise as a few numbers: its mean density in equal bands of the sampled range.

Spectra stand on a grid of so many points, evenly from −half of the sampling rate on, as Welch's method makes them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from cres.errors import UserError
from reconstruction.shapes import Float

POINTS: Final = 512
"""Of a grid, unless a table has more rows."""
MOST_BANDS: Final = 64

_NAME: Final = re.compile(r"noise_density_(\d+)_of_(\d+)_w_per_hz")

Spectra = Float[Tensor, "batch point"]


def grid_hz(points: int, sampling_rate_hz: float) -> Float[Tensor, "point"]:
    """Return the frequencies of a grid after mixing, rising from −half of the sampling rate, float64."""
    return (torch.arange(points, dtype=torch.float64) / points - 0.5) * sampling_rate_hz


def is_band(setting: str) -> bool:
    """Return whether a setting is a density of the noise: noise_density_K_of_N_w_per_hz."""
    return _NAME.fullmatch(setting) is not None


def band_of(setting: str) -> tuple[int, int]:
    """Return which band, from 1 on, of how many a setting is the density of. Raises UserError where there is none."""
    found = _NAME.fullmatch(setting)
    band, bands = (int(number) for number in found.groups()) if found else (0, 0)
    if not 1 <= band <= bands <= MOST_BANDS:
        raise UserError(
            f"{setting} is no band: noise_density_K_of_N_w_per_hz is the K-th, from 1 to N, of N equal bands of the "
            f"sampled range, {MOST_BANDS} at most"
        )
    return band, bands


def band_means(density: Float[Tensor, "*batch point"], settings: Sequence[str]) -> Float[Tensor, "*batch setting"]:
    """Return the mean density in the band of each setting. Raises UserError for a setting that is no band."""
    points = density.shape[-1]
    place = torch.arange(points, device=density.device)
    means = []
    for band, bands in map(band_of, settings):
        inside = (place * bands).div(points, rounding_mode="floor") == band - 1
        means.append(density[..., inside].mean(dim=-1))
    return torch.stack(means, dim=-1)
