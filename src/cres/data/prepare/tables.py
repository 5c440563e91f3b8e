"""Columns as they came out of a pickle → columns as they go to disk, with every cell checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cres import schema
from cres.data.prepare.counts import counts_for_volts, in_volts
from cres.data.prepare.problems import Problem

Values = NDArray[Any]

# Where nothing else says so: NaN in these is an error, in other columns it is a value like any other.
_LONGEST_TEXT = 256
_FINITE_COLUMNS = frozenset((schema.EVENT_ID, *schema.TRUTH_COLUMNS))


@dataclass(frozen=True)
class Table:
    """Checked columns, each (rows, …) in its dtype on disk; the rows that failed are left out and listed."""

    columns: dict[str, Values]
    problems: tuple[Problem, ...]
    source_rows: NDArray[np.int64]
    """Row in the source of each row that is kept."""

    @property
    def rows(self) -> int:
        """Number of rows that are kept."""
        return len(self.source_rows)


def checked_table(cells: dict[str, Values], volts_per_count: float | None = None) -> Table:
    """Return the columns of one file in their types on disk, without the rows that have problems.

    `event_id` is made from the content where it is absent; `content_hash` is always added. A problem of a whole
    column (missing, another length, of an unknown type) has row None; then no rows are kept. Whole numbers for volts
    are ADC counts: a problem, unless `volts_per_count` says what a count is.
    """
    cells = dict(cells) if volts_per_count is None else in_volts(cells, volts_per_count)
    problems: list[Problem] = list(_column_problems(cells)) or counts_for_volts(cells)
    if problems:
        return Table({}, tuple(problems), np.zeros(0, np.int64))
    columns: dict[str, Values] = {}
    for name, raw in cells.items():
        columns[name], found = _checked_column(name, raw)
        problems += found
    problems += _unequal_series(columns)
    if any(problem.row is None for problem in problems):
        return Table({}, tuple(problems), np.zeros(0, np.int64))
    good = np.ones(len(next(iter(columns.values()))), bool)
    good[[problem.row for problem in problems if problem.row is not None]] = False
    if not good.all():
        columns = {name: values[good] for name, values in columns.items()}
    return Table(_with_identity(columns), tuple(sorted(problems, key=_order)), np.flatnonzero(good))


def checked_blocks(whole: dict[str, Values], blocks: Iterable[tuple[int, dict[str, Values]]]) -> Iterator[Table]:
    """Yield the checked rows of a file that comes in blocks, (first row, cells) each, rows counted in the whole file.

    `whole` are columns of all rows, which cells of the blocks repeat: they are converted once, so that each has one
    type. As in `checked_table`, but equal rows of two blocks are not seen.
    """
    columns, bad = {}, list[Problem]()
    for name, raw in whole.items():
        columns[name], found = _checked_column(name, raw)
        bad += found
    if any(problem.row is None for problem in bad):
        yield Table({}, tuple(problem for problem in bad if problem.row is None), np.zeros(0, np.int64))
        return
    known = {problem.row: problem for problem in reversed(bad)}
    for start, cells in blocks:
        rows = len(next(iter(cells.values())))
        table = checked_table(cells | {name: values[start : start + rows] for name, values in columns.items()})
        found = [replace(one, row=None if one.row is None else one.row + start) for one in table.problems]
        here = [known[row] for row in range(start, start + rows) if row in known]
        kept = ~np.isin(table.source_rows + start, [one.row for one in here if one.row is not None])
        others = [one for one in found if one.row not in known]
        yield Table(
            {name: values[kept] for name, values in table.columns.items()},
            tuple(sorted([*here, *others], key=_order)),
            table.source_rows[kept] + start,
        )


def _checked_column(name: str, raw: Values) -> tuple[Values, list[Problem]]:
    """Return a column in its type on disk, and what is wrong with it: once a row."""
    values, found = _convert(name, raw)
    if any(problem.row is None for problem in found):
        return values, found
    if values.ndim == 2 and values.shape[1] == 0:
        return values, [Problem(None, name, "holds arrays without values")]
    known = {problem.row for problem in found}
    return values, found + [problem for problem in range_problems(name, values) if problem.row not in known]


def _unequal_series(columns: dict[str, Values]) -> list[Problem]:
    i, q = (columns[name] for name in schema.SERIES_COLUMNS)
    if i.ndim != 2 or q.ndim != 2 or i.shape[1] == q.shape[1]:
        return []
    return [Problem(None, schema.SERIES_Q, f"has {q.shape[1]} samples, {schema.SERIES_I} has {i.shape[1]}")]


def _order(problem: Problem) -> int:
    return -1 if problem.row is None else problem.row


def _column_problems(cells: dict[str, Values]) -> Iterable[Problem]:
    for name in schema.REQUIRED_COLUMNS:
        if name not in cells:
            yield Problem(None, name, f"is missing (the file has {', '.join(sorted(cells)) or 'no columns'})")
    lengths = {name: len(values) for name, values in cells.items()}
    rows = lengths.get(schema.SERIES_I, 0)
    for name, length in lengths.items():
        if length != rows:
            yield Problem(None, name, f"has {length} rows, {schema.SERIES_I} has {rows}")
    if lengths and rows == 0 and schema.SERIES_I in lengths:
        yield Problem(None, schema.SERIES_I, "has no rows")
    if schema.CONTENT_HASH in cells:
        yield Problem(None, schema.CONTENT_HASH, "is a name that preparation keeps for itself")


def _with_identity(columns: dict[str, Values]) -> dict[str, Values]:
    content = schema.content_event_ids(columns[schema.SERIES_I], columns[schema.SERIES_Q])
    return {**columns, schema.EVENT_ID: columns.get(schema.EVENT_ID, content), schema.CONTENT_HASH: content}


def _convert(name: str, raw: Values) -> tuple[Values, list[Problem]]:
    """Return one column in its type on disk, and its problems; rows with a problem hold zeros."""
    if raw.dtype == object:
        return _convert_objects(name, raw)
    if raw.ndim == 1:
        return _convert_scalars(name, raw)
    if raw.ndim > 2 or raw.dtype.kind not in "biufc":
        return raw, [Problem(None, name, f"holds {raw.dtype} of {raw.ndim} dimensions, which no column can be")]
    if name in schema.SERIES_COLUMNS:
        return _series(name, raw)
    return raw, []


def _convert_objects(name: str, raw: Values) -> tuple[Values, list[Problem]]:
    """Convert one object a row. The commonest kind is the right one, rows of another kind are problems."""
    kinds = [_kind(cell) for cell in raw]
    usual = Counter(kind for kind in kinds if kind != "nothing").most_common(1)
    kind = usual[0][0] if usual else "nothing"
    empty_too = (kind, "nothing") if kind != "text" else (kind,)
    odd = [row for row, found in enumerate(kinds) if found not in empty_too]
    problems = [Problem(row, name, _odd_one(raw[row], kind)) for row in odd]
    raw = raw.copy()
    raw[odd] = "" if kind == "text" else None
    values, found = _convert_alike(name, raw, kind)
    return values, problems + [problem for problem in found if problem.row is None or problem.row not in odd]


def _odd_one(cell: Any, usual: str) -> str:
    if cell is None or (isinstance(cell, float) and np.isnan(cell)):
        return "is empty"
    return f"holds {_kind(cell)}, the other rows hold {usual}s"


def _convert_alike(name: str, raw: Values, kind: str) -> tuple[Values, list[Problem]]:
    """Convert cells of one kind, among which None may stand."""
    if kind == "array":
        return _stack(name, raw)
    if kind == "number" and name not in schema.SERIES_COLUMNS:
        return _convert_scalars(name, np.array([np.nan if cell is None else cell for cell in raw]))
    if kind == "text":
        if max(map(len, raw)) > _LONGEST_TEXT:
            return raw, [Problem(None, name, f"holds a text of more than {_LONGEST_TEXT} characters")]
        return _convert_scalars(name, np.array([str(cell) for cell in raw]))
    return raw, [Problem(None, name, f"holds {kind} cells")]


def _kind(cell: Any) -> str:
    if isinstance(cell, np.ndarray):
        return "array"
    if isinstance(cell, (int, float, complex, np.number, np.bool_)):
        return "number"
    if isinstance(cell, str):
        return "text"
    return "nothing" if cell is None else type(cell).__name__


def _stack(name: str, raw: Values) -> tuple[Values, list[Problem]]:
    """Stack one array a row. The commonest length is the right one."""
    lengths = np.array([cell.shape[0] if isinstance(cell, np.ndarray) and cell.ndim == 1 else -1 for cell in raw])
    usable = lengths[lengths >= 0]
    if len(usable) == 0:
        return raw, [Problem(None, name, "holds no one-dimensional arrays")]
    found, counts = np.unique(usable, return_counts=True)
    samples = int(found[counts.argmax()])
    if 2 * counts.max() < len(raw):  # also what would fill the memory: few long rows among very many others
        return raw, [Problem(None, name, f"has rows of many lengths: {found[0]} to {found[-1]}")]
    problems = [Problem(int(row), name, _wrong_length(raw[row], samples)) for row in np.flatnonzero(lengths != samples)]
    first = raw[int(np.argmax(lengths == samples))]
    if any(isinstance(cell, np.ndarray) and cell.dtype.kind not in "biufc" for cell in raw):
        return raw, [Problem(None, name, "holds arrays of something other than numbers")]
    dtype = np.dtype(np.float32) if name in schema.SERIES_COLUMNS else first.dtype.newbyteorder("=")
    if name in schema.SERIES_COLUMNS:
        foreign = [cell.dtype for cell in raw if cell is not None and cell.dtype.kind in "bc"]
        if foreign:
            return raw, [_no_volts(name, foreign[0])]
    stacked = np.zeros((len(raw), samples), dtype)
    with np.errstate(over="ignore"):
        for row in np.flatnonzero(lengths == samples):
            stacked[row] = raw[row]
    return stacked, problems


def _no_volts(name: str, dtype: np.dtype[Any]) -> Problem:
    return Problem(None, name, f"is {'complex' if dtype.kind == 'c' else dtype}; real volts are expected")


def _wrong_length(cell: Any, samples: int) -> str:
    if cell is None:
        return "is empty"
    if cell.ndim != 1:
        return f"has {cell.ndim} dimensions instead of 1"
    return f"has {cell.shape[0]} samples, the other rows have {samples}"


def _series(name: str, raw: Values) -> tuple[Values, list[Problem]]:
    if raw.dtype.kind in "bc":
        return raw, [_no_volts(name, raw.dtype)]
    with np.errstate(over="ignore"):
        return raw.astype(np.float32, copy=False), []


def _convert_scalars(name: str, raw: Values) -> tuple[Values, list[Problem]]:
    if name in schema.SERIES_COLUMNS:
        return raw, [Problem(None, name, "holds one number a row instead of a series")]
    if raw.dtype.kind == "U":
        return _encoded(name, raw)
    if raw.dtype.kind == "S":
        return raw, _no_text(name)
    if raw.dtype.kind == "c":
        return raw.astype(np.complex128), []
    if raw.dtype.kind == "f" and name != schema.EVENT_ID:
        return raw.astype(np.float64), []
    if raw.dtype.kind in "biuf":
        return _integers(name, raw)
    return raw, [Problem(None, name, f"holds {raw.dtype}, which is neither number nor text")]


def _encoded(name: str, raw: Values) -> tuple[Values, list[Problem]]:
    try:
        return np.char.encode(raw, "utf-8"), _no_text(name)
    except UnicodeEncodeError as error:
        return raw, [Problem(None, name, f"holds a text that is no Unicode ({error.reason})")]


def _no_text(name: str) -> list[Problem]:
    return [Problem(None, name, "holds texts where numbers are expected")] if name in schema.COLUMNS else []


def _integers(name: str, raw: Values) -> tuple[Values, list[Problem]]:
    column = schema.COLUMNS.get(name)
    if column is not None and column.dtype == "float64":
        return raw.astype(np.float64), []
    if raw.dtype.kind == "f":
        wrong = ~(np.isfinite(raw) & (np.abs(raw) < 2**53) & (raw == np.trunc(np.nan_to_num(raw))))
    else:
        wrong = raw > np.iinfo(np.int64).max if raw.dtype.kind == "u" else np.zeros(len(raw), bool)
    problems = [Problem(int(row), name, f"is {raw[row]}, which is no int64") for row in np.flatnonzero(wrong)]
    return np.where(wrong, 0, raw).astype(np.int64), problems


def range_problems(name: str, values: Values) -> list[Problem]:
    """Return the rows of a known column that are not finite, or not plausible in the column's unit."""
    column = schema.COLUMNS.get(name)
    if column is None or values.dtype.kind not in "fi":
        return []
    found = dict(column.implausible(values))
    if name in schema.SERIES_COLUMNS or name in _FINITE_COLUMNS:
        finite = np.isfinite(values) if values.ndim == 1 else np.isfinite(values).all(axis=1)
        found |= dict.fromkeys(np.flatnonzero(~finite).tolist(), "holds NaN or infinity")
    return [Problem(row, name, found[row]) for row in sorted(found)]
