"""How fast carriers rise within a record: the search takes the rise out before it looks for lines that stand still.

An electron that radiates gains frequency. Over a time T at a rate k the line turns by ½kT² more than one that stands
still (¼ of it between the middle and an end), and moves by kT², in natural bins of 1/T. In 20 µs that is a part of a
bin. It grows with the square of the length: in 122 µs it is nine bins, and templates of constant frequency see a
fraction of the power, of the carrier and of all sidebands alike.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cres.estimation.apparatus import Apparatus
from cres.estimation.search.periodogram import parabolic_peak
from cres.simulation.parameters import parameter_rows
from reconstruction.shapes import ComplexSeries, PerRow

LARGEST_TURNS = 0.5
"""Of ½kT²: a line that is so far from the rate that was taken out keeps 95 % of its power."""
PITCH_NODES, RADIUS_NODES = 9, 33


def chirp_rates_hz_per_s(apparatus: Apparatus) -> Float[Tensor, "rate"]:
    """Return the rates to try, those of all electrons of the apparatus: 0 alone where no record is long enough to tell.

    They come from the forward model, two `LARGEST_TURNS` apart; three or more, so that a parabola goes between them.
    """
    low, high = apparatus.pitch_angles_deg
    pitch = np.linspace(low, min(high, 90.0), PITCH_NODES)
    radius = np.linspace(0, apparatus.largest_radius_m, RADIUS_NODES)
    energy, pitch, radius = np.meshgrid(np.array(apparatus.energies_ev), pitch, radius, indexing="ij")
    rows = parameter_rows(energy, pitch, radius, device=apparatus.device).flatten(0, 2)
    rates = apparatus.model.lines(rows).phase[:, 2] / math.pi
    turns = 2 / (apparatus.reception.samples / apparatus.reception.sampling_rate_hz) ** 2
    lowest, highest = min(0.0, float(rates.min())), max(0.0, float(rates.max()))
    if max(-lowest, highest) <= LARGEST_TURNS * turns:
        return torch.zeros(1, dtype=torch.float64, device=apparatus.device)
    count = max(3, math.ceil((highest - lowest) / (2 * LARGEST_TURNS * turns)) + 1)
    return torch.linspace(lowest, highest, count, dtype=torch.float64, device=apparatus.device)


def without_chirp(data: ComplexSeries, rate_hz_per_s: PerRow, apparatus: Apparatus) -> ComplexSeries:
    """Return records less a rise of their lines; frequencies and phases at the middle of the record stay."""
    reception = apparatus.reception
    time_s = torch.arange(reception.samples, dtype=torch.float64, device=data.device) / reception.sampling_rate_hz
    turned = -math.pi * rate_hz_per_s[:, None] * (time_s - reception.middle_s).square()
    return data * torch.polar(torch.ones_like(turned), turned).to(data.dtype)


def best_rate(rates_hz_per_s: Float[Tensor, "rate"], heights: Float[Tensor, "batch rate"]) -> PerRow:
    """Return the rate of the highest value, between the rates by a parabola."""
    best, between = parabolic_peak(heights)
    return rates_hz_per_s[best] + between * (rates_hz_per_s[1] - rates_hz_per_s[0])
