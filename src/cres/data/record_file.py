"""One HDF5 file of electrons: what it holds, what it says of itself, and its series when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from cres import schema
from cres.data.facts import plain_attributes
from cres.data.row_reader import RowReader, naming_damage
from cres.errors import UserError
from cres.stated import CONFIGURATIONS, NOISE_TEMPERATURE, number, section_of, settings_of_config
from reconstruction.files import stored_config

Rows = NDArray[np.int64]
# Power gain from the cavity's port to the digitiser (a plain ratio): that of a simulation that says none. Data and
# simulation import nothing of each other; a test holds the two equal.
DEFAULT_GAIN: Final = 2.708e9
# What is in memory while content is hashed does not grow with the length of the records (but for a single one).
_HASHED_SAMPLES: Final = 1 << 21
HINT: Final = "make it with `python scripts/data_prep.py`"


class RecordFile:
    """One HDF5 file of electrons: what it holds is read at once, its series only when asked for.

    Handles are opened when they are first needed and never travel to another process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with h5py.File(path, "r", locking=False) as file:
                self._describe(file)
        except (OSError, KeyError, RuntimeError) as error:
            raise UserError(f"{path} cannot be read as HDF5 ({_reason(error)}); {HINT}") from error
        self._scalars: dict[str, NDArray[Any]] = {}
        self._reader: RowReader | None = None
        self._process = 0

    def _describe(self, file: h5py.File) -> None:
        shapes = {name: data.shape for name, data in file.items() if isinstance(data, h5py.Dataset)}
        for name in schema.SERIES_COLUMNS:
            if name not in shapes:
                raise UserError(f"{self.path} has no series {name}; its columns are {', '.join(shapes) or 'none'}")
            if len(shapes[name]) != 2:
                raise UserError(f"{self.path} holds {name} of shape {shapes[name]}; (rows, samples) is expected")
        self.rows, self.samples = (int(size) for size in shapes[schema.SERIES_I])
        for name, shape in shapes.items():
            if not shape or shape[0] != self.rows or (name in schema.SERIES_COLUMNS and shape[1] != self.samples):
                wanted = shapes[schema.SERIES_I]
                raise UserError(f"{self.path} holds {name} of shape {shape} beside series of shape {wanted}")
        if self.rows == 0:
            raise UserError(f"{self.path} holds no electrons")
        if self.samples == 0:
            raise UserError(f"{self.path} holds series without samples")
        self._require_types(file)
        self.columns = tuple(shapes)
        self.scalar_columns = tuple(
            name for name, shape in shapes.items() if len(shape) == 1 and file[name].dtype.kind in "biuf"
        )
        self.attributes = plain_attributes(dict(file.attrs))

    def _require_types(self, file: h5py.File) -> None:
        """Raise UserError where a column that the schema knows holds something else than it says."""
        for name in (name for name in schema.COLUMNS if name in file):
            dtype, shape = file[name].dtype, file[name].shape
            kinds, what = ("iu", "whole numbers") if schema.COLUMNS[name].dtype == "int64" else ("iuf", "real numbers")
            if dtype.kind not in kinds or (name not in schema.SERIES_COLUMNS and len(shape) != 1):
                raise UserError(
                    f"{self.path} holds {name} as {dtype} of shape {shape}; {what}, one a row, are expected"
                )

    def __len__(self) -> int:
        return self.rows

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reader": None, "_process": 0}

    def scalar(self, name: str) -> NDArray[Any]:
        """Return one whole column, (rows, …), kept in memory: float64 or int64 where it is a number a row."""
        if name not in self._scalars:
            with (
                naming_damage(self.path, name, 0, self.rows - 1),
                h5py.File(self.path, "r", locking=False) as file,
            ):
                values = np.asarray(file[name][...])
            self._scalars[name] = _wide(values) if values.ndim == 1 else values
        return self._scalars[name]

    def read_series(self, rows: Rows, starts: Rows, out: NDArray[np.float32]) -> None:
        """Fill `out` (2, rows, length) with I and Q volts, `length` samples of each row from its start."""
        reader = self._opened()
        for channel, name in enumerate(schema.SERIES_COLUMNS):
            reader.read(name, rows, starts, out[channel])

    @cached_property
    def stated(self) -> dict[str, float]:
        """Settings of the apparatus that the file's simulation states."""
        return _stated(self.attributes)

    def content_hashes(self) -> Rows:
        """Return the hash of each electron's series, (rows,): stored by preparation, otherwise made by reading all."""
        if schema.CONTENT_HASH in self.columns:
            return self.scalar(schema.CONTENT_HASH)
        hashes = []
        block = max(1, _HASHED_SAMPLES // self.samples)
        for start in range(0, self.rows, block):
            rows = np.arange(start, min(start + block, self.rows))
            series = np.empty((2, len(rows), self.samples), np.float32)
            self.read_series(rows, np.zeros_like(rows), series)
            hashes.append(schema.content_event_ids(series[0], series[1]))
        return np.concatenate(hashes)

    @cached_property
    def noise_density_w_per_hz(self) -> float:
        """Density of the nominal noise: what the file's simulation says of its read-out, or the default."""
        from cres.transforms.noise import NOMINAL_DENSITY_W_PER_HZ  # torch, which preparation does without
        from cres.transforms.temperature import stated_density_w_per_hz

        return stated_density_w_per_hz(section_of(stored_config(self.attributes), "readout"), NOMINAL_DENSITY_W_PER_HZ)

    @property
    def series_bytes(self) -> int:
        """What all series take in memory."""
        return 2 * 4 * self.rows * self.samples

    def whole_series(self) -> NDArray[np.float32]:
        """Return I and Q of all rows, (2, rows, samples)."""
        series = np.empty((2, self.rows, self.samples), np.float32)
        self.read_series(np.arange(self.rows), np.zeros(self.rows, np.int64), series)
        return series

    def _opened(self) -> RowReader:
        if self._reader is None or self._process != os.getpid():
            self._reader = RowReader(self.path, schema.SERIES_COLUMNS)
            self._process = os.getpid()
        return self._reader

    def close(self) -> None:
        """Close the handles; the next read opens them again."""
        if self._reader is not None and self._process == os.getpid():
            self._reader.close()
        self._reader = None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _wide(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind in "biu":
        return values.astype(np.int64)
    return values.astype(np.float64) if values.dtype.kind == "f" else values


def _stated(attributes: Mapping[str, Any]) -> dict[str, float]:
    """Return the settings that the attributes of a file say of all its records; none where it is not one apparatus."""
    from cres.transforms.temperature import noise_temperature_k  # torch, which preparation does without

    if CONFIGURATIONS in attributes:
        return {}
    config = stored_config(attributes)
    found, readout = settings_of_config(config), section_of(config, "readout")
    density, gain = number(readout.get("noise_density_w_per_hz")), number(readout.get("gain"))
    if NOISE_TEMPERATURE not in found and density is not None and gain:
        found[NOISE_TEMPERATURE] = float(noise_temperature_k(density, gain))
    return found
