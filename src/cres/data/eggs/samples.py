"""Samples of an egg file: any stretch of an acquisition as complex volts, without the rest of it in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import h5py
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from cres.data.eggs.header import Stream
from cres.data.eggs.windows import Windows

Values = NDArray[Any]
ComplexVolts = NDArray[np.complex64]

ANALYTIC_MARGIN: Final = 16_384
"""Samples on either side of a stretch of real voltages that its analytic signal is made from."""


def read_windows(file: h5py.File, stream: Stream, windows: Windows, quadrature: str) -> list[ComplexVolts]:
    """Return for each channel the complex volts of the windows, (window, sample)."""
    parts = [
        _stretch(file, stream, acquisition, first, count * windows.samples, quadrature)
        for acquisition, first, count in _runs(windows)
    ]
    volts = np.concatenate(parts, axis=1)
    return list(volts.reshape(len(volts), len(windows), windows.samples))


def _runs(windows: Windows) -> Iterator[tuple[int, int, int]]:
    """Yield acquisition, first sample and number of windows that follow one another."""
    follows = (np.diff(windows.starts) == windows.samples) & (np.diff(windows.acquisitions) == 0)
    begins = np.concatenate([[0], np.flatnonzero(~follows) + 1, [len(windows)]])
    for begin, end in zip(begins[:-1].tolist(), begins[1:].tolist(), strict=True):
        yield int(windows.acquisitions[begin]), int(windows.starts[begin]), end - begin


def _stretch(
    file: h5py.File, stream: Stream, acquisition: int, first: int, count: int, quadrature: str
) -> ComplexVolts:
    """Return the complex volts of a stretch of an acquisition, (channel, time)."""
    name = stream.acquisitions[acquisition].name
    data = file["streams"][stream.name]["acquisitions"][name]
    if stream.components == 2 or quadrature == "pairs":
        volts = _volts(data, stream, first, first + count)
        if stream.components == 2:
            return np.asarray(volts[..., 0] + np.complex64(1j) * volts[..., 1])
        return np.asarray(volts[0::2, :, 0] + np.complex64(1j) * volts[1::2, :, 0])
    length = stream.acquisitions[acquisition].records * stream.record_samples
    low, high = max(0, first - ANALYTIC_MARGIN), min(length, first + count + ANALYTIC_MARGIN)
    volts = _volts(data, stream, low, high)[..., 0]
    faded = volts * _fade(volts.shape[1], low > 0, high < length)
    return analytic(faded)[:, first - low : first - low + count]


def _fade(samples: int, begin: bool, end: bool) -> NDArray[np.float32]:
    """Return a window that rises over the margin where samples before it were left out, and falls likewise."""
    window = np.ones(samples, np.float32)
    rise = np.sin(0.5 * np.pi * (np.arange(ANALYTIC_MARGIN) + 0.5) / ANALYTIC_MARGIN) ** 2
    if begin:
        window[:ANALYTIC_MARGIN] = rise
    if end:
        window[-ANALYTIC_MARGIN:] = rise[::-1]
    return window


def analytic(real_volts: Values) -> ComplexVolts:
    """Return I + iQ of real voltages, (channel, time): positive frequencies only, and the power as it was.

    P = V²/R of a real voltage, |I + iQ|²/R of a complex one: √2 times the positive half of the spectrum.
    """
    spectrum = scipy.fft.fft(real_volts.astype(np.float32), axis=-1)
    samples = real_volts.shape[-1]
    spectrum[..., samples // 2 + 1 :] = 0
    spectrum[..., 1 : (samples + 1) // 2] *= np.float32(np.sqrt(2.0))
    return scipy.fft.ifft(spectrum, axis=-1).astype(np.complex64)


# Counts → volts ----------------------------------------------------------------------------------------------------


def _volts(data: h5py.Dataset, stream: Stream, first: int, last: int) -> NDArray[np.float32]:
    """Return the volts of samples `first` to `last` of an acquisition, (channel, time, component)."""
    counts = np.concatenate(list(_counts(data, stream, first, last)), axis=1)
    if stream.shift:
        counts = counts >> stream.shift
    volts = counts.astype(np.float32)
    for channel, header in zip(volts, stream.channels, strict=True):
        channel *= np.float32(header.gain_v)
        channel += np.float32(header.offset_v)
    return volts


def _counts(data: h5py.Dataset, stream: Stream, first: int, last: int) -> Iterator[Values]:
    """Yield pieces of a stretch, (channel, time, component): whole records together, parts of one by themselves."""
    size = stream.record_samples
    while first < last:
        record, offset = divmod(first, size)
        whole = (last - first) // size if offset == 0 else 0
        if whole:
            yield _whole(data[record : record + whole], stream)
            first += whole * size
        else:
            end = min(size, offset + last - first)
            yield _part(data, stream, record, offset, end)
            first += end - offset


def _whole(raw: Values, stream: Stream) -> Values:
    records, channels = len(raw), len(stream.channels)
    if stream.interleaved:
        counts = raw.reshape(records, stream.record_samples, channels, stream.components).transpose(2, 0, 1, 3)
    else:
        counts = raw.reshape(records, channels, stream.record_samples, stream.components).transpose(1, 0, 2, 3)
    return counts.reshape(channels, records * stream.record_samples, stream.components)


def _part(data: h5py.Dataset, stream: Stream, record: int, first: int, last: int) -> Values:
    """Return samples of one record; of a dataset of more than two dimensions the whole record is read."""
    if data.ndim != 2:
        return _whole(data[record : record + 1], stream)[:, first:last]
    channels, width = len(stream.channels), stream.components
    if stream.interleaved:
        raw = data[record, first * channels * width : last * channels * width]
        return np.asarray(raw.reshape(last - first, channels, width).transpose(1, 0, 2))
    begins = np.arange(channels) * stream.record_samples
    parts = [data[record, (begin + first) * width : (begin + last) * width] for begin in begins.tolist()]
    return np.stack(parts).reshape(channels, last - first, width)
