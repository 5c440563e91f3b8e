"""Short-time Fourier transform, and views of time–frequency maps."""

from __future__ import annotations

import torch
from jaxtyping import Complex
from torch import Tensor, nn

from cres.errors import UserError
from cres.transforms.qtransform import QTransform
from cres.transforms.spectrum import (
    Form,
    WindowName,
    band_bins,
    band_frequencies_hz,
    crop_band,
    form_channels,
    to_complex,
    window,
)
from cres.transforms.views import SIGNAL_BAND_HZ, no_scalars, nominal_scale_volt
from reconstruction.models.encoders.views import RecordView, View
from reconstruction.shapes import Series


class STFT(nn.Module):
    """Short-time Fourier transform X_mk = L^{−1/2} Σ_n w_n s_{mH+n} e^{−2πikn/L} with Σw² = L, bins of a band.

    L = `length` samples a frame, H = `hop`; whole frames only, 1 + ⌊(N − L)/H⌋ of them. White noise of standard
    deviation σ in I and Q has standard deviation σ in the real and imaginary part of every tile.
    """

    def __init__(
        self,
        sampling_rate_hz: float,
        band_hz: tuple[float, float] = SIGNAL_BAND_HZ,
        length: int = 512,
        hop: int = 256,
        window: WindowName = "hann",
    ) -> None:
        super().__init__()
        if hop < 1:
            raise UserError(f"the hop of a short-time Fourier transform must be 1 or more samples, not {hop}.")
        self.sampling_rate_hz = sampling_rate_hz
        self.band_hz = band_hz
        self.length = length
        self.hop = hop
        self.window: WindowName = window
        self.bins = band_bins(length, sampling_rate_hz, band_hz)[1]

    @property
    def frequency_hz(self) -> Tensor:
        """Record frequencies of the bins, ascending, float64."""
        return band_frequencies_hz(self.length, self.sampling_rate_hz, self.band_hz)

    def forward(self, series: Series) -> Complex[Tensor, "batch frame bin port"]:
        """Return (batch, frames, bins, port), complex64 (complex128 for float64 series)."""
        if series.shape[1] < self.length:
            raise UserError(f"a record of {series.shape[1]} samples is shorter than one frame of {self.length}.")
        with torch.autocast(series.device.type, enabled=False):
            frames = to_complex(series).unfold(1, self.length, self.hop)
            weights = window(self.window, self.length, series.device).to(frames.real.dtype)
            spectrum = torch.fft.fft(frames * weights, dim=-1, norm="ortho")
            count, port = spectrum.shape[1:3]
            columns = spectrum.permute(0, 3, 1, 2).flatten(2)
            return crop_band(columns, self.sampling_rate_hz, self.band_hz).unflatten(2, (count, port)).transpose(1, 2)


class SpectrogramView(RecordView):
    """A time–frequency map as a view: length = times, channels = frequencies × read-out channels (× 2 if complex).

    `transform` is an `STFT` or a `QTransform`; values are in units of `scale_volt` (default: σ of the nominal noise),
    so that nominal noise has unit variance in the real and the imaginary part. `form` as in `SpectrumView`.
    """

    def __init__(
        self,
        transform: STFT | QTransform,
        form: Form = "log_power",
        scale_volt: float | None = None,
        input_channels: int = 2,
    ) -> None:
        super().__init__()
        self.transform = transform
        self.form: Form = form
        self.scale_volt = nominal_scale_volt(transform.sampling_rate_hz, scale_volt)
        self.channels = transform.bins * (input_channels if form == "complex" else input_channels // 2)
        self.scalar_count = 0

    def forward(self, series: Series) -> View:
        """Return (batch, times, channels), float32 (float64 for float64 series)."""
        with torch.autocast(series.device.type, enabled=False):
            values = form_channels(self.transform(series).flatten(2) / self.scale_volt, self.form)
        return View(values, no_scalars(values))
