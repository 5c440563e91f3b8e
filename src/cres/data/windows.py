"""Which part of a record is read, and in which band: before batching, so that less travels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cres.errors import UserError
from cres.transforms.spectrum import crop_bins, fast_length, from_complex, to_complex


@dataclass(frozen=True)
class Window:
    """`length` samples from `start`; with `jitter_seed` a random start for each (epoch, event), as augmentation."""

    start: int
    length: int
    samples: int
    jitter_seed: int | None = None

    @property
    def fixed(self) -> bool:
        """Whether it is the same in each epoch."""
        return self.jitter_seed is None

    def starts(self, epoch: int, event_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the first sample of each electron's window, (rows,), whatever batch it is in."""
        if self.jitter_seed is None:
            return np.full(len(event_ids), self.start, np.int64)
        room = self.samples - self.length - self.start + 1
        keys = [f"{self.jitter_seed}:{epoch}:{event}".encode() for event in event_ids.tolist()]
        digests = [int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little") for key in keys]
        return np.array([self.start + digest % room for digest in digests], np.int64)


def make_window(start: int, length: int | None, samples: int, jitter_seed: int | None) -> Window:
    """Return a window of records of `samples` samples. Raises UserError where it does not lie within them."""
    length = samples - start if length is None else length
    if start < 0 or length < 1 or start + length > samples:
        raise UserError(f"the window of {length} samples from {start} does not fit in records of {samples}")
    return Window(start, length, samples, jitter_seed)


@dataclass(frozen=True)
class Band:
    """A band of the spectrum, `bins` of `samples` lines from line `first` (may be negative): filter and decimation.

    The band's lines alone, back in time: (t, …) samples become `bins`, the rate falls by the same factor and the
    middle of the band moves to 0 Hz. Volts keep their size, white noise its density.
    """

    first: int
    bins: int
    samples: int

    def shift_hz(self, sampling_rate_hz: float) -> float:
        """Return the frequency that moves to 0 Hz."""
        return (self.first + self.bins // 2) * sampling_rate_hz / self.samples

    def rate_hz(self, sampling_rate_hz: float) -> float:
        """Return the sampling rate after decimation."""
        return sampling_rate_hz * self.bins / self.samples

    def select(self, series: Tensor) -> Tensor:
        """Return volts (rows, samples, channel) within the band, (rows, bins, channel), on any device."""
        return self.in_time(self.lines(series))

    def lines(self, series: Tensor) -> Tensor:
        """Return the band's lines (rows, bins, port), complex, ascending in frequency."""
        return crop_bins(torch.fft.fft(to_complex(series), dim=1), self.first, self.bins)

    def in_time(self, lines: Tensor) -> Tensor:
        """Return volts (rows, bins, channel) with these lines of the band."""
        centred = lines.roll(-(self.bins // 2), dims=1)
        return from_complex(torch.fft.ifft(centred, dim=1).mul_(self.bins / self.samples))


def make_band(band_hz: tuple[float, float], samples: int, sampling_rate_hz: float) -> Band:
    """Return the band between two frequencies after mixing, a little wider where its FFT would be slow.

    Raises UserError where the records do not hold it.
    """
    low, high = band_hz
    if not -sampling_rate_hz / 2 <= low < high <= sampling_rate_hz / 2:
        raise UserError(
            f"the band {low:g} to {high:g} Hz is not within ±{sampling_rate_hz / 2:g} Hz, half of the sampling rate"
        )
    wanted = max(1, round((high - low) * samples / sampling_rate_hz))
    bins = min(fast_length(wanted), samples)
    first = round(low * samples / sampling_rate_hz) - (bins - wanted) // 2
    return Band(min(max(first, -(samples // 2)), (samples + 1) // 2 - bins), bins, samples)
