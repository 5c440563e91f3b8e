"""The table of truth beside an egg file: run.truth.csv or run.csv beside run.egg, one electron a row."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cres.data.eggs.windows import Windows
from cres.data.pickles import BadFileError
from cres.provenance import sha256_of_file

Values = NDArray[Any]

_ENDINGS: Final = (".truth.csv", ".csv")
_PLACES: Final = ("start_time_s", "start_sample", "record", "window")
"""Columns that say where a row's window begins: time since the run began, or a number counted from 0."""


@dataclass(frozen=True)
class Truth:
    """What a table says of the electrons, (rows,) each, and the window of each."""

    columns: dict[str, Values]
    windows: Windows


def truth_path(egg: Path) -> Path | None:
    """Return the table beside an egg file, or None where there is none."""
    found = [egg.with_suffix(ending) for ending in _ENDINGS if egg.with_suffix(ending).is_file()]
    return found[0] if found else None


def egg_hash(path: Path) -> str:
    """Return the SHA-256 of an egg file, of file and truth where there is a table beside it."""
    beside = truth_path(path)
    own = sha256_of_file(path)
    return own if beside is None else hashlib.sha256((own + sha256_of_file(beside)).encode()).hexdigest()


def read_truth(egg: Path, cut: Windows) -> Truth | None:
    """Return the truth beside an egg file, or None. Raises BadFileError where the two do not fit.

    `cut` are the windows that are cut where nothing says where electrons begin.
    """
    path = truth_path(egg)
    if path is None:
        return None
    table = _read(path)
    place = next((name for name in _PLACES if name in table), None)
    if place is None:
        rows = len(next(iter(table.values())))
        if rows != len(cut):
            raise BadFileError(
                f"{path} has {rows} rows, {egg.name} has {len(cut)} windows of {cut.samples} samples; say where they "
                f"belong in a column of {', '.join(_PLACES)}, or change --window-samples"
            )
        return Truth(table, cut)
    values = table[place]
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise BadFileError(f"{path}, column {place}: numbers are expected in every row")
    windows = _placed(path, cut, table, place)
    _require_inside(path, egg, windows)
    return Truth({name: column for name, column in table.items() if name not in (place, "acquisition")}, windows)


def _read(path: Path) -> dict[str, Values]:
    import pandas as pd  # most preparations read no table

    try:
        frame = pd.read_csv(path, skipinitialspace=True, comment="#")
    except (OSError, ValueError) as error:
        raise BadFileError(f"{path} cannot be read as CSV ({str(error).strip()})") from error
    if frame.empty:
        raise BadFileError(f"{path} holds no rows")
    return {str(name): np.asarray(frame[name]) for name in frame}


def _placed(path: Path, cut: Windows, table: dict[str, Values], place: str) -> Windows:
    """Return the window of each row of the table."""
    values = table[place]
    if place == "window":
        if (values < 0).any() or (values >= len(cut)).any():
            raise BadFileError(f"{path}, column window: windows are counted from 0 to {len(cut) - 1}")
        chosen = values.astype(np.int64)
        return cut.moved(cut.acquisitions[chosen], cut.starts[chosen])
    named = _named_acquisition(path, cut, table)
    if place == "start_time_s":
        return _at_times(cut, values, named)
    samples = ({"start_sample": 1, "record": cut.record_samples}[place] * values).astype(np.int64)
    if named is not None:
        return cut.moved(named, samples)
    begins = np.cumsum([0, *cut.lengths])
    acquisitions = np.clip(np.searchsorted(begins, samples, side="right") - 1, 0, len(cut.lengths) - 1)
    return cut.moved(acquisitions, samples - begins[acquisitions])


def _named_acquisition(path: Path, cut: Windows, table: dict[str, Values]) -> NDArray[np.int64] | None:
    if "acquisition" not in table:
        return None
    values = table["acquisition"]
    if values.dtype.kind not in "iu" or (values < 0).any() or (values >= len(cut.lengths)).any():
        raise BadFileError(f"{path}, column acquisition: they are counted from 0 to {len(cut.lengths) - 1}")
    return values.astype(np.int64)


def _at_times(cut: Windows, times_s: Values, named: NDArray[np.int64] | None) -> Windows:
    """Place times since the run began: in the last acquisition that had begun by then."""
    begins_s = np.array(cut.times_s)
    if named is None:
        named = np.clip(np.searchsorted(begins_s, times_s, side="right") - 1, 0, len(begins_s) - 1)
    return cut.moved(named, np.rint((times_s - begins_s[named]) * cut.rate_hz).astype(np.int64))


def _require_inside(path: Path, egg: Path, windows: Windows) -> None:
    lengths = np.array(windows.lengths)[windows.acquisitions]
    outside = np.flatnonzero((windows.starts < 0) | (windows.starts + windows.samples > lengths))
    if len(outside):
        row = int(outside[0])
        raise BadFileError(
            f"{path}, row {row}: a window of {windows.samples} samples from sample {windows.starts[row]} is not inside "
            f"acquisition {windows.acquisitions[row]} of {egg.name}, which has {lengths[row]}"
        )
