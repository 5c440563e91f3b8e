"""Predictions tables from CSV files, as `PredictionTable.to_csv` writes them, or from other programs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from reconstruction import schema
from reconstruction.errors import UserError, nearest
from reconstruction.judging.tables.columns import COVARIANCE, EVENT_ID
from reconstruction.judging.tables.table import PredictionTable

SHOWN = 3


def read_table(path: Path | str) -> PredictionTable:
    """Read a predictions table from HDF5, or from CSV where the name ends so; raises UserError for anything else."""
    path = Path(path)
    return _read_csv(path) if path.suffix.lower() == ".csv" and path.is_file() else PredictionTable.read(path)


def _read_csv(path: Path) -> PredictionTable:
    """Read a CSV with a header: one row a row, an `event_id`, numbers. Its estimator has the file's name.

    Splits may be names or codes. Covariances between targets are left out. Other text, and an event_id that is no whole
    number, are named with their row.
    """
    try:
        frame = pd.read_csv(path, skipinitialspace=True)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as CSV: {error}") from error
    frame.columns = [str(name).strip().lower() for name in frame.columns]
    frame = frame.drop(columns=[name for name in frame.columns if name.startswith(f"{COVARIANCE}_")])
    if EVENT_ID not in frame:
        raise UserError(f"{path} has no column {EVENT_ID!r}; it has {', '.join(frame.columns[:8])}")
    columns = {str(name): _values(frame[name], path) for name in frame.columns}
    identity = columns[EVENT_ID]
    wrong = np.flatnonzero(identity != np.round(identity)) if identity.dtype.kind == "f" else np.empty(0, np.int64)
    if len(wrong):
        raise UserError(f"{path}, row {int(wrong[0]) + 2}: event_id {identity[wrong[0]]} is no whole number")
    columns[EVENT_ID] = identity.astype(np.int64)
    try:
        return PredictionTable(columns, {"estimator": path.stem})
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _values(column: pd.Series, path: Path) -> np.ndarray:
    return _splits(column, path) if column.name == schema.SPLIT else _numbers(column, path)


def _splits(column: pd.Series, path: Path) -> np.ndarray:
    """Return the codes of splits, given by name, as tables write them, or by code; raises UserError for another."""
    text = column.map(lambda value: str(value).strip().lower())
    codes = text.map(schema.SPLITS).fillna(pd.to_numeric(text, errors="coerce"))
    wrong = np.flatnonzero(~codes.isin(list(schema.SPLITS.values())))
    if len(wrong):
        raise UserError(
            f"{path}, row {int(wrong[0]) + 2}: there is no split {text.iloc[wrong[0]]!r}"
            f"{nearest(text.iloc[wrong[0]], schema.SPLITS)}; the splits are {', '.join(schema.SPLITS)}"
        )
    return codes.to_numpy(np.int64)


def _numbers(column: pd.Series, path: Path) -> np.ndarray:
    if column.dtype == bool or pd.api.types.is_numeric_dtype(column):
        return column.to_numpy()
    numbers = pd.to_numeric(column, errors="coerce")
    wrong = np.flatnonzero(numbers.isna() & column.notna())
    if len(wrong):
        rows = ", ".join(str(int(row) + 2) for row in wrong[:SHOWN])
        raise UserError(
            f"{path}, column {column.name!r}: {len(wrong)} entries are no numbers, such as {column.iloc[wrong[0]]!r} "
            f"(rows {rows}{' …' if len(wrong) > SHOWN else ''})"
        )
    return numbers.to_numpy(np.float64)
