"""What a curriculum leaves of a batch's records: a part of their length, a part of their band."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cres.shapes import Series
from cres.transforms.spectrum import from_complex, to_complex

LENGTH_BLOCK = 64
"""A curriculum of lengths moves in steps of so many samples: other lengths can have slow Fourier transforms."""

Batch = dict[str, Any]


def shortened(batch: Batch, share: float) -> Batch:
    """Return the batch with this share of the records' length, from their start, in whole blocks of samples."""
    if share == 1:
        return batch
    whole = batch["series"].shape[1]
    samples = min(whole, max(1, round(share * whole / LENGTH_BLOCK)) * LENGTH_BLOCK)
    return batch | {"series": batch["series"][:, :samples], "lengths": batch["lengths"].clamp(max=samples)}


def keep_band(series: Series, sampling_rate_hz: float, band_hz: tuple[float, float]) -> Series:
    """Return the records without what lies outside a band of record frequencies; length and sampling rate stay."""
    with torch.autocast(series.device.type, enabled=False):
        frequency = torch.fft.fftfreq(series.shape[1], 1 / sampling_rate_hz, device=series.device)
        inside = (frequency >= band_hz[0]) & (frequency <= band_hz[1])
        spectrum = torch.fft.fft(to_complex(series), dim=1) * inside.unsqueeze(-1)
        return from_complex(torch.fft.ifft(spectrum, dim=1)).to(series.dtype)


def within_length(series: Tensor, lengths: Tensor) -> Tensor:
    """Return the records with zeros, not noise, beyond their length; to ask whether there are any would be a wait."""
    inside = torch.arange(series.shape[1], device=series.device) < lengths.unsqueeze(1)
    return series * inside.unsqueeze(-1)
