"""Carrier, axial frequency and their significance from the peaks of a record's periodogram."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cres.estimation.search.periodogram import Spectrum, centred_spectrum, comb_power, parabolic_peak, strongest_line
from reconstruction.shapes import ComplexSeries, PerRow

# Below this many natural bins the first sideband merges with the carrier's own main lobe and side lobes.
NEAREST_SIDEBAND_BINS = 6.0


@dataclass(frozen=True)
class CombSearch:
    """Where lines are sought. Sidebands lie at even multiples of the axial frequency: `spacing` 2 f_a is searched."""

    band_hz: tuple[float, float]
    """Carriers after mixing."""
    highest_axial_hz: float
    pairs: int = 1
    """Sideband pairs in the comb; each further pair adds its power and its noise."""
    harmonic: int = 2
    """Sideband spacing over axial frequency: 2 where trap and cavity are centred on each other, else 1."""


@dataclass(frozen=True)
class Peaks:
    """What the peak search found, all (batch,)."""

    carrier_hz: PerRow
    """Strongest line after mixing."""
    carrier_snr: PerRow
    """|X|²/(N σ_c²): under noise alone an exponential variable of mean 1."""
    axial_frequency_hz: PerRow
    comb_snr: PerRow
    """Power of the best comb in the same units: under noise alone a sum of 2·pairs exponential variables."""


def find_peaks(series: ComplexSeries, sampling_rate_hz: float, noise_std_volt: float, search: CombSearch) -> Peaks:
    """Find the carrier, then the comb of sidebands around it; `noise_std_volt` is that of I and of Q."""
    spectrum = centred_spectrum(series, sampling_rate_hz)
    unit = series.shape[1] * 2 * noise_std_volt**2
    carrier = strongest_line(series, spectrum, search.band_hz)
    carrier_power = spectrum.at(carrier[:, None])[:, 0].abs().square()
    spacing = comb_spacings(spectrum, search)
    power = comb_power(spectrum, carrier, spacing, search.pairs)
    best, offset = parabolic_peak(power)
    step = spacing[1] - spacing[0]
    axial = (spacing[best] + offset * step) / search.harmonic
    return Peaks(carrier, carrier_power / unit, axial, power.amax(1) / unit)


def comb_spacings(spectrum: Spectrum, search: CombSearch) -> Float[Tensor, "spacing"]:
    """Return the line spacings to try, one a value of the zero-padded spectrum."""
    low = NEAREST_SIDEBAND_BINS * spectrum.sampling_rate_hz / spectrum.samples
    high = search.harmonic * search.highest_axial_hz
    return torch.arange(low, high, spectrum.bin_hz, dtype=torch.float64, device=spectrum.values.device)


def comb_threshold(search: CombSearch, bin_hz: float, false_alarm_probability: float) -> float:
    """Return the comb power (in noise units) that noise alone exceeds with the stated probability.

    P(sum of n = 2·pairs exponentials > x) = e^{−x} Σ_{k<n} x^k/k!, times the number of independent spacings: one a
    natural bin `bin_hz` (Bonferroni; the padding adds a little, see the tests).
    """
    trials = max(1.0, search.harmonic * search.highest_axial_hz / bin_hz)
    x = np.linspace(0, 80, 80_001)
    terms = np.cumsum([x**k / math.factorial(k) for k in range(2 * search.pairs)], axis=0)[-1]
    return float(x[np.argmax(trials * np.exp(-x) * terms < false_alarm_probability)])
