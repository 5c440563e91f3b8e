"""The spectrum aligned on the carrier: what an electron's frequency is, apart from how it moves in the trap."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from cres.errors import UserError
from cres.transforms.spectrum import ComplexChannels, at_least_float32, band_bins, crop_bins, to_complex
from cres.transforms.views import SIGNAL_BAND_HZ, nominal_scale_volt
from reconstruction.models.encoders.views import RecordView, View
from reconstruction.shapes import Series

Records = Complex[Tensor, "batch time channel"]


class Carrier(NamedTuple):
    """The strongest line of each record."""

    frequency_hz: Float[Tensor, "batch"]
    """(batch,) after mixing, float64."""
    amplitude: Float[Tensor, "batch"]
    """(batch,) |Σ x e^{−2πift}|/√N, in the unit of the records, all channels together."""


def find_carrier(records: Records, sampling_rate_hz: float, band_hz: tuple[float, float]) -> Carrier:
    """Return the strongest line in the band, interpolated between the bins of the FFT.

    δ = Re[(X₋₁ − X₊₁)/(2X₀ − X₋₁ − X₊₁)], Jacobsen & Kootsookos, IEEE Signal Process. Mag. 24(3) 123 (2007), eq. 3;
    with several channels the complex ratio is the least-squares one over them.
    """
    samples = records.shape[1]
    spectrum = torch.fft.fft(records, dim=1)
    first, count = band_bins(samples, sampling_rate_hz, band_hz)
    height = torch.linalg.vector_norm(crop_bins(spectrum, first, count), dim=2)
    peak = height.argmax(dim=1, keepdim=True)
    left, centre, right = _bins_around(spectrum, peak, first, count).unbind(dim=1)
    curvature = torch.view_as_real(2 * centre - left - right)
    slope = (torch.view_as_real(left - right) * curvature).sum(dim=(1, 2))
    steepest = curvature.square().sum(dim=(1, 2)).clamp(min=torch.finfo(slope.dtype).tiny)
    offset = (slope / steepest).clamp(-0.5, 0.5)
    frequency_hz = (peak.squeeze(1) + first + offset.double()) * (sampling_rate_hz / samples)
    amplitude = torch.linalg.vector_norm(centre, dim=1) / math.sqrt(samples)
    return Carrier(frequency_hz, amplitude / torch.sinc(offset))


def demodulate(records: Records, frequency_hz: Float[Tensor, "batch"], sampling_rate_hz: float) -> Records:
    """Return the records times e^{−2πift}; the turns are counted in float64 and only then rounded."""
    samples = torch.arange(records.shape[1], device=records.device, dtype=torch.float64)
    turns = torch.frac(torch.outer(frequency_hz.double() / -sampling_rate_hz, samples))
    angle = turns.mul_(2 * math.pi).to(records.dtype.to_real())
    return records * torch.polar(angle.new_ones(()), angle).unsqueeze(2)


def fold_on_carrier(
    records: Records, bins: int, reference: Complex[Tensor, "batch 1 channel"] | None = None
) -> Float[Tensor, "batch bin fold"]:
    """Return the two sides of demodulated records' spectra folded onto each other, carrier phase removed.

    The phase is that of X(0), or of `reference`. With X the orthonormal FFT over e^{i arg X(0)}: (X(+δ) + X*(−δ))/√2
    and (X(+δ) − X*(−δ))/√2 for δ = 1 … bins, each as real and imaginary part: four real columns a channel. A line at +δ
    and its mirror image at −δ, whose phases differ only by the sign of the axial phase, then stand in phase in one
    place. White noise keeps its variance.
    """
    spectrum = torch.fft.fft(records, dim=1, norm="ortho")
    reference = spectrum[:, :1] if reference is None else reference
    # a record without signal has no phase, and stays without
    turn = torch.sgn(reference) * math.sqrt(0.5)
    upper = spectrum[:, 1 : bins + 1] * turn.conj_physical()
    lower = spectrum[:, -bins:].flip(1).conj_physical_() * turn
    folded = torch.stack((upper + lower, upper - lower), dim=3)
    return torch.view_as_real(folded).flatten(2)


class AlignedSpectrum(RecordView):
    """Spectrum around the carrier, demodulated at its interpolated frequency, phase removed, sides folded together.

    A trapped electron shines at its carrier f_c and at f_c ± 2n f_a. Seen from the carrier the picture no longer
    depends on f_c: the axial motion is all that remains, and where the sidebands stand tells the pitch angle.

    `series` is (batch, bins, 4 a read-out channel), in units of `scale_volt` (default: σ of the nominal noise in one
    channel), position i at the distance (i + 1) · f_s/N from the carrier; `scalars` is (batch, 2): the carrier in MHz
    above the middle of the band, and the logarithm of its amplitude. The amplitude is kept: absolute power is the only
    handle on the radius.

    Args:
        sampling_rate_hz: of the records.
        band_hz: where the carrier is searched, after mixing.
        half_width_hz: how far from the carrier the folded spectrum reaches.
        scale_volt: unit of the series; a fixed number, never the record's own.
        input_channels: two a read-out channel, I and Q.

    """

    def __init__(
        self,
        sampling_rate_hz: float,
        band_hz: tuple[float, float] = SIGNAL_BAND_HZ,
        half_width_hz: float = 18.9e6,
        scale_volt: float | None = None,
        input_channels: int = 2,
    ) -> None:
        super().__init__()
        if not -sampling_rate_hz / 2 <= band_hz[0] < band_hz[1] <= sampling_rate_hz / 2:
            raise UserError(
                f"band_hz {band_hz} must rise and lie within ± half the sampling rate {sampling_rate_hz:g}."
            )
        if not 0 < half_width_hz < sampling_rate_hz / 2:
            raise UserError(f"half_width_hz {half_width_hz:g} must lie between 0 and half the sampling rate.")
        self.sampling_rate_hz = sampling_rate_hz
        self.band_hz = band_hz
        self.half_width_hz = half_width_hz
        self.scale_volt = nominal_scale_volt(sampling_rate_hz, scale_volt)
        self.channels = 2 * input_channels
        self.scalar_count = 2

    def forward(self, series: Series) -> View:
        """Return the folded spectrum and the two scalars; at least float32, whatever autocast says."""
        with torch.autocast(series.device.type, enabled=False):
            records = self._scaled(series)
            return self._folded(series, records, find_carrier(records, self.sampling_rate_hz, self.band_hz), None)

    def framed(self, series: Series, guide: Series) -> View:
        """Return the view of records aligned on the carrier of others, their phase removed; scalars are the others'."""
        with torch.autocast(series.device.type, enabled=False):
            others = self._scaled(guide)
            carrier = find_carrier(others, self.sampling_rate_hz, self.band_hz)
            reference = demodulate(others, carrier.frequency_hz, self.sampling_rate_hz).mean(dim=1, keepdim=True)
            return self._folded(series, self._scaled(series), carrier, reference)

    def unfolded(
        self, folded: Float[Tensor, "batch bin fold"], guide: Series
    ) -> tuple[Float[Tensor, "batch line"], Complex[Tensor, "batch line port"]]:
        """Return frequencies (Hz, after mixing, ascending) and spectrum (volts) of a series in the frame of `guide`.

        The inverse of `framed`; orthonormal, as the spectrum itself. The carrier's own bin is in no view, and missing.
        """
        with torch.autocast(folded.device.type, enabled=False):
            others = self._scaled(guide)
            carrier = find_carrier(others, self.sampling_rate_hz, self.band_hz)
            reference = demodulate(others, carrier.frequency_hz, self.sampling_rate_hz).mean(dim=1, keepdim=True)
            sides = torch.view_as_complex(folded.unflatten(2, (-1, 2, 2)).contiguous())
            turn = torch.sgn(reference) * (self.scale_volt * math.sqrt(0.5))
            upper = (sides[..., 0] + sides[..., 1]) * turn
            lower = (sides[..., 0] - sides[..., 1]).conj() * turn
        offsets = self._axis_hz(guide)
        frequency = carrier.frequency_hz[:, None] + torch.cat((-offsets.flip(0), offsets))
        return frequency, torch.cat((lower.flip(1), upper), dim=1)

    def _scaled(self, series: Series) -> ComplexChannels:
        return to_complex(at_least_float32(series) / self.scale_volt)

    def _folded(self, series: Series, records: ComplexChannels, carrier: Carrier, reference: Tensor | None) -> View:
        aligned = demodulate(records, carrier.frequency_hz, self.sampling_rate_hz)
        folded = fold_on_carrier(aligned, self.bins(series.shape[1]), reference)
        offset_mhz = (carrier.frequency_hz - sum(self.band_hz) / 2) / 1e6
        scalars = torch.stack((offset_mhz.to(folded.dtype), carrier.amplitude.clamp(min=1e-6).log()), dim=1)
        return View(folded, scalars, self._axis_hz(series))

    def _axis_hz(self, series: Series) -> Float[Tensor, "position"]:
        samples = series.shape[1]
        offsets = torch.arange(1, self.bins(samples) + 1, device=series.device, dtype=torch.float64)
        return offsets * (self.sampling_rate_hz / samples)

    def bins(self, samples: int) -> int:
        """Return the length of the view of a record of `samples`."""
        return max(1, min(round(self.half_width_hz * samples / self.sampling_rate_hz), (samples - 1) // 2))


def _bins_around(spectrum: Tensor, peak: Tensor, first: int, count: int) -> Tensor:
    """Pick a bin, counted from `first` on, and its neighbours: (batch, bin, channel) → (batch, 3, channel)."""
    bins = spectrum.shape[1]
    start = first % bins
    three = peak + torch.arange(start - 1, start + 2, device=peak.device)
    if start < 1 or start + count >= bins:
        three = three % bins
    return spectrum.gather(1, three.unsqueeze(2).expand(-1, -1, spectrum.shape[2]))
