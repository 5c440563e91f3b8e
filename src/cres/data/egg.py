"""Egg files (Locust, Monarch 3): long records of ADC counts → windows of volts, with their truth where it is known."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from cres import schema
from cres.data.egg_header import Stream, read_streams
from cres.data.egg_truth import egg_hash, read_truth
from cres.data.egg_windows import Windows, cut_windows
from cres.data.pickled_frames import Columns
from cres.data.settings import StagingSettings
from cres.data.unpickle import BadFileError, Source

Values = NDArray[Any]

ACQUISITION: Final = "egg_acquisition"
START_TIME: Final = "egg_start_time_s"


def read_egg(path: Path, settings: StagingSettings) -> Source:
    """Return the windows of an egg file as columns: volts of each channel, time, truth, and an id for each.

    The whole file is in memory, as float32 volts. Raises BadFileError with one sentence.
    """
    if not path.is_file():
        raise BadFileError(f"{path} is no regular file" if path.exists() else f"{path} cannot be read")
    sha256 = egg_hash(path)
    try:
        with h5py.File(path, "r", locking=False) as file:
            streams = read_streams(path, file)
            _require_alike(path, streams)
            channels = [volts for stream in streams for volts in _series(path, file, stream, settings.quadrature)]
    except (OSError, KeyError, RuntimeError) as error:
        raise BadFileError(f"{path} cannot be read as an egg file of version 3, which is HDF5 ({error})") from error
    windows = cut_windows(path, streams[0], settings.window_samples)
    notes = _notes(streams[0], windows)
    truth = read_truth(path, windows)
    windows = windows if truth is None else truth.windows
    cells = {**_cells(channels, windows), **_identities(sha256, windows), **(truth.columns if truth else {})}
    return Source(path, sha256, Columns(cells, _facts(streams[0]), True, notes))


def _require_alike(path: Path, streams: list[Stream]) -> None:
    """Raise BadFileError where streams are not of one clock: their channels would not be one record."""
    first = streams[0]
    for stream in streams[1:]:
        same = (stream.rate_hz, stream.record_samples, stream.acquisitions, stream.oscillator_hz())
        if same != (first.rate_hz, first.record_samples, first.acquisitions, first.oscillator_hz()):
            raise BadFileError(
                f"{path} holds streams of different rate, band or length ({first.name}, {stream.name}), "
                "which are no channels of one record"
            )
    for stream in streams:
        bands = {(channel.frequency_min_hz, channel.frequency_range_hz) for channel in stream.channels}
        if len(bands) > 1:
            raise BadFileError(f"{path}, {stream.name} holds channels of different bands, which are not read together")
        if stream.rate_hz <= 0:
            raise BadFileError(f"{path}, {stream.name} says acquisition_rate = {stream.rate_hz / 1e6:g} MHz")


# Counts → volts ----------------------------------------------------------------------------------------------------


def _series(path: Path, file: h5py.File, stream: Stream, quadrature: str) -> list[list[Values]]:
    """Return for each channel its complex volts, one array an acquisition."""
    of_acquisition = [_acquisition_volts(file, stream, acquisition.name) for acquisition in stream.acquisitions]
    if stream.components == 2:
        complex_volts = [volts[..., 0] + np.complex64(1j) * volts[..., 1] for volts in of_acquisition]
    elif quadrature == "pairs":
        if len(stream.channels) % 2:
            raise BadFileError(f"{path}, {stream.name} has {len(stream.channels)} channels, which make no pairs")
        complex_volts = [volts[0::2, :, 0] + np.complex64(1j) * volts[1::2, :, 0] for volts in of_acquisition]
    else:
        complex_volts = [analytic(volts[..., 0]) for volts in of_acquisition]
    return [[volts[channel] for volts in complex_volts] for channel in range(len(complex_volts[0]))]


def _acquisition_volts(file: h5py.File, stream: Stream, name: str) -> NDArray[np.float32]:
    """Return the volts of one acquisition, (channel, time, component)."""
    data = file["streams"][stream.name]["acquisitions"][name]
    records = next(item.records for item in stream.acquisitions if item.name == name)
    channels = len(stream.channels)
    raw = data[:records]
    if stream.interleaved:
        counts = raw.reshape(records, stream.record_samples, channels, stream.components).transpose(2, 0, 1, 3)
    else:
        counts = raw.reshape(records, channels, stream.record_samples, stream.components).transpose(1, 0, 2, 3)
    counts = counts.reshape(channels, records * stream.record_samples, stream.components)
    if stream.shift:
        counts = counts >> stream.shift
    volts = counts.astype(np.float32)
    for channel, header in zip(volts, stream.channels, strict=True):
        channel *= np.float32(header.gain_v)
        channel += np.float32(header.offset_v)
    return volts


def analytic(real_volts: Values) -> NDArray[np.complex64]:
    """Return I + iQ of real voltages, (channel, time): positive frequencies only, and the power as it was.

    P = V²/R of a real voltage, |I + iQ|²/R of a complex one: √2 times the positive half of the spectrum.
    """
    spectrum = scipy.fft.fft(real_volts.astype(np.float32), axis=-1)
    samples = real_volts.shape[-1]
    spectrum[..., samples // 2 + 1 :] = 0
    spectrum[..., 1 : (samples + 1) // 2] *= np.float32(np.sqrt(2.0))
    return scipy.fft.ifft(spectrum, axis=-1).astype(np.complex64)


# Windows → columns --------------------------------------------------------------------------------------------------


def _cells(channels: list[list[Values]], windows: Windows) -> dict[str, Values]:
    cells: dict[str, Values] = {}
    for number, acquisitions in enumerate(channels):
        volts = np.stack(
            [
                acquisitions[acquisition][start : start + windows.samples]
                for acquisition, start in zip(windows.acquisitions, windows.starts, strict=True)
            ]
        )
        in_phase, quadrature = schema.series_columns(number)
        cells[in_phase], cells[quadrature] = volts.real.copy(), volts.imag.copy()
    return cells


def _identities(sha256: str, windows: Windows) -> dict[str, Values]:
    """Return an id of each window, made from file and place (noise and silence repeat), and where it was."""
    names = [f"{sha256}:{a}:{s}".encode() for a, s in zip(windows.acquisitions, windows.starts, strict=True)]
    ids = [int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little") >> 1 for name in names]
    return {
        schema.EVENT_ID: np.array(ids, np.int64),
        ACQUISITION: windows.acquisitions,
        START_TIME: windows.start_times_s(),
    }


def _facts(stream: Stream) -> dict[str, Any]:
    facts: dict[str, Any] = {"sampling_rate_hz": stream.rate_hz}
    oscillator_hz = stream.oscillator_hz()
    return facts if oscillator_hz is None else {**facts, "lo_frequency_hz": oscillator_hz}


def _notes(stream: Stream, windows: Windows) -> tuple[str, ...]:
    notes = []
    if windows.left_over:
        notes.append(f"{windows.left_over} samples at the ends of its acquisitions fill no window of {windows.samples}")
    if stream.components == 1:
        notes.append("its samples are real, and I and Q were made from them (see --quadrature)")
    return tuple(notes)
