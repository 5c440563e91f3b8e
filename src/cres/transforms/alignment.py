"""The spectrum aligned on the carrier: what an electron's frequency is, apart from how it moves in the trap."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from cres.errors import UserError
from cres.transforms.comb import powers_of, read_comb
from cres.transforms.line_fit import LineFits, fitted, line_fits
from cres.transforms.rise import find_rise, rates_to_try, without_rise
from cres.transforms.spectrum import ComplexChannels, at_least_float32, band_bins, crop_bins, to_complex
from cres.transforms.views import SIGNAL_BAND_HZ, nominal_scale_volt
from reconstruction.exact_buffers import ExactBuffers
from reconstruction.models.encoders.views import Correction, RecordView, View
from reconstruction.shapes import PerRow, Series

Records = Complex[Tensor, "batch time channel"]


FINEST = 16
"""A spectrum that shows parts of a distance has so many times the record's bins at most."""


class Carrier(NamedTuple):
    """The strongest line of each record."""

    frequency_hz: Float[Tensor, "batch"]
    """(batch,) after mixing, float64."""
    amplitude: Float[Tensor, "batch"]
    """(batch,) |Σ x e^{−2πift}|/√N, in the unit of the records, all channels together."""


def find_carrier(
    records: Records, sampling_rate_hz: float, band_hz: tuple[float, float], fits: LineFits | None = None
) -> Carrier:
    """Return the strongest line in the band, interpolated between the bins of the FFT.

    δ = Re[(X₋₁ − X₊₁)/(2X₀ − X₋₁ − X₊₁)], Jacobsen & Kootsookos, IEEE Signal Process. Mag. 24(3) 123 (2007), eq. 3;
    with several channels the complex ratio is the least-squares one over them.

    Three bins do not hold all that a record knows of its frequency. A line that moves changes bin k by 1/k, so that K
    bins on either side hold Σ 1/k² of the π²/6 of all of them, and the error is √(π²/6 / Σ 1/k²) of the Cramér–Rao
    bound's: 1.28 for one, 1.04 for eight. With `fits` (`line_fits`) a line is fitted to as many.
    """
    samples = records.shape[1]
    spectrum = torch.fft.fft(records, dim=1)
    first, count = band_bins(samples, sampling_rate_hz, band_hz)
    height = torch.linalg.vector_norm(crop_bins(spectrum, first, count), dim=2)
    peak = height.argmax(dim=1, keepdim=True)
    if fits is None:
        place, height = _of_three(_bins_around(spectrum, peak, first, count))
    else:
        place, height = fitted(_bins_around(spectrum, peak, first, count, fits.shape[0] // 2), fits)
    frequency_hz = (place + peak.squeeze(1) + (first - 0.5)) * (sampling_rate_hz / samples)
    return Carrier(frequency_hz, height / math.sqrt(samples))


def _of_three(bins: Complex[Tensor, "batch 3 channel"]) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch"]]:
    """Return place from half a bin below the middle one (float64) and height of the line of three bins."""
    left, centre, right = bins.unbind(dim=1)
    curvature = torch.view_as_real(2 * centre - left - right)
    slope = (torch.view_as_real(left - right) * curvature).sum(dim=(1, 2))
    steepest = curvature.square().sum(dim=(1, 2)).clamp(min=torch.finfo(slope.dtype).tiny)
    offset = (slope / steepest).clamp(-0.5, 0.5)
    return offset.double() + 0.5, torch.linalg.vector_norm(centre, dim=1) / torch.sinc(offset)


def demodulate(records: Records, frequency_hz: Float[Tensor, "batch"], sampling_rate_hz: float) -> Records:
    """Return the records times e^{−2πift}; the turns are counted in float64 and only then rounded."""
    samples = records.shape[1]
    back = torch.linspace(0, (1 - samples) / sampling_rate_hz, samples, device=records.device, dtype=torch.float64)
    turns = torch.frac(torch.outer(frequency_hz.double(), back))
    angle = turns.mul_(2 * math.pi).to(records.dtype.to_real())
    return records * torch.polar(angle.new_ones(()), angle).unsqueeze(2)


class Folded(NamedTuple):
    """Spectra seen from the carrier."""

    sides: Float[Tensor, "batch bin fold"]
    spectrum: Complex[Tensor, "batch bin channel"]
    """FFT of the demodulated records; with parts of a distance, less the carrier."""


def fold_on_carrier(
    records: Records,
    bins: int,
    reference: Complex[Tensor, "batch 1 channel"] | None = None,
    parts: tuple[int, ...] = (),
) -> Folded:
    """Return the two sides of demodulated records' spectra folded onto each other, carrier phase removed.

    The phase is that of X(0), or of `reference`. With X the orthonormal FFT over e^{i arg X(0)}: (X(+δ) + X*(−δ))/√2
    and (X(+δ) − X*(−δ))/√2 for δ = 1 … bins, each as real and imaginary part: four real columns a channel. A line at +δ
    and its mirror image at −δ, whose phases differ only by the sign of the axial phase, then stand in phase in one
    place. White noise keeps its variance.

    For each of the `parts` as many columns follow: what stands at δ/part. Between the bins the carrier itself would
    shine in with 1/δ, so it is taken out before.
    """
    finest = math.lcm(1, *parts)
    if parts:
        carrier = records.mean(dim=1, keepdim=True)
        reference = carrier if reference is None else reference
        records = records - carrier
    spectrum = torch.fft.fft(records, n=finest * records.shape[1], dim=1)
    reference = spectrum[:, :1] if reference is None else reference
    # a record without signal has no phase, and stays without
    turn = (torch.sgn(reference) * math.sqrt(0.5 * finest / spectrum.shape[1])).unsqueeze(2)
    steps = [finest, *(finest // part for part in parts)]
    above = spectrum[:, 1 : finest * bins + 1]
    below = spectrum[:, -finest * bins :].flip(1)
    upper, lower = (_every(side, steps, bins) for side in (above, below))
    upper, lower = upper * turn.conj_physical(), lower.conj_physical() * turn
    folded = torch.stack((upper + lower, upper - lower), dim=4)
    return Folded(torch.view_as_real(folded).flatten(2), spectrum[:, ::finest])


def _every(side: Tensor, steps: list[int], bins: int) -> Tensor:
    """Return what stands at multiples of each of some steps, from one step on: (batch, bin, step, channel)."""
    if len(steps) == 1:
        return side.unsqueeze(2)
    return torch.stack([side[:, step - 1 : step * bins : step] for step in steps], dim=2)


class AlignedSpectrum(ExactBuffers, RecordView):
    """Spectrum around the carrier, demodulated at its interpolated frequency, phase removed, sides folded together.

    A trapped electron shines at its carrier f_c and at f_c ± 2n f_a. Seen from the carrier the picture no longer
    depends on f_c: the axial motion is all that remains, and where the sidebands stand tells the pitch angle.

    `series` is (batch, bins, 4 a read-out channel), in units of `scale_volt` (default: σ of the nominal noise in one
    channel), position i at the distance (i + 1) · f_s/N from the carrier; `scalars` is (batch, 2): the carrier in MHz
    above the middle of the band, and the logarithm of its amplitude. The amplitude is kept: absolute power is the only
    handle on the radius.

    A port away from the middle of a cavity with several modes sees lines at odd multiples of f_a too, and those at f_a
    itself are the strongest. With `parts` = (2,) position i shows beside what stands at its distance what stands at
    half of it: both lines of one axial motion are then in one place.

    Args:
        sampling_rate_hz: of the records.
        band_hz: where the carrier is searched, after mixing.
        half_width_hz: how far from the carrier the folded spectrum reaches.
        scale_volt: unit of the series; a fixed number, never the record's own.
        input_channels: two a read-out channel, I and Q.
        parts: what stands at the distance over each of these whole numbers follows in further channels.
        carrier_bins: bins on either side from which the carrier is read; with one its error is 1.28 times the
            Cramér–Rao bound's, with eight 1.04 times.
        comb: lines, counted in the finest part of the distance at which a line stands, from which the carrier and that
            distance are read together once it is known (`read_comb`); none: the carrier speaks for itself.
        rise_hz_per_s: lowest and highest rate at which carriers rise; each record's is found and taken out. For long
            records: in 20 µs a line rises by a part of a bin, in 122 µs by nine.

    """

    fits: Tensor | None
    comb: Tensor | None

    def __init__(
        self,
        sampling_rate_hz: float,
        band_hz: tuple[float, float] = SIGNAL_BAND_HZ,
        half_width_hz: float = 18.9e6,
        scale_volt: float | None = None,
        input_channels: int = 2,
        parts: tuple[int, ...] = (),
        carrier_bins: int = 1,
        rise_hz_per_s: tuple[float, float] | None = None,
        comb: tuple[int, ...] = (),
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
        if any(part < 2 for part in parts) or len(set(parts)) < len(parts):
            raise UserError(f"parts {list(parts)} must be different whole numbers from 2 on.")
        finest = math.lcm(1, *parts)
        if finest > FINEST:
            raise UserError(
                f"parts {list(parts)} want bins of 1/{finest}, and down to 1/{FINEST} are made: leave out some."
            )
        if rise_hz_per_s is not None and not rise_hz_per_s[0] < rise_hz_per_s[1]:
            raise UserError(f"rise_hz_per_s {list(rise_hz_per_s)} must rise from the lowest rate to the highest.")
        if carrier_bins < 1:
            raise UserError(f"carrier_bins {carrier_bins} must be 1 or more.")
        if any(order < 1 for order in comb) or len(set(comb)) < len(comb):
            raise UserError(f"comb {list(comb)} must be different whole numbers from 1 on.")
        if comb and carrier_bins < 2:
            raise UserError(f"comb {list(comb)} reads lines from several bins: carrier_bins must be 2 or more.")
        if comb and max(comb) * half_width_hz > finest * sampling_rate_hz / 2:
            raise UserError(
                f"comb {list(comb)} asks for lines up to {max(comb) / finest:g} times as far as half_width_hz "
                f"{half_width_hz:g}, beyond half the sampling rate: leave out the highest."
            )
        fits = line_fits(carrier_bins) if carrier_bins > 1 else None
        self.register_buffer("fits", fits, persistent=False)
        # counted in positions, at which a line of the landmark stands
        orders = powers_of(tuple(order / finest for order in sorted(comb))) if comb else None
        self.register_buffer("comb", orders, persistent=False)
        self.corrects = bool(comb)
        self.rise_hz_per_s = rise_hz_per_s
        self.parts = parts
        # the axial phase counts once for each order: what stands at a part of the distance has a phase of its own
        self.in_phase = 2 * input_channels
        self.channels = self.in_phase * (1 + len(parts))
        self.scalar_count = 2

    def forward(self, series: Series) -> View:
        """Return the folded spectrum and the two scalars; at least float32, whatever autocast says."""
        with torch.autocast(series.device.type, enabled=False):
            records = self._scaled(series)
            records = self._steady(records, self._rise(records))
            return self._folded(series, records, self._carrier(records), None)

    def framed(self, series: Series, guide: Series) -> View:
        """Return the view of records aligned on the carrier of others, their phase removed; scalars are the others'."""
        with torch.autocast(series.device.type, enabled=False):
            others = self._scaled(guide)
            rise = self._rise(others)
            others = self._steady(others, rise)
            carrier = self._carrier(others)
            reference = demodulate(others, carrier.frequency_hz, self.sampling_rate_hz).mean(dim=1, keepdim=True)
            return self._folded(series, self._steady(self._scaled(series), rise), carrier, reference)

    def unfolded(
        self, folded: Float[Tensor, "batch bin fold"], guide: Series
    ) -> tuple[Float[Tensor, "batch line"], Complex[Tensor, "batch line port"]]:
        """Return frequencies (Hz, after mixing, ascending) and spectrum (volts) of a series in the frame of `guide`.

        The inverse of `framed`; orthonormal, as the spectrum itself. The carrier's own bin is in no view, and missing.
        """
        if self.rise_hz_per_s is not None:
            raise UserError("a view that takes the rise of the lines out (rise_hz_per_s) has no spectrum to return to.")
        with torch.autocast(folded.device.type, enabled=False):
            others = self._scaled(guide)
            carrier = self._carrier(others)
            reference = demodulate(others, carrier.frequency_hz, self.sampling_rate_hz).mean(dim=1, keepdim=True)
            sides = torch.view_as_complex(folded[..., : self.in_phase].unflatten(2, (-1, 2, 2)).contiguous())
            turn = torch.sgn(reference) * (self.scale_volt * math.sqrt(0.5))
            upper = (sides[..., 0] + sides[..., 1]) * turn
            lower = (sides[..., 0] - sides[..., 1]).conj() * turn
        offsets = self._axis_hz(guide)
        frequency = carrier.frequency_hz[:, None] + torch.cat((-offsets.flip(0), offsets))
        return frequency, torch.cat((lower.flip(1), upper), dim=1)

    def _scaled(self, series: Series) -> ComplexChannels:
        return to_complex(at_least_float32(series) / self.scale_volt)

    def _carrier(self, records: ComplexChannels) -> Carrier:
        return find_carrier(records, self.sampling_rate_hz, self.band_hz, self.fits)

    def _rise(self, records: ComplexChannels) -> PerRow | None:
        if self.rise_hz_per_s is None:
            return None
        rates = rates_to_try(self.rise_hz_per_s, records.shape[1], self.sampling_rate_hz, records.device)
        return find_rise(records, self.sampling_rate_hz, self.band_hz, rates)

    def _steady(self, records: ComplexChannels, rise: PerRow | None) -> ComplexChannels:
        return records if rise is None else without_rise(records, rise, self.sampling_rate_hz)

    def _folded(self, series: Series, records: ComplexChannels, carrier: Carrier, reference: Tensor | None) -> View:
        aligned = demodulate(records, carrier.frequency_hz, self.sampling_rate_hz)
        bins = self.bins(series.shape[1])
        folded, spectrum = fold_on_carrier(aligned, bins, reference, self.parts)
        offset_mhz = (carrier.frequency_hz - sum(self.band_hz) / 2) / 1e6
        scalars = torch.stack((offset_mhz.to(folded.dtype), carrier.amplitude.clamp(min=1e-6).log()), dim=1)
        return View(folded, scalars, self._axis_hz(series), spectrum if self.corrects else None)

    def correction(self, made: View, position: PerRow) -> Correction:
        """Return by how much the line's position and the carrier are off, read from all lines of the comb."""
        assert self.comb is not None
        assert self.fits is not None
        assert made.spectrum is not None
        with torch.autocast(position.device.type, enabled=False), torch.no_grad():
            samples = made.spectrum.shape[1]
            # |X(0)|² from the logarithm of |X(0)|/√N
            power = made.scalars[:, 1].double().mul(2).exp().mul(samples)
            found = read_comb(made.spectrum, position.double() + 1, self.comb, power, self.fits)
            carrier_mhz = (found.offset * (self.sampling_rate_hz / samples / 1e6)).unsqueeze(1)
            return Correction(found.spacing, nn.functional.pad(carrier_mhz, (0, 1)))

    def _axis_hz(self, series: Series) -> Float[Tensor, "position"]:
        samples = series.shape[1]
        bins, step_hz = self.bins(samples), self.sampling_rate_hz / samples
        return torch.linspace(step_hz, bins * step_hz, bins, device=series.device, dtype=torch.float64)

    def bins(self, samples: int) -> int:
        """Return the length of the view of a record of `samples`."""
        return max(1, min(round(self.half_width_hz * samples / self.sampling_rate_hz), (samples - 1) // 2))


def _bins_around(spectrum: Tensor, peak: Tensor, first: int, count: int, beside: int = 1) -> Tensor:
    """Pick a bin, counted from `first` on, and so many on either side: (batch, 2 beside + 1, channel)."""
    bins = spectrum.shape[1]
    start = first % bins
    near = peak + torch.arange(start - beside, start + beside + 1, device=peak.device)
    if start < beside or start + count + beside > bins:
        near = near % bins
    return spectrum.gather(1, near.unsqueeze(2).expand(-1, -1, spectrum.shape[2]))
