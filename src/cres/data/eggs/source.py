"""Egg files (Locust, Monarch 3): long records of ADC counts → windows of volts, with their truth where it is known.

A file is read in blocks of windows and never held whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from cres import schema
from cres.data.eggs.header import Stream, read_streams
from cres.data.eggs.samples import read_windows
from cres.data.eggs.truth import egg_hash, read_truth
from cres.data.eggs.windows import Windows, cut_windows
from cres.data.pickles import BadFileError, Columns
from cres.data.settings import StagingSettings

Values = NDArray[Any]

ACQUISITION: Final = "egg_acquisition"
START_TIME: Final = "egg_start_time_s"
_BLOCK_SAMPLES: Final = 1 << 22


@dataclass(frozen=True)
class EggSource:
    """An egg file that is read window by window: what it holds beside them, and where they are."""

    path: Path
    sha256: str
    columns: Columns
    """Facts of the header, notes, and the truth beside it; no series."""
    streams: tuple[Stream, ...]
    windows: Windows
    quadrature: str

    @property
    def block_rows(self) -> int:
        """Windows that are worked on together."""
        channels = sum(len(stream.channels) for stream in self.streams)
        return max(1, _BLOCK_SAMPLES // (self.windows.samples * channels))

    def blocks(self) -> Iterator[tuple[int, dict[str, Values]]]:
        """Yield the first window of each block, and its columns: volts of each channel, truth, identity and place.

        Raises BadFileError where the file cannot be read.
        """
        try:
            with h5py.File(self.path, "r", locking=False) as file:
                for start in range(0, len(self.windows), self.block_rows):
                    yield start, self._block(file, slice(start, start + self.block_rows))
        except (OSError, KeyError, RuntimeError) as error:
            raise _unreadable(self.path, error) from error

    def _block(self, file: h5py.File, rows: slice) -> dict[str, Values]:
        windows = self.windows.moved(self.windows.acquisitions[rows], self.windows.starts[rows])
        channels = [volts for stream in self.streams for volts in read_windows(file, stream, windows, self.quadrature)]
        cells: dict[str, Values] = {}
        for number, volts in enumerate(channels):
            in_phase, quadrature = schema.series_columns(number)
            cells[in_phase], cells[quadrature] = volts.real.copy(), volts.imag.copy()
        truth = {name: values[rows] for name, values in self.columns.cells.items()}
        return {**cells, **_identities(self.sha256, windows), **truth}


def open_egg(path: Path, settings: StagingSettings) -> EggSource:
    """Return what an egg file holds; its samples are read block by block. Raises BadFileError with one sentence."""
    if not path.is_file():
        raise BadFileError(f"{path} is no regular file" if path.exists() else f"{path} cannot be read")
    sha256 = egg_hash(path)
    try:
        with h5py.File(path, "r", locking=False) as file:
            streams = read_streams(path, file)
    except (OSError, KeyError, RuntimeError) as error:
        raise _unreadable(path, error) from error
    _require_alike(path, streams)
    if settings.quadrature == "pairs":
        _require_pairs(path, streams)
    windows = cut_windows(path, streams[0], settings.window_samples)
    notes = _notes(streams[0], windows)
    truth = read_truth(path, windows)
    windows = windows if truth is None else truth.windows
    columns = Columns(truth.columns if truth else {}, _facts(streams[0]), True, notes)
    return EggSource(path, sha256, columns, tuple(streams), windows, settings.quadrature)


def _unreadable(path: Path, error: Exception) -> BadFileError:
    return BadFileError(f"{path} cannot be read as an egg file of version 3, which is HDF5 ({error})")


def _require_pairs(path: Path, streams: list[Stream]) -> None:
    for stream in streams:
        if stream.components == 1 and len(stream.channels) % 2:
            raise BadFileError(f"{path}, {stream.name} has {len(stream.channels)} channels, which make no pairs")


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


# Windows → columns --------------------------------------------------------------------------------------------------


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
