"""Is this file whole? Schema, checksums, NaN, ranges, identities: every value is read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from cres import schema
from cres.data.consistency import STATED_COLUMNS, StatedLines, contradiction, strongest_lines
from cres.data.facts import plain_attributes
from cres.data.prepare.assembly import said_of_defaults
from cres.data.prepare.tables import range_problems
from cres.data.record_file import RecordFile
from cres.data.records import Records, data_files
from cres.data.row_reader import naming_damage
from cres.errors import UserError
from cres.progress import progress_bar

_BLOCK_ROWS: Final = 256


@dataclass
class ColumnSummary:
    """What one column holds, over all files."""

    name: str
    unit: str
    kind: str
    rows: int = 0
    values: int = 0
    not_finite: int = 0
    minimum: float = np.inf
    maximum: float = -np.inf
    total: float = 0.0

    def add(self, block: NDArray[Any]) -> None:
        """Count the values of some rows."""
        self.rows += len(block)
        self.values += block.size
        if block.dtype.kind not in "biuf" or block.size == 0:
            return
        finite = block[np.isfinite(block)]
        self.not_finite += block.size - finite.size
        if finite.size:
            self.minimum = min(self.minimum, float(finite.min()))
            self.maximum = max(self.maximum, float(finite.max()))
            self.total += float(finite.sum(dtype=np.float64))

    @property
    def mean(self) -> float:
        """Mean of the finite values; NaN where there are none."""
        finite = self.values - self.not_finite
        return self.total / finite if finite and np.isfinite(self.minimum) else np.nan


@dataclass(frozen=True)
class CheckResult:
    """A data set that was read to its last value and found good."""

    files: int
    rows: int
    samples: int
    sampling_rate_hz: float
    lo_frequency_hz: float
    columns: tuple[ColumnSummary, ...]
    warnings: tuple[str, ...] = ()
    """Facts that are defaults, and files that contradict themselves."""

    def __str__(self) -> str:
        head = (
            f"{self.rows} electrons of {self.samples} samples in {self.files} file(s), "
            f"{self.sampling_rate_hz / 1e6:g} MHz, oscillator {self.lo_frequency_hz / 1e9:g} GHz"
        )
        rows = [("column", "type", "unit", "minimum", "mean", "maximum", "NaN")]
        rows += [
            (c.name, c.kind, c.unit, f"{c.minimum:.8g}", f"{c.mean:.8g}", f"{c.maximum:.8g}", str(c.not_finite))
            if np.isfinite(c.minimum)
            else (c.name, c.kind, c.unit, "", "", "", str(c.not_finite))
            for c in self.columns
        ]
        widths = [max(len(row[position]) for row in rows) for position in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([head, *lines, *(f"warning: {sentence}" for sentence in self.warnings)])


def check(data: str | Path | Sequence[str | Path]) -> CheckResult:
    """Read every value of HDF5 files and return a summary.

    Raises UserError for the first damage, implausible value, content that is not what its hash says, or repeated
    electron, with file, row and column.
    """
    records = Records([RecordFile(path) for path in data_files(data)])
    summaries = {name: _summary(records.files[0], name) for name in records.columns}
    warnings = _defaults(records)
    with progress_bar() as bar:
        task = bar.add_task("checking", total=len(records), unit="electrons")
        for file in records.files:
            _check_units(file)
            lines = []
            for start in range(0, file.rows, _BLOCK_ROWS):
                lines.append(_check_block(file, start, summaries))
                bar.advance(task, min(_BLOCK_ROWS, file.rows - start))
            warnings += _against_itself(file, np.concatenate(lines), records)
    _require_unique(records)
    return CheckResult(
        len(records.files),
        len(records),
        records.samples,
        records.sampling_rate_hz,
        records.lo_frequency_hz,
        tuple(summaries.values()),
        tuple(warnings),
    )


def _defaults(records: Records) -> list[str]:
    """Return what is to be said of facts that were not stated when the files were prepared."""
    facts = {"sampling_rate_hz": records.sampling_rate_hz, "lo_frequency_hz": records.lo_frequency_hz}
    assumed = dict.fromkeys(name for file in records.files for name in str(file.attributes.get("assumed", "")).split())
    return said_of_defaults([name for name in assumed if name in facts], facts)


def _against_itself(file: RecordFile, lines: NDArray[np.float64], records: Records) -> list[str]:
    """Return the sentence that says how a file contradicts itself, if it does."""
    columns = {name: file.scalar(name) for name in STATED_COLUMNS if name in file.columns}
    stated = StatedLines.of_columns(lines, columns, file.samples)
    if stated is None:
        return []
    found = contradiction(stated, records.sampling_rate_hz, records.lo_frequency_hz)
    return [f"{file.path}: {found}"] if found else []


def _summary(file: RecordFile, name: str) -> ColumnSummary:
    with h5py.File(file.path, "r", locking=False) as opened:
        dataset = opened[name]
        unit = (
            schema.COLUMNS[name].unit
            if name in schema.COLUMNS
            else str(plain_attributes(dataset.attrs).get("units", ""))
        )
        tail = "".join(f"[{size}]" for size in dataset.shape[1:])
        return ColumnSummary(name, unit, f"{dataset.dtype}{tail}")


def _check_units(file: RecordFile) -> None:
    for name in (name for name in file.columns if name in schema.COLUMNS):
        with naming_damage(file.path, name, 0, file.rows - 1), h5py.File(file.path, "r", locking=False) as opened:
            unit = plain_attributes(opened[name].attrs).get("units", schema.COLUMNS[name].unit)
        if unit != schema.COLUMNS[name].unit:
            raise UserError(f"{file.path}, column {name}: is in {unit!r}, not in {schema.COLUMNS[name].unit!r}")


def _check_block(file: RecordFile, start: int, summaries: dict[str, ColumnSummary]) -> NDArray[np.float64]:
    """Check some rows, and return where their strongest lines are."""
    columns = {name: _read(file, name, start) for name in summaries if name in file.columns}
    for name, block in columns.items():
        summaries[name].add(block)
        for problem in range_problems(name, block):
            raise UserError(f"{file.path}, row {start + (problem.row or 0)}, column {name}: {problem.what}")
    if schema.CONTENT_HASH in columns:
        content = schema.content_event_ids(columns[schema.SERIES_I], columns[schema.SERIES_Q])
        for row in np.flatnonzero(content != columns[schema.CONTENT_HASH]):
            raise UserError(f"{file.path}, row {start + row}: the series is not the one that was prepared")
    return strongest_lines(*(columns[name] for name in schema.SERIES_COLUMNS))


def _read(file: RecordFile, name: str, start: int) -> NDArray[Any]:
    """Read through HDF5, which compares the checksums."""
    end = min(start + _BLOCK_ROWS, file.rows)
    with naming_damage(file.path, name, start, end - 1), h5py.File(file.path, "r", locking=False) as opened:
        return np.asarray(opened[name][start:end])


def _require_unique(records: Records) -> None:
    """Raise UserError for two records of one content; those that hold nothing are told apart by their ids."""
    values = records.content_hashes()
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    for row in np.flatnonzero(first[inverse] != np.arange(len(values))):
        series = records.read_series([int(row)])
        if schema.EVENT_ID not in records.columns or np.ptp(series, axis=1).any():
            earlier = records.describe(int(first[inverse[row]]))
            raise UserError(f"{earlier} and {records.describe(int(row))} have the same series")
