"""Rows of one HDF5 dataset as fast as the file allows.

Uncompressed rows are read from the file by their position, straight into the caller's memory: contiguous datasets,
and chunked ones whose only filter is the checksum (`--check` verifies it). Everything else goes through HDF5 in
blocks. Reading by `pread` needs no lock and no shared file position, so workers and threads do not disturb each other,
and a file that was cut meanwhile gives an error where a memory map would kill the process.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cres.errors import UserError

Rows = NDArray[np.int64]


def row_offsets(dataset: h5py.Dataset) -> Rows | None:
    """Return the position in the file of each row, (rows,), or None where rows do not lie there as they are."""
    if dataset.dtype.byteorder == ">" or dataset.is_virtual or dataset.external or dataset.file.userblock_size:
        return None
    if dataset.compression is not None or dataset.shuffle or dataset.scaleoffset is not None:
        return None
    row_bytes = int(np.prod(dataset.shape[1:], dtype=np.int64)) * dataset.dtype.itemsize
    if dataset.chunks is None:
        start = dataset.id.get_offset()
        return None if start is None else start + row_bytes * np.arange(dataset.shape[0], dtype=np.int64)
    return _chunked_offsets(dataset, row_bytes)


def _chunked_offsets(dataset: h5py.Dataset, row_bytes: int) -> Rows | None:
    if dataset.chunks[1:] != dataset.shape[1:] or _has_other_filters(dataset):
        return None
    rows_per_chunk = dataset.chunks[0]
    starts = np.full(-(-dataset.shape[0] // rows_per_chunk), -1, np.int64)

    def collect(chunk: Any) -> None:
        starts[chunk.chunk_offset[0] // rows_per_chunk] = chunk.byte_offset

    dataset.id.chunk_iter(collect)
    if (starts < 0).any():  # chunks that were never written have no place
        return None
    rows = np.arange(dataset.shape[0], dtype=np.int64)
    return starts[rows // rows_per_chunk] + row_bytes * (rows % rows_per_chunk)


def _has_other_filters(dataset: h5py.Dataset) -> bool:
    properties = dataset.id.get_create_plist()
    codes = {properties.get_filter(index)[0] for index in range(properties.get_nfilters())}
    return bool(codes - {h5py.h5z.FILTER_FLETCHER32})


@contextmanager
def naming_damage(path: Path, name: str, first: int, last: int) -> Iterator[None]:
    """Turn what HDF5 raises on damaged data into one sentence that names file, column and rows."""
    try:
        yield
    except (OSError, KeyError, RuntimeError) as error:
        raise UserError(f"{path} is damaged in column {name}, rows {first} to {last}; prepare it again") from error


class RowReader:
    """Reads rows of the series of one open file. Not shared between processes: each opens its own."""

    def __init__(self, path: Path, names: tuple[str, ...]) -> None:
        self._path = path
        self._file = h5py.File(path, "r", locking=False)
        self._datasets = {name: self._file[name] for name in names}
        self._offsets = {name: row_offsets(dataset) for name, dataset in self._datasets.items()}
        self._descriptor = os.open(path, os.O_RDONLY)
        self._end = weakref.finalize(self, os.close, self._descriptor)  # also where nobody closes it

    def close(self) -> None:
        """Close the file."""
        self._end()
        self._file.close()

    def read(self, name: str, rows: Rows, starts: Rows, out: NDArray[np.float32]) -> None:
        """Fill `out` (rows, length) with `length` samples of each of these rows from its start, in any order."""
        offsets = self._offsets[name]
        dataset = self._datasets[name]
        if offsets is None:
            out[...] = _windows(dataset, rows, starts, out.shape[1])
        elif dataset.dtype == out.dtype and out.flags.c_contiguous:
            self._read_direct(offsets[rows] + starts * out.itemsize, out)
        else:
            raw = np.empty(out.shape, dataset.dtype)
            self._read_direct(offsets[rows] + starts * raw.itemsize, raw)
            out[...] = raw

    def _read_direct(self, positions: Rows, out: NDArray[Any]) -> None:
        expected = out.shape[1] * out.itemsize
        for position, row in zip(positions.tolist(), out, strict=True):
            if os.preadv(self._descriptor, [row.data], position) != expected:
                raise UserError(f"{self._path} is shorter than it says; was it cut while it was read?")


def _windows(dataset: h5py.Dataset, rows: Rows, starts: Rows, length: int) -> NDArray[Any]:
    """Read through HDF5: each run of neighbouring rows at once, whole windows, then the part that is wanted."""
    first, last = int(starts.min()), int(starts.max()) + length
    wide = _block(dataset, rows, slice(first, last))
    if last - first == length:
        return wide
    return np.stack([row[start - first :][:length] for row, start in zip(wide, starts, strict=True)])


def _block(dataset: h5py.Dataset, rows: Rows, window: slice) -> NDArray[Any]:
    unique, inverse = np.unique(rows, return_inverse=True)
    runs = np.split(unique, np.flatnonzero(np.diff(unique) != 1) + 1)
    return np.concatenate([dataset[int(run[0]) : int(run[-1]) + 1, window] for run in runs])[inverse]
