"""Writing columns to HDF5 so that a reader never sees half a file."""

from __future__ import annotations

import errno
import os
import shutil
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from cres import schema
from cres.errors import UserError

_CHUNK_BYTES: Final = 1 << 19
_MARGIN_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class ColumnLayout:
    """Type on disk of one column: (rows, *tail)."""

    dtype: np.dtype[Any]
    tail: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        """Bytes a row."""
        return int(np.prod(self.tail, dtype=np.int64)) * self.dtype.itemsize


Layout = Mapping[str, ColumnLayout]


def layout_of(columns: Mapping[str, NDArray[Any]]) -> dict[str, ColumnLayout]:
    """Return the layout of columns that are in memory."""
    return {name: ColumnLayout(values.dtype, values.shape[1:]) for name, values in columns.items()}


def bytes_needed(layout: Layout, rows: int) -> int:
    """Return how many bytes a file of these columns takes at most."""
    return rows * sum(column.row_bytes for column in layout.values()) + _MARGIN_BYTES


def require_space(folder: Path, layout: Layout, rows: int) -> None:
    """Raise UserError when the disk of `folder` cannot hold `rows` rows."""
    needed = bytes_needed(layout, rows)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(f"{folder} has {free / 1e6:.0f} MB free and {needed / 1e6:.0f} MB are needed; free some space")


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what HDF5 raises on a full or unwritable disk into one sentence that names the file."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC or "No space left" in str(error):
            raise UserError(f"the disk that holds {path.parent} is full; free some space and run again") from error
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error
    except RuntimeError as error:
        raise UserError(f"{path} cannot be written: {error}") from error


class ColumnWriter:
    """An HDF5 file of known length that is filled in blocks. Use as a context manager.

    One dataset a column at the root; ours have chunks of whole rows and checksums, plain ones are contiguous and
    carry no attributes, as other people's readers expect them.
    """

    def __init__(self, path: Path, layout: Layout, rows: int, compression: str = "none", plain: bool = False) -> None:
        self._path = path
        # From v108 on an attribute (the list of sources) may be larger than 64 kB.
        self._file = h5py.File(path, "w", libver=("v108", "v110"), locking=False)
        for name, column in layout.items():
            options = {} if plain else _storage(name, column, rows, compression)
            dataset = self._file.create_dataset(name, (rows, *column.tail), column.dtype, track_times=False, **options)
            if not plain:
                _set_attribute(dataset, "units", schema.COLUMNS[name].unit if name in schema.COLUMNS else "")
        self._reserve(path, bytes_needed(layout, rows))

    def _reserve(self, path: Path, size: int) -> None:
        """Take the blocks now: HDF5 cannot be closed cleanly when it meets a full disk. Closing cuts the rest."""
        self._file.flush()
        descriptor = os.open(path, os.O_RDWR)
        try:
            _take_blocks(descriptor, size)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                os.ftruncate(descriptor, self._file.id.get_filesize())
                self._file.close()
                raise
        finally:
            os.close(descriptor)

    def write(self, start: int, columns: Mapping[str, NDArray[Any]]) -> None:
        """Write a block of rows."""
        for name, values in columns.items():
            if len(values):
                self._file[name][start : start + len(values)] = values

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set root attributes."""
        for name, value in attributes.items():
            _set_attribute(self._file, name, value)

    def __enter__(self) -> ColumnWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        _cut_reserve(self._path)


def _set_attribute(place: h5py.HLObject, name: str, value: Any) -> None:
    """Write an attribute, texts with a fixed length: HDF5 has checksums for these, and none for others."""
    if isinstance(value, str):
        encoded = value.encode()
        place.attrs.create(name, encoded, dtype=h5py.string_dtype("utf-8", max(1, len(encoded))))
    else:
        place.attrs[name] = value


def _take_blocks(descriptor: int, size: int) -> None:
    """Take the blocks of a file, where the system can: on macOS the look at the free space has to do."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)


def _cut_reserve(path: Path) -> None:
    """Cut a closed file at the end of its content, which superblocks of version 2 and 3 tell at byte 28."""
    with path.open("r+b") as file:
        signature, version, end = struct.unpack("<8sB19xQ", file.read(36))
        if signature == b"\x89HDF\r\n\x1a\n" and version in (2, 3):
            file.truncate(end)


def _storage(name: str, column: ColumnLayout, rows: int, compression: str) -> dict[str, Any]:
    if rows == 0:
        return {}
    chunk = max(1, min(rows, _CHUNK_BYTES // max(column.row_bytes, 1)))
    options: dict[str, Any] = {"chunks": (chunk, *column.tail), "fletcher32": True}
    if compression != "none" and name not in (schema.EVENT_ID, schema.CONTENT_HASH):
        options |= {"compression": compression, "shuffle": True}
    return options
