"""What a curriculum leaves of a batch's records: a part of their length, a part of their band."""

from __future__ import annotations

import torch

from cres.data.electrons import SERIES
from cres.transforms.spectrum import from_complex, to_complex
from reconstruction.records.batch import Batch, masks_of
from reconstruction.shapes import Series

LENGTH_BLOCK = 64
"""A curriculum of lengths moves in steps of so many samples: other lengths can have slow Fourier transforms."""


def shortened(batch: Batch, share: float) -> Batch:
    """Return the batch with this share of the records' length, from their start, in whole blocks of samples."""
    whole = batch["inputs"][SERIES].shape[1]
    samples = min(whole, max(1, round(share * whole / LENGTH_BLOCK)) * LENGTH_BLOCK)
    masks = {name: mask[:, :samples] for name, mask in masks_of(batch).items()}
    return batch | {"inputs": batch["inputs"] | {SERIES: batch["inputs"][SERIES][:, :samples]}, "masks": masks}


def within_band(batch: Batch, sampling_rate_hz: float, band_hz: tuple[float, float]) -> Batch:
    """Return the batch whose records lack what lies outside a band of record frequencies."""
    series = keep_band(batch["inputs"][SERIES], sampling_rate_hz, band_hz)
    return batch | {"inputs": batch["inputs"] | {SERIES: series}}


def keep_band(series: Series, sampling_rate_hz: float, band_hz: tuple[float, float]) -> Series:
    """Return the records without what lies outside a band of record frequencies; length and sampling rate stay."""
    with torch.autocast(series.device.type, enabled=False):
        frequency = torch.fft.fftfreq(series.shape[1], 1 / sampling_rate_hz, device=series.device)
        inside = (frequency >= band_hz[0]) & (frequency <= band_hz[1])
        spectrum = torch.fft.fft(to_complex(series), dim=1) * inside.unsqueeze(-1)
        return from_complex(torch.fft.ifft(spectrum, dim=1)).to(series.dtype)
