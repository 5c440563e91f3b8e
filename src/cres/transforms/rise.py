"""How fast the lines of a record rise, and the record without it: an electron that radiates gains frequency.

In 20 µs a line rises by a part of a bin. The rise in bins grows with the square of the length: in 122 µs it is nine,
and a spectrum spreads each line over as many.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from cres.errors import UserError
from cres.transforms.spectrum import band_bins, crop_bins
from reconstruction.shapes import PerRow

Records = Complex[Tensor, "batch time channel"]

FEWEST_RATES, MOST_RATES = 3, 1000
"""A parabola goes through three, and a record is looked at with each."""


def rates_to_try(
    range_hz_per_s: tuple[float, float], samples: int, sampling_rate_hz: float, device: torch.device | None = None
) -> Float[Tensor, "rate"]:
    """Return rates from one end to the other, so close that a line half way between two keeps 95 % of its power.

    That is half a turn of ½kT² from the nearest, over a record of T. Raises UserError for a range of too many.
    """
    low, high = range_hz_per_s
    count = max(FEWEST_RATES, math.ceil((high - low) * (samples / sampling_rate_hz) ** 2 / 2) + 1)
    if count > MOST_RATES:
        raise UserError(
            f"rise_hz_per_s {list(range_hz_per_s)} wants {count:,} rates for records of {samples:,} samples, and up to "
            f"{MOST_RATES:,} are tried: name a narrower range"
        )
    return torch.linspace(low, high, count, dtype=torch.float64, device=device)


def find_rise(
    records: Records, sampling_rate_hz: float, band_hz: tuple[float, float], rates_hz_per_s: Float[Tensor, "rate"]
) -> PerRow:
    """Return the rate at which the strongest line in the band is highest, between the rates by a parabola; float64.

    Only the band is looked at: its bins become a shorter record, and of that the spectra without each rate are taken.
    """
    samples = records.shape[1]
    first, count = band_bins(samples, sampling_rate_hz, band_hz)
    short = torch.fft.ifft(crop_bins(torch.fft.fft(records, dim=1), first, count), dim=1)
    heights = torch.stack(
        [
            torch.linalg.vector_norm(
                torch.fft.fft(short * _turned(rate.reshape(1), short, samples / sampling_rate_hz), dim=1), dim=2
            ).amax(dim=1)
            for rate in rates_hz_per_s
        ],
        dim=1,
    )
    best = heights.argmax(dim=1, keepdim=True).clamp(1, heights.shape[1] - 2)
    left, middle, right = (heights.gather(1, best + step).squeeze(1).double() for step in (-1, 0, 1))
    curvature = (2 * middle - left - right).clamp(min=torch.finfo(heights.dtype).tiny)
    between = (0.5 * (right - left) / curvature).clamp(-1, 1)
    step = rates_hz_per_s[1] - rates_hz_per_s[0]
    return rates_hz_per_s[best.squeeze(1)] + between * step


def without_rise(records: Records, rate_hz_per_s: PerRow, sampling_rate_hz: float) -> Records:
    """Return records less a rise of their lines; frequencies in the middle of the record stay."""
    return records * _turned(rate_hz_per_s, records, records.shape[1] / sampling_rate_hz)


def _turned(
    rate_hz_per_s: Float[Tensor, "rate"], records: Records, duration_s: float
) -> Complex[Tensor, "rate time 1"]:
    """Return e^{−iπk(t − T/2)²} at the samples of records of a duration, for each rate."""
    samples = records.shape[1]
    index = torch.arange(samples, dtype=torch.float64, device=records.device)
    since_middle = (index - (samples - 1) / 2) * (duration_s / samples)
    turns = torch.frac(torch.outer(rate_hz_per_s / -2, since_middle.square()))
    angle = turns.mul_(2 * math.pi).to(records.dtype.to_real())
    return torch.polar(angle.new_ones(()), angle).unsqueeze(2)
