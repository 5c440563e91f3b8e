"""Predictions tables on the disk: columns and attributes in HDF5, and flat for CSV."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from reconstruction import schema
from reconstruction.errors import UserError
from reconstruction.files import atomic_path
from reconstruction.judging.tables.columns import COVARIANCE, EVENT_ID, SYSTEM, Values
from reconstruction.system import DEFAULT, find_system

if TYPE_CHECKING:
    import pandas as pd

_SPLIT_TYPE = h5py.enum_dtype(schema.SPLITS, basetype="i1")  # the file itself then says what its codes mean
_UNITS = {
    unit.lower(): unit
    for unit in ("eV", "keV", "MeV", "GeV", "deg", "rad", "m", "cm", "mm", "X0", "K", "s", "ns", "Hz", "V")
}
"""What a column's name ends with → the unit that it stands for."""


def write_columns(path: Path, columns: Mapping[str, Values], attributes: Mapping[str, Any]) -> None:
    """Write HDF5, one dataset a column with its unit; a reader sees the old file or the whole new one."""
    units = {name: column.unit for name, column in find_system(str(attributes.get(SYSTEM, DEFAULT))).columns.items()}
    with atomic_path(path) as temporary, h5py.File(temporary, "w", locking=False) as file:
        for name, values in columns.items():
            options: dict[str, Any] = {"fletcher32": True} if values.size else {}
            stored = values.astype(_SPLIT_TYPE) if name == schema.SPLIT else values
            dataset = file.create_dataset(name, data=stored, chunks=True if values.size else None, **options)
            dataset.attrs["units"] = unit_in_name(name) or units.get(name, "")
        file.attrs["schema_version"] = schema.SCHEMA_VERSION
        file.attrs["rows"] = len(columns[EVENT_ID])
        for name, value in attributes.items():
            file.attrs[name] = value if isinstance(value, str | int | float) else json.dumps(value, default=str)


def read_columns(path: Path) -> tuple[dict[str, Values], dict[str, Any]]:
    """Read the columns and attributes that `write_columns` wrote; raises UserError for anything else."""
    if path.is_dir():
        raise UserError(f"{path} is a folder, not a predictions table: name its predictions.hdf5")
    if not path.exists():
        raise UserError(f"{path} does not exist; `python cli.py test` and `scripts/estimate.py` write such tables")
    try:
        with h5py.File(path, "r", locking=False) as file:
            columns = {name: item[()] for name, item in file.items() if isinstance(item, h5py.Dataset)}
            attributes = {name: _as_attribute(value) for name, value in file.attrs.items()}
    except OSError as error:
        raise UserError(f"{path} cannot be read as a predictions table (HDF5): {_short(error)}") from error
    version, rows = attributes.pop("schema_version", schema.SCHEMA_VERSION), attributes.pop("rows", None)
    if version > schema.SCHEMA_VERSION:
        raise UserError(f"{path} has schema version {version}, newer than this program's {schema.SCHEMA_VERSION}")
    inputs = find_system(str(attributes.get(SYSTEM, DEFAULT))).input_columns
    if attributes.get("estimator") is None and any(name in columns for name in inputs):
        raise UserError(f"{path} holds records, not predictions: predict it first with `python cli.py predict`")
    if rows is not None and EVENT_ID in columns and len(columns[EVENT_ID]) != rows:
        raise UserError(f"{path} holds {len(columns[EVENT_ID])} rows but says {rows}: it is damaged; write it again")
    return columns, attributes


def flat_columns(columns: Mapping[str, Values], targets: Sequence[str]) -> pd.DataFrame:
    """Return a DataFrame; the upper triangle of the covariance as `covariance_<target>_<target>`."""
    import pandas as pd  # a training makes none, and starts sooner without

    flat = {name: values for name, values in columns.items() if values.ndim == 1}
    if schema.SPLIT in flat:
        names = {code: name for name, code in schema.SPLITS.items()}
        flat[schema.SPLIT] = np.array([names[code] for code in flat[schema.SPLIT].tolist()])
    if COVARIANCE in columns:
        for i, first in enumerate(targets):
            for j, second in enumerate(targets[i:], start=i):
                flat[f"covariance_{first}_{second}"] = columns[COVARIANCE][:, i, j]
    return pd.DataFrame(flat)


def unit_in_name(name: str) -> str:
    """Return the unit that a column's name ends with, "" for none: energy_std_ev → eV."""
    return _UNITS.get(name.rpartition("_")[2].lower(), "") if "_" in name else ""


def _as_attribute(value: Any) -> Any:
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, str) and value[:1] == "[":
        with contextlib.suppress(json.JSONDecodeError):
            return json.loads(value)
    return value


def _short(error: OSError) -> str:
    return error.strerror or str(error).split("\n")[0]
