"""Fourier transforms of complex records: conversion of channels, band selection, windows.

Frequencies are those of the record (after mixing), −f_s/2 to f_s/2; a line below the local oscillator is negative.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from cres.errors import UserError
from reconstruction.shapes import Series

ComplexChannels = Complex[Tensor, "batch time port"]
BandSpectrum = Complex[Tensor, "batch bin port"]
Form = Literal["complex", "magnitude", "log_power"]
WindowName = Literal["rectangular", "hann", "hamming", "blackman", "blackman_harris"]


def at_least_float32(values: Tensor) -> Tensor:
    """Return half-precision values as float32, others unchanged."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def to_complex(series: Series) -> ComplexChannels:
    """Return I + iQ for every read-out channel; complex64, or complex128 for float64 series.

    Half precision is widened first: a float16 FFT exists only for powers of two, a bfloat16 one not at all.
    """
    if series.shape[-1] % 2:
        raise UserError(
            f"a series of {series.shape[-1]} channels cannot be read as (I, Q) pairs: give an even number of channels."
        )
    wide = at_least_float32(series).contiguous()
    return torch.view_as_complex(wide.unflatten(-1, (-1, 2)))


def from_complex(values: Complex[Tensor, "batch time port"]) -> Series:
    """Return real and imaginary parts interleaved in the last axis: the inverse of `to_complex`."""
    return torch.view_as_real(values.contiguous()).flatten(-2)


def band_bins(length: int, sampling_rate_hz: float, band_hz: tuple[float, float]) -> tuple[int, int]:
    """Return the first FFT bin of a band and the number of its bins (first may be negative: bin −1 is −f_s/length).

    All bins whose frequency lies in [low, high]. Raises UserError when the band is empty or leaves ±f_s/2.
    """
    low, high = band_hz
    if not -sampling_rate_hz / 2 <= low < high <= sampling_rate_hz / 2:
        raise UserError(
            f"the band {low:g} to {high:g} Hz does not lie within ±{sampling_rate_hz / 2:g} Hz, half the sampling rate:"
            " give (low, high) relative to the local oscillator."
        )
    step = sampling_rate_hz / length
    # a bin that lies on the edge up to rounding belongs to the band
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    count = min(last - first + 1, length)
    if count < 1:
        raise UserError(f"the band {low:g} to {high:g} Hz holds no frequency bin of {length} samples: widen it.")
    return first, count


def band_frequencies_hz(length: int, sampling_rate_hz: float, band_hz: tuple[float, float]) -> Float[Tensor, "bin"]:
    """Return the frequencies of the bins of a band, float64, ascending."""
    first, count = band_bins(length, sampling_rate_hz, band_hz)
    return torch.arange(first, first + count, dtype=torch.float64) * (sampling_rate_hz / length)


def crop_band(
    spectrum: Complex[Tensor, "batch frequency port"], sampling_rate_hz: float, band_hz: tuple[float, float]
) -> BandSpectrum:
    """Return the bins of a band, ascending in frequency, of a spectrum in FFT order (axis 1)."""
    first, count = band_bins(spectrum.shape[1], sampling_rate_hz, band_hz)
    return crop_bins(spectrum, first, count)


def crop_bins(spectrum: Complex[Tensor, "batch frequency port"], first: int, count: int) -> BandSpectrum:
    """Return bins `first` (may be negative) to `first + count` of a spectrum in FFT order (axis 1), ascending."""
    start = first % spectrum.shape[1]
    head = spectrum[:, start : start + count]
    return head if head.shape[1] == count else torch.cat((head, spectrum[:, : count - head.shape[1]]), dim=1)


def fast_length(length: int) -> int:
    """Return the smallest length 2^a 3^b 5^c that is not below `length`: FFTs of it are quick on every device."""
    odd_parts = (3**b * 5**c for b in range(length.bit_length()) for c in range(length.bit_length()))
    return min(part << max(0, (-(-length // part) - 1).bit_length()) for part in odd_parts)


_WINDOWS: dict[WindowName, tuple[float, ...]] = {
    # coefficients of Σ (−1)^k a_k cos(2πkn/N); Harris, Proc. IEEE 66 (1978) 51
    "rectangular": (1.0,),
    "hann": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "blackman": (0.42, 0.5, 0.08),
    "blackman_harris": (0.35875, 0.48829, 0.14128, 0.01168),
}


def window(name: WindowName, length: int, device: torch.device | None = None) -> Float[Tensor, "time"]:
    """Return a periodic window w_n = Σ_k (−1)^k a_k cos(2πkn/N), scaled to Σw² = N, float64.

    With Σw² = N white noise keeps its density, whatever the window.
    """
    angle = torch.arange(length, dtype=torch.float64, device=device) * (2 * math.pi / length)
    values = torch.zeros(length, dtype=torch.float64, device=device)
    for order, coefficient in enumerate(_WINDOWS[name]):
        values += (-1) ** order * coefficient * torch.cos(order * angle)
    return values * values.square().mean().rsqrt()


def fourier(series: Series, window_name: WindowName = "rectangular") -> Complex[Tensor, "batch frequency port"]:
    """Return X_k = N^{−1/2} Σ_n w_n (I + iQ)_n e^{−2πikn/N} in FFT order, with Σw² = N.

    White noise of standard deviation σ in I and Q has standard deviation σ in the real and imaginary part of every
    bin; a tone of amplitude A reaches A √N with the rectangular window. Runs in float32 (or 64) under autocast, too.
    """
    with torch.autocast(series.device.type, enabled=False):
        values = to_complex(series)
        if window_name != "rectangular":
            values = values * window(window_name, values.shape[1], values.device).to(values.real.dtype)[:, None]
        return torch.fft.fft(values, dim=1, norm="ortho")


def form_channels(spectrum: BandSpectrum, form: Form, floor: float = 1e-12) -> Float[Tensor, "batch bin channel"]:
    """Return a spectrum as real channels.

    complex: real and imaginary part interleaved; magnitude: √(|X|² + floor); log_power: ln(|X|² + floor). The floor
    keeps gradients finite where a padded record is exactly zero.
    """
    if form == "complex":
        return from_complex(spectrum)
    power = spectrum.real.square() + spectrum.imag.square() + floor
    return {"magnitude": torch.sqrt, "log_power": torch.log}[form](power)


def periodogram_w_per_hz(
    series: Series, sampling_rate_hz: float, window_name: WindowName = "rectangular", resistance_ohm: float = 50.0
) -> Float[Tensor, "batch frequency port"]:
    """Return the power spectral density |X_k|²/(R f_s) of records in volts, in FFT order.

    Its mean over white noise of `WhiteNoise` is that noise's density S; its sum times f_s/N is the mean power
    ⟨|I + iQ|²⟩/R.
    """
    spectrum = fourier(series, window_name)
    return (spectrum.real.square() + spectrum.imag.square()) / (resistance_ohm * sampling_rate_hz)
