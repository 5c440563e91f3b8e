"""Filters and changes of the sampling rate for complex records; every one acts on each read-out channel alike."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cres.errors import UserError
from cres.transforms.noise import rotate
from cres.transforms.spectrum import (
    at_least_float32,
    band_bins,
    crop_band,
    fast_length,
    fourier,
    from_complex,
    to_complex,
)
from reconstruction.exact_buffers import ExactBuffers
from reconstruction.shapes import Series

Resampled = Float[Tensor, "batch sample channel"]


class BandSelect(nn.Module):
    """Band-pass, mixing and decimation in one: the band's M of N FFT bins become the whole spectrum of M samples.

    y_m = M^{−1/2} Σ_j X_{k₀+j} e^{2πi(j−⌊M/2⌋)m/M}, X the orthonormal FFT of the record, k₀ the band's first bin.
    The middle of the band is mixed to zero; the new sampling rate is M/N of the old one. White noise keeps its
    standard deviation in a channel, a tone of amplitude A gets amplitude A √(N/M). The band edge is ideal and the
    record is taken as periodic. Identity for the band (−f_s/2, f_s/2).
    """

    def __init__(self, sampling_rate_hz: float, band_hz: tuple[float, float]) -> None:
        super().__init__()
        self.sampling_rate_hz = sampling_rate_hz
        self.band_hz = band_hz

    def forward(self, series: Series) -> Resampled:
        """Return (batch, M, channel), float32 (float64 for float64 series)."""
        with torch.autocast(series.device.type, enabled=False):
            band = crop_band(fourier(series), self.sampling_rate_hz, self.band_hz)
            return from_complex(torch.fft.ifft(torch.fft.ifftshift(band, dim=1), dim=1, norm="ortho"))

    def output_rate_hz(self, samples: int) -> float:
        """Return the sampling rate of the selected band of a record of so many samples."""
        return band_bins(samples, self.sampling_rate_hz, self.band_hz)[1] / samples * self.sampling_rate_hz

    def output_centre_hz(self, samples: int) -> float:
        """Return the record frequency that is mixed to zero."""
        first, count = band_bins(samples, self.sampling_rate_hz, self.band_hz)
        return (first + count // 2) / samples * self.sampling_rate_hz


class FrequencyShift(nn.Module):
    """Mix a record by a fixed frequency, s_n → s_n e^{2πi f n/f_s}; the phase is accumulated in float64."""

    def __init__(self, sampling_rate_hz: float, shift_hz: float) -> None:
        super().__init__()
        self.cycles_per_sample = shift_hz / sampling_rate_hz

    def forward(self, series: Series) -> Series:
        """Return the mixed records in the dtype of the series."""
        n = torch.arange(series.shape[1], dtype=torch.float64, device=series.device)
        return rotate(series, 2 * math.pi * torch.remainder(self.cycles_per_sample * n, 1.0)[None, :, None])


class Decimate(ExactBuffers):
    """Low-pass and keep every `factor`-th sample: y_m = Σ_j h_j s_{mD−j}, zero phase, zeros outside the record.

    h is a Kaiser-windowed (β = 5) sinc of cut-off f_s/2D and 20 D + 1 taps with Σh = 1: the same as
    `scipy.signal.resample_poly(s, 1, D)`. Frequencies within 0.7 of the new band pass unchanged to 1 %.
    """

    taps: Tensor

    def __init__(self, factor: int) -> None:
        super().__init__()
        if factor < 1:
            raise UserError(f"a decimation factor must be 1 or more, not {factor}.")
        self.factor = factor
        half = 10 * factor if factor > 1 else 0
        n = torch.arange(-half, half + 1, dtype=torch.float64)
        taps = torch.sinc(n / factor) * torch.kaiser_window(len(n), periodic=False, beta=5.0, dtype=torch.float64)
        self.register_buffer("taps", taps / taps.sum(), persistent=False)

    def forward(self, series: Series) -> Resampled:
        """Return (batch, ⌈time/D⌉, channel), float32 (float64 for float64 series)."""
        with torch.autocast(series.device.type, enabled=False):
            values = at_least_float32(series).transpose(1, 2)
            filtered = torch.nn.functional.conv1d(
                values.flatten(0, 1)[:, None],
                self.taps.to(values.dtype)[None, None],
                stride=self.factor,
                padding=len(self.taps) // 2,
            )
            return filtered.reshape(values.shape[0], values.shape[1], -1).transpose(1, 2)


class ButterworthBandPass(nn.Module):
    """Zero-phase Butterworth band-pass: forward and backward in one, by |H(f)|² on the FFT of the padded record.

    With Ω(f) = tan(πf/f_s) (bilinear transform, prewarped), order n and band (f₁, f₂):
    one-sided   |H|² = 1/(1 + (Ω(f − f_c)/Ω(½(f₂ − f₁)))^{2n}),  f_c = ½(f₁ + f₂): a low-pass moved to the band, for
                complex records, whose positive and negative frequencies are different things;
    two-sided   |H|² = 1/(1 + ((Ω² − Ω₁Ω₂)/(Ω (Ω₂ − Ω₁)))^{2n}): the real band-pass, which lets −f₂ … −f₁ pass, too.
    |H|² multiplies the amplitude: ½ at the band edges. Equal to `scipy.signal.sosfiltfilt` away from the ends of the
    record, outside which it counts as zero.
    """

    def __init__(
        self, sampling_rate_hz: float, band_hz: tuple[float, float], order: int = 4, two_sided: bool = False
    ) -> None:
        super().__init__()
        low, high = band_hz
        nyquist = sampling_rate_hz / 2
        if order < 1 or not -nyquist <= low < high <= nyquist:
            raise UserError(
                f"a band-pass needs an order of 1 or more and a band within ±{nyquist:g} Hz, low before high."
            )
        if two_sided and not 0 < low < high < nyquist:
            raise UserError(f"a two-sided band-pass needs 0 < low < high < {nyquist:g} Hz, not {low:g} to {high:g} Hz.")
        self.sampling_rate_hz = sampling_rate_hz
        self.band_hz = band_hz
        self.order = order
        self.two_sided = two_sided

    def response(self, frequency_hz: Float[Tensor, "bin"]) -> Float[Tensor, "bin"]:
        """Return the factor |H(f)|² that multiplies the amplitude at record frequencies."""
        low, high = self.band_hz
        warped = self._warp(frequency_hz if self.two_sided else frequency_hz - (low + high) / 2)
        edges = self._warp(torch.tensor([low, high, (high - low) / 2], dtype=torch.float64))
        first, last, half_width = (float(edge) for edge in edges)
        if not self.two_sided:
            return 1 / (1 + (warped / half_width) ** (2 * self.order))
        detuning = (warped.square() - first * last) / (warped * (last - first))
        return 1 / (1 + detuning ** (2 * self.order))

    def forward(self, series: Series) -> Series:
        """Return the filtered records, float32 (float64 for float64 series)."""
        with torch.autocast(series.device.type, enabled=False):
            values = to_complex(series)
            samples = values.shape[1]
            padded = fast_length(samples + min(samples, self._ringing_samples()))
            frequency = torch.fft.fftfreq(padded, 1 / self.sampling_rate_hz, dtype=torch.float64, device=series.device)
            response = self.response(frequency).to(values.real.dtype)
            spectrum = torch.fft.fft(values, n=padded, dim=1) * response[:, None]
            return from_complex(torch.fft.ifft(spectrum, dim=1)[:, :samples])

    def _warp(self, frequency_hz: Tensor) -> Tensor:
        return torch.tan(math.pi * frequency_hz / self.sampling_rate_hz)

    def _ringing_samples(self) -> int:
        """Return after how many samples the response has died away (slowest pole: e^{−π b t sin(π/2n)})."""
        low, high = self.band_hz
        decay_per_sample = math.pi * (high - low) / self.sampling_rate_hz * math.sin(math.pi / (2 * self.order))
        return math.ceil(20 / decay_per_sample)
