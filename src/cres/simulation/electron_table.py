"""Start values of electrons from a table of the user: CSV, or HDF5 with one dataset a column."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cres.errors import UserError, nearest

FloatArray = NDArray[np.float64]

RANGES = {
    "energy_ev": (100.0, 1e6),
    "pitch_angle_deg": (0.0, 180.0),
    "radius_m": (0.0, 10.0),
    "azimuth_rad": (-1e9, 1e9),
    "start_phase_rad": (-1e9, 1e9),
    "axial_phase_rad": (-1e9, 1e9),
    "amplitude": (0.0, 1e3),
}
"""Columns that a table may have, in any spelling of upper and lower case, and what is plausible in them."""

HDF5_ENDINGS = (".h5", ".hdf5")


def read_electron_table(path: str | Path) -> dict[str, FloatArray]:
    """Return the columns of a table, (rows,) float64 each; those that are missing are left to the ensemble.

    Raises UserError for a file without known columns, with unknown ones, or with values that are none.
    """
    file = Path(path)
    try:
        changed = file.stat().st_mtime_ns
    except OSError as error:
        raise UserError(f"the table {path} cannot be read ({error.strerror}): name an existing file") from error
    return _read(str(path), changed)


@lru_cache(maxsize=8)
def _read(path: str, changed_ns: int) -> dict[str, FloatArray]:
    del changed_ns  # a part of the key: a file that was written again is read again
    columns = _hdf5(path) if path.endswith(HDF5_ENDINGS) else _csv(path)
    for name in columns:
        if name not in RANGES:
            raise UserError(
                f"the table {path} has an unknown column {name!r}{nearest(name, RANGES)}: known are {_known()}"
            )
    if not columns or len({len(values) for values in columns.values()}) != 1 or not len(next(iter(columns.values()))):
        raise UserError(f"the table {path} needs rows and at least one of the columns {_known()}, all of one length")
    return {name: _checked(path, name, values) for name, values in columns.items()}


def _known() -> str:
    return ", ".join(RANGES)


def _csv(path: str) -> dict[str, NDArray[np.generic]]:
    try:
        frame = pd.read_csv(path, comment="#", skipinitialspace=True)
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise UserError(f"the table {path} is not a CSV table: {' '.join(str(error).split())}") from error
    return {str(name).strip().lower(): frame[name].to_numpy() for name in frame.columns}


def _hdf5(path: str) -> dict[str, NDArray[np.generic]]:
    try:
        with h5py.File(path, "r", locking=False) as file:
            names = [name for name in file if isinstance(file[name], h5py.Dataset)]
            return {name.lower(): np.atleast_1d(file[name][()]) for name in names}
    except OSError as error:
        raise UserError(f"the table {path} is not an HDF5 file: {error}") from error


def _checked(path: str, name: str, values: NDArray[np.generic]) -> FloatArray:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"the table {path}: column {name} does not hold numbers") from error
    low, high = RANGES[name]
    wrong = np.flatnonzero(~((numbers >= low) & (numbers <= high))) if numbers.ndim == 1 else np.zeros(1, np.int64)
    if wrong.size:
        raise UserError(
            f"the table {path}: column {name} holds {wrong.size} values that are missing or outside {low:g} to "
            f"{high:g}, the first in row {wrong[0]}"
        )
    return numbers
