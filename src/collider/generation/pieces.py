"""One file of a larger set of generated events or jets: written whole, and known again by what it says of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import h5py
from numpy.typing import NDArray

from collider.generation.wheels import versions
from reconstruction.errors import UserError
from reconstruction.files import atomic_path

Columns = dict[str, NDArray[Any]]
PACKED: Final = {"compression": "gzip", "compression_opts": 4, "shuffle": True, "fletcher32": True}
"""How columns are stored: bytes of one significance beside each other, compressed, with a checksum."""
ROWS_TOGETHER: Final = 16_384
"""Rows of a column of single numbers that are compressed together."""


class Piece(Protocol):
    """A file of a larger set: its kept events from number `start` to `stop`."""

    @property
    def start(self) -> int:
        """Number of its first event."""
        ...

    @property
    def stop(self) -> int:
        """Number behind its last one."""
        ...

    @property
    def path(self) -> Path:
        """Where it lies, or will."""
        ...


def require_same(file: Piece, config_text: str) -> dict[str, Any]:
    """Return the attributes of a file. Raises UserError where it does not hold exactly these events."""
    try:
        with h5py.File(file.path, "r", locking=False) as found:
            attributes = dict(found.attrs)
    except OSError as error:
        raise UserError(f"{file.path} cannot be read as HDF5: remove it, or choose another --output") from error
    told = tuple(attributes.get(name) for name in ("config", "first_event", "events"))
    if told != (config_text, file.start, file.stop - file.start):
        raise UserError(
            f"{file.path} holds other events (another configuration, seed or number of events): remove it, or choose "
            "another --output"
        )
    return attributes


def write_columns(
    file: Piece, columns: Columns, units: Mapping[str, str], facts: Mapping[str, Any], config_text: str
) -> None:
    """Write a file whole or not at all: columns with their units, facts, and what `require_same` asks for."""
    attributes = {
        **facts,
        "first_event": file.start,
        "events": file.stop - file.start,
        "libraries": json.dumps(versions(), sort_keys=True),
        "config": config_text,
    }
    try:
        with atomic_path(file.path) as temporary, h5py.File(temporary, "w", locking=False) as target:
            for name, values in columns.items():
                dataset = target.create_dataset(name, data=values, **_storage(values))
                dataset.attrs["units"] = units.get(name, "")
            for name, value in attributes.items():
                target.attrs[name] = value
    except OSError as error:
        raise UserError(f"{file.path} cannot be written: {error.strerror or error}") from error


def _storage(values: NDArray[Any]) -> dict[str, Any]:
    """Return how a column is stored: one without rows as it is."""
    if not len(values):
        return {}
    return {"chunks": (min(len(values), ROWS_TOGETHER),) if values.ndim == 1 else True, **PACKED}
