"""Power spectra of whole records: the strongest line, the comb of its sidebands, and whether what is left is noise.

Records are complex volts (batch, time); frequencies are those after mixing, in hertz, and may be negative.
Spectra refer to the middle of the record: there the phase of a line does not turn with a small frequency offset.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Complex, Float, Int
from scipy import stats
from torch import Tensor

from cres.estimation.placement import on_host
from reconstruction.shapes import ComplexSeries, PerRow

PADDING = 4
"""Values of a spectrum a natural bin."""
NEWTON_STEPS = 3
TAPS, TAP_WIDTH = 16, 2.0
"""Values that one between them is made of, and the width of the Gaussian over them, in values."""


@dataclass(frozen=True)
class Spectrum:
    """Zero-padded discrete Fourier sums X(f) = Σ_t x(t) exp(−2πi f (t − t_mid)) of a batch of records."""

    values: Complex[Tensor, "batch bin"]
    sampling_rate_hz: float
    samples: int

    @property
    def bin_hz(self) -> float:
        """Distance of neighbouring values."""
        return self.sampling_rate_hz / self.values.shape[1]

    def index(self, frequency_hz: Tensor) -> Tensor:
        """Return the index of the value nearest to a frequency, wrapped at the sampling rate."""
        return torch.round(frequency_hz / self.bin_hz).long() % self.values.shape[1]

    def at(self, frequency_hz: Float[Tensor, "batch *point"]) -> Tensor:
        """Return X at the nearest computed frequency, same shape as the argument."""
        flat = self.index(frequency_hz).flatten(1)
        return self.values.gather(1, flat).reshape(frequency_hz.shape)

    def between(
        self, row: Int[Tensor, "point"], frequency_hz: Float[Tensor, "point *line"], width: float = TAP_WIDTH
    ) -> Tensor:
        """Return X of records `row` at any frequency, from `TAPS` values around it: to 1e-4 of the highest of them.

        The records fill a part 1/`PADDING` of the transform, so that a sinc under a Gaussian is enough. Where it is a
        part 1/8, a `width` of 1.6 is good to 1e-5.
        """
        place = frequency_hz / self.bin_hz
        first = torch.floor(place) - (TAPS // 2 - 1)
        tap = first[..., None] + torch.arange(TAPS, dtype=torch.float64, device=first.device)
        distance = place[..., None] - tap
        weight = torch.sinc(distance) * torch.exp(-0.5 * (distance / width).square())
        index = tap.long() % self.values.shape[1]
        rows = row.reshape(-1, *[1] * (index.ndim - 1))
        return (self.values[rows, index] * weight.to(self.values.real.dtype)).sum(-1)


def centred_spectrum(series: ComplexSeries, sampling_rate_hz: float, padding: int = PADDING) -> Spectrum:
    """Return the spectrum of records, `padding` values a natural bin."""
    samples = series.shape[1]
    length = padding * samples
    frequency = torch.fft.fftfreq(length, 1 / sampling_rate_hz, dtype=torch.float64, device=series.device)
    turn = torch.exp(2j * math.pi * frequency * (samples - 1) / 2 / sampling_rate_hz)
    return Spectrum(torch.fft.fft(series, length) * turn.to(series.dtype), sampling_rate_hz, samples)


def band_indices(spectrum: Spectrum, band_hz: tuple[float, float]) -> Int[Tensor, "point"]:
    """Return the indices of all values between two frequencies, in rising frequency."""
    low, high = (math.ceil(band_hz[0] / spectrum.bin_hz), math.floor(band_hz[1] / spectrum.bin_hz))
    return torch.arange(low, high + 1, device=spectrum.values.device) % spectrum.values.shape[1]


def strongest_line(series: ComplexSeries, spectrum: Spectrum, band_hz: tuple[float, float]) -> PerRow:
    """Return the frequency of the highest periodogram value in a band, refined between the bins."""
    indices = band_indices(spectrum, band_hz)
    best = spectrum.values[:, indices].abs().argmax(1)
    signed = (indices[best] + spectrum.values.shape[1] // 2) % spectrum.values.shape[1] - spectrum.values.shape[1] // 2
    return refine_line(series, signed * spectrum.bin_hz, spectrum.sampling_rate_hz)


def strongest_lines_near(
    spectrum: Spectrum, centre_hz: PerRow, reach_hz: PerRow, widest_hz: float, count: int = 1, share: float = 0.0
) -> tuple[Float[Tensor, "batch count"], Float[Tensor, "batch count"]]:
    """Return places, by parabolas, and heights of the highest values within a reach of each record's own centre.

    The highest comes first; the others lie more than a natural bin from those before, and have height 0 where they do
    not reach a `share` of the highest. widest_hz: no reach needs to be wider.
    """
    bin_hz = spectrum.bin_hz
    steps = min(math.ceil(float(reach_hz.max()) / bin_hz), math.ceil(widest_hz / bin_hz))
    offsets = torch.arange(-steps, steps + 1, dtype=torch.float64, device=centre_hz.device) * bin_hz
    first = torch.round(centre_hz / bin_hz) * bin_hz
    power = spectrum.at(first[:, None] + offsets).abs() * (offsets.abs() <= reach_hz[:, None])
    index = torch.arange(len(offsets), device=power.device)
    remaining, places, heights = power.clone(), [], []
    for _ in range(count):
        best = remaining.argmax(1)
        places.append(first + offsets[best] + _parabolic_offset(power, best) * bin_hz)
        heights.append(remaining.gather(1, best[:, None])[:, 0])
        remaining[(index - best[:, None]).abs() <= PADDING] = 0
    height = torch.stack(heights, 1)
    return torch.stack(places, 1), torch.where(height >= share * height[:, :1], height, 0.0)


def refine_line(series: ComplexSeries, frequency_hz: PerRow, sampling_rate_hz: float) -> PerRow:
    """Climb to the maximum of |X(f)|² by Newton steps, the maximum-likelihood frequency of a single tone.

    With X = Σ x e^{−iωt}: P' = 2 Re(X* X'), P'' = 2 Re(X* X'') + 2 |X'|². A step is at most a quarter of a bin.
    """
    samples = series.shape[1]
    time = (torch.arange(samples, dtype=torch.float64, device=series.device) - (samples - 1) / 2) / sampling_rate_hz
    largest = 0.25 * sampling_rate_hz / samples
    for _ in range(NEWTON_STEPS):
        mixed = series * torch.exp(-2j * math.pi * frequency_hz[:, None] * time)
        x0, x1, x2 = (_moment(mixed, time, order) for order in range(3))
        slope = 2 * (x0.conj() * x1).real
        curvature = 2 * (x0.conj() * x2).real + 2 * x1.abs().square()
        step = torch.where(curvature < 0, -slope / curvature, torch.zeros_like(slope))
        frequency_hz = frequency_hz + step.clamp(-largest, largest)
    return frequency_hz


def _moment(mixed: ComplexSeries, time: Float[Tensor, "time"], order: int) -> Complex[Tensor, "batch"]:
    """Return the derivative of the given order of Σ x exp(−2πi f t) with respect to f."""
    return (mixed * (-2j * math.pi * time) ** order).sum(1)


def comb_power(
    spectrum: Spectrum, carrier_hz: PerRow, spacing_hz: Float[Tensor, "spacing"], pairs: int
) -> Float[Tensor, "batch spacing"]:
    """Return Σ_{n=1..pairs} |X(f_c + n Δ)|² + |X(f_c − n Δ)|² for each line spacing Δ."""
    power = torch.zeros(len(carrier_hz), len(spacing_hz), dtype=torch.float64, device=carrier_hz.device)
    for order in range(1, pairs + 1):
        for sign in (-1, 1):
            power += spectrum.at(carrier_hz[:, None] + sign * order * spacing_hz).abs().square()
    return power


def parabolic_peak(power: Float[Tensor, "batch point"]) -> tuple[Int[Tensor, "batch"], PerRow]:
    """Return the index of the highest value and the offset, within ±½, of the parabola through it."""
    best = power.argmax(1)
    return best, _parabolic_offset(power, best)


def _parabolic_offset(power: Float[Tensor, "batch point"], position: Int[Tensor, "batch"]) -> PerRow:
    """Return the offset, within ±½, of the top of the parabola through a value and its neighbours; 0 at an end."""
    inside = position.clamp(1, power.shape[1] - 2)
    left, middle, right = (power.gather(1, (inside + k)[:, None])[:, 0] for k in (-1, 0, 1))
    bend = left - 2 * middle + right
    offset = torch.where(bend < 0, (left - right) / (2 * bend), torch.zeros_like(bend)).clamp(-0.5, 0.5)
    return torch.where(inside == position, offset, torch.zeros_like(offset))


def goodness_p(
    residual: Complex[Tensor, "batch time"], sampling_rate_hz: float, band_hz: tuple[float, float]
) -> Float[Tensor, "batch"]:
    """Return the probability that noise alone leaves as much as is left in the band: small where the model is wrong.

    residual: Fourier coefficients in units of the noise (`ProductMaker.residual_spectrum`). Twice the smaller of two
    probabilities (Bonferroni): that of the power of the whole band, a χ² variable, and that of its highest bin, the
    largest of exponential variables.
    """
    picked = band_indices(Spectrum(residual, sampling_rate_hz, residual.shape[1]), band_hz)
    power = residual[:, picked].abs().square().double()
    bins = power.shape[1]
    whole = stats.chi2.sf(on_host(power.sum(1)), 2 * bins)
    highest = -np.expm1(bins * np.log1p(-np.exp(-on_host(power.amax(1)) / 2)))
    return torch.from_numpy(np.minimum(1.0, 2 * np.minimum(whole, highest))).to(residual.device)
