"""Views: what an encoder sees of a record. Made on the device from noisy volts, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from cres.errors import UserError
from cres.transforms.filters import BandSelect
from cres.transforms.noise import NOMINAL_DENSITY_W_PER_HZ, channel_std_volt
from cres.transforms.spectrum import Form, WindowName, at_least_float32, crop_band, form_channels, fourier
from reconstruction.models.encoders.views import RecordView, View
from reconstruction.shapes import Features, Lengths, Series

SIGNAL_BAND_HZ = (-80e6, -45e6)
"""Holds every carrier of the default apparatus and the axial sidebands that carry its power."""


def no_scalars(series: Series) -> Features:
    """Return an empty (batch, 0) tensor for views without scalars."""
    return series.new_zeros((series.shape[0], 0))


def nominal_scale_volt(sampling_rate_hz: float, scale_volt: float | None) -> float:
    """Return the given scale, or the nominal white noise in one channel: a fixed number, never the record's own."""
    if scale_volt is None:
        return channel_std_volt(NOMINAL_DENSITY_W_PER_HZ, sampling_rate_hz)
    if scale_volt <= 0:
        raise UserError(f"scale_volt must be positive, not {scale_volt:g}.")
    return scale_volt


class TimeView(RecordView):
    """The record in time, in units of `scale_volt` (default: σ of the nominal noise, √(R/2 · S · f_s)).

    With a band, `BandSelect` mixes it to zero and decimates the record to the band's width.
    """

    def __init__(
        self,
        sampling_rate_hz: float,
        band_hz: tuple[float, float] | None = SIGNAL_BAND_HZ,
        scale_volt: float | None = None,
        input_channels: int = 2,
    ) -> None:
        super().__init__()
        self.select = None if band_hz is None else BandSelect(sampling_rate_hz, band_hz)
        self.scale_volt = nominal_scale_volt(sampling_rate_hz, scale_volt)
        self.channels = input_channels
        self.scalar_count = 0
        self.piecewise = band_hz is None

    def forward(self, series: Series) -> View:
        """Return (batch, length, channels): I and Q, interleaved, float32 (float64 for float64 series)."""
        selected = at_least_float32(series) if self.select is None else self.select(series)
        scaled = selected / self.scale_volt
        return View(scaled, no_scalars(scaled))

    def lengths(self, lengths: Lengths, samples: int, positions: int) -> Lengths | None:
        """Return the lengths after decimation, rounded up."""
        return (lengths * positions + samples - 1).div(samples, rounding_mode="floor")


class SpectrumView(RecordView):
    """The spectrum of the band that holds the signal, in units of `scale_volt` (default: σ of the nominal noise).

    X_k = N^{−1/2} Σ_n w_n (I + iQ)_n e^{−2πikn/N} / scale_volt, Σw² = N, bins of [low, high] ascending in frequency.
    Nominal white noise then has unit variance in the real and the imaginary part. `form`: "complex" (real, imaginary),
    "magnitude" |X|, "log_power" ln(|X|² + 1e−12). `band_hz=None` is the whole spectrum, of records that hold the band
    alone.
    """

    def __init__(
        self,
        sampling_rate_hz: float,
        band_hz: tuple[float, float] | None = SIGNAL_BAND_HZ,
        form: Form = "complex",
        window: WindowName = "rectangular",
        scale_volt: float | None = None,
        input_channels: int = 2,
    ) -> None:
        super().__init__()
        self.sampling_rate_hz = sampling_rate_hz
        self.band_hz = band_hz or (-sampling_rate_hz / 2, sampling_rate_hz / 2)
        self.form: Form = form
        self.window: WindowName = window
        self.scale_volt = nominal_scale_volt(sampling_rate_hz, scale_volt)
        self.channels = input_channels if form == "complex" else input_channels // 2
        self.scalar_count = 0

    def forward(self, series: Series) -> View:
        """Return (batch, bins, channels), float32 (float64 for float64 series)."""
        with torch.autocast(series.device.type, enabled=False):
            band = crop_band(fourier(series, self.window), self.sampling_rate_hz, self.band_hz)
            values = form_channels(band / self.scale_volt, self.form)
            return View(values, no_scalars(values))


class FilteredView(RecordView):
    """A view of filtered records: `filters` one after the other (a band-pass, a shift, a decimation), then `view`.

    After a change of the sampling rate the view needs the new rate.
    """

    def __init__(self, filters: Sequence[nn.Module], view: RecordView) -> None:
        super().__init__()
        self.filters = nn.Sequential(*filters)
        self.view = view
        self.channels = view.channels
        self.scalar_count = view.scalar_count

    def forward(self, series: Series) -> View:
        """Return the inner view of the filtered records."""
        view: View = self.view(self.filters(series))
        return view

    def framed(self, series: Series, guide: Series) -> View:
        """Return the inner view in the frame of another record that is filtered alike."""
        return self.view.framed(self.filters(series), self.filters(guide))

    def lengths(self, lengths: Lengths, samples: int, positions: int) -> Lengths | None:
        """Return the lengths as the inner view has them."""
        return self.view.lengths(lengths, samples, positions)
