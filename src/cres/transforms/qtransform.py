"""Constant-Q transform of complex records: time resolution where the frequency is high, and the reverse."""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from cres.errors import UserError
from cres.transforms.spectrum import fourier
from reconstruction.exact_buffers import ExactBuffers
from reconstruction.shapes import Series

TimeFrequency = Complex[Tensor, "batch tile bin port"]


class QTransform(ExactBuffers):
    """Constant-Q transform with bisquare windows, batched and differentiable.

    Q(τ_m, f_j) = Σ_k w_jk X_k e^{2πi(k−k_j)m/M} / √(Σ_k w_jk²),   w_jk = (1 − x²)² for |x| < 1, else 0,
    x = (ν_k − f_j) q/(√11 |f_j|),   τ_m = mT/M,   k_j the bin nearest to f_j,   X the orthonormal FFT, ν_k its bins.
    The window of Chatterji et al., Class. Quantum Grav. 21 (2004) S1809, of half width √11 |f|/q, here on a complex
    record: bands below the local oscillator have negative frequencies, and q counts from the record's zero. White
    noise of standard deviation σ in I and Q has standard deviation σ in the real and imaginary part of every tile.
    The record is taken as periodic. Frequencies are equidistant in log |f|, both ends of the band included.
    """

    frequency_hz: Tensor

    def __init__(
        self,
        sampling_rate_hz: float,
        band_hz: tuple[float, float],
        q: float = 100.0,
        frequencies: int = 64,
        times: int = 128,
    ) -> None:
        super().__init__()
        low, high = band_hz
        if not -sampling_rate_hz / 2 <= low < high <= sampling_rate_hz / 2 or low <= 0 <= high:
            raise UserError(
                f"a Q-transform needs a band within ±{sampling_rate_hz / 2:g} Hz that leaves out 0 Hz,"
                f" not {low:g} to {high:g} Hz."
            )
        if q <= math.sqrt(11) or frequencies < 2 or times < 1:
            raise UserError("a Q-transform needs q above √11, at least 2 frequencies and at least 1 time.")
        self.sampling_rate_hz = sampling_rate_hz
        self.q = q
        self.times = times
        self.half_width_hz = tuple(math.sqrt(11) * abs(edge) / q for edge in sorted(band_hz, key=abs))
        magnitude = torch.logspace(math.log10(abs(low)), math.log10(abs(high)), frequencies, dtype=torch.float64)
        self.register_buffer("frequency_hz", math.copysign(1.0, low) * magnitude, persistent=False)

    @property
    def bins(self) -> int:
        """Number of frequencies."""
        return len(self.frequency_hz)

    def forward(self, series: Series) -> TimeFrequency:
        """Return (batch, times, frequencies, port), complex64 (complex128 for float64 series)."""
        with torch.autocast(series.device.type, enabled=False):
            spectrum = fourier(series)
            bins, weights = self._tiles(spectrum.shape[1])
            tiles = spectrum[:, bins] * weights.to(spectrum.real.dtype)[..., None]
            in_time = torch.fft.ifft(tiles, dim=2, norm="forward")
            return in_time[:, :, :: in_time.shape[2] // self.times].transpose(1, 2)

    def _tiles(self, samples: int) -> tuple[Int[Tensor, "bin point"], Float[Tensor, "bin point"]]:
        """Return the FFT bins of every tile, in the order of an inverse FFT around its middle, and their weights."""
        step = self.sampling_rate_hz / samples
        narrowest, widest = self.half_width_hz
        if narrowest < step:
            largest = self.q * narrowest / step
            raise UserError(f"q = {self.q:g} is too large for records of {samples} samples: at most {largest:.4g}.")
        centre = torch.round(self.frequency_hz / step)
        points = self.times * math.ceil((2 * math.ceil(widest / step) + 3) / self.times)
        offset = torch.fft.fftfreq(points, 1 / points, dtype=torch.float64, device=centre.device)
        bins = centre[:, None] + offset
        distance = (bins * step / self.frequency_hz[:, None] - 1) * (self.q / math.sqrt(11))
        window = (1 - distance.square()).clamp(min=0).square()
        norm = window.square().sum(dim=1, keepdim=True)
        return torch.remainder(bins, samples).long(), window * norm.rsqrt()
