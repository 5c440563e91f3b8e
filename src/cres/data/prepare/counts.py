"""What a digitiser wrote instead of volts: whole numbers, ADC counts."""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cres import schema
from cres.data.prepare.problems import Problem

Values = NDArray[Any]

_SERIES: Final = re.compile(f"({schema.SERIES_I}|{schema.SERIES_Q})(_[0-9]+)?")
# So few numbers may be whole by chance, or by hand.
_FEWEST: Final = 256
_REMEDY: Final = (
    "these are ADC counts, no volts; say with --volts-per-count what a count is, or convert them (volts = gain · count)"
)


def counts_for_volts(cells: dict[str, Values]) -> list[Problem]:
    """Return a problem for each series of integers, or of floats that are all whole numbers in I and Q alike."""
    series = {name: cells[name] for name in cells if _SERIES.fullmatch(name)}
    integers = {name: dtype for name, values in series.items() if (dtype := _integer_type(values)) is not None}
    if integers:
        return [Problem(None, name, f"holds whole numbers ({dtype}): {_REMEDY}") for name, dtype in integers.items()]
    whole = [name for name in schema.SERIES_COLUMNS if name in series and _is_whole(series[name])]
    if len(whole) < len(schema.SERIES_COLUMNS):
        return []
    return [Problem(None, name, f"holds whole numbers only: {_REMEDY}") for name in whole]


def _integer_type(values: Values) -> np.dtype[Any] | None:
    first = _arrays(values)[:1]
    return first[0].dtype if first and first[0].dtype.kind in "iu" else None


def _arrays(values: Values) -> list[Values]:
    return [cell for cell in values if isinstance(cell, np.ndarray) and cell.ndim == 1]


def _is_whole(values: Values) -> bool:
    """Tell whether all of many floats are whole numbers, and not just zeros or ones."""
    count, largest = 0, 0.0
    for cell in _arrays(values):
        if cell.dtype.kind != "f" or not np.array_equal(cell, np.rint(cell)):
            return False
        count, largest = count + cell.size, max(largest, float(np.abs(cell).max(initial=0.0)))
    return count >= _FEWEST and largest >= 2.0


def in_volts(cells: dict[str, Values], volts_per_count: float) -> dict[str, Values]:
    """Return the columns with their series in volts; counts without a sign are taken from the middle of their range."""
    volts = dict(cells)
    for name in (name for name in cells if _SERIES.fullmatch(name)):
        if cells[name].dtype == object:
            volts[name] = np.empty(len(cells[name]), object)
            for row, cell in enumerate(cells[name]):
                volts[name][row] = _volts(cell, volts_per_count)
        else:
            volts[name] = _volts(cells[name], volts_per_count)
    return volts


def _volts(counts: Any, volts_per_count: float) -> Any:
    if not isinstance(counts, np.ndarray) or counts.dtype.kind not in "iuf":
        return counts
    middle = 2.0 ** (8 * counts.dtype.itemsize - 1) if counts.dtype.kind == "u" else 0.0
    return ((counts - middle) * volts_per_count).astype(np.float32)
