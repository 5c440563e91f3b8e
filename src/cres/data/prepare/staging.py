"""One source file → one checked part, beside the output until all parts are there.

A part is an HDF5 file that appears under its name only when it is complete. It remembers the hash of its source and
the settings that it was made with, so that a second run takes what is finished and does the rest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cres import schema
from cres.data.consistency import strongest_lines
from cres.data.eggs.header import is_egg
from cres.data.eggs.truth import egg_hash
from cres.data.facts import stated_facts
from cres.data.pickles import BadFileError, SourceFile, read_source
from cres.data.prepare.assembly import FilePiece
from cres.data.prepare.hdf5_writer import ColumnLayout, ColumnWriter, disk_errors, layout_of, require_space
from cres.data.prepare.tables import Table, checked_blocks, checked_table
from cres.data.settings import StagingSettings
from cres.errors import UserError
from cres.provenance import sha256_of_file
from reconstruction.files import replacing

if TYPE_CHECKING:
    from cres.data.eggs.source import EggSource

_RECORD = "part"
_SOURCE_ROWS = "source_rows"
_LINES = "strongest_lines"


@dataclass(frozen=True)
class Part:
    """A finished part: where it came from, what was left out of it. `rows` is 0 for a file that was skipped."""

    path: Path
    source: Path
    source_sha256: str
    rows: int
    skipped: tuple[str, ...]
    """One sentence for each row, or for the file, that was left out."""
    attributes: dict[str, Any]
    """What came with the DataFrame (sampling rate, oscillator, seed, …)."""
    notes: tuple[str, ...] = ()
    """One sentence for each column that was converted or left out."""

    def piece(self) -> FilePiece:
        """Return all rows of the part, to be joined with others."""
        with h5py.File(self.path, "r", locking=False) as file:
            source_rows = np.asarray(file.attrs[_SOURCE_ROWS], np.int64)
            lines = np.asarray(file.attrs[_LINES], np.float64)
            layout = {name: ColumnLayout(data.dtype, data.shape[1:]) for name, data in file.items()}
        everything = np.arange(self.rows)
        return FilePiece(
            self.path, str(self.source), self.source_sha256, everything, source_rows, layout, self.attributes, lines
        )


def part_path(staging: Path, source: Path) -> Path:
    """Return the path of a source's part; it depends on the source's own path only."""
    return staging / f"{sha256(str(source.resolve()).encode()).hexdigest()[:20]}.part.hdf5"


def stage(source: Path, staging: Path, settings: StagingSettings) -> Part:
    """Return the part of a source file: the finished one if the file did not change since, otherwise a new one.

    Raises UserError (file, row, column) for the first problem unless `settings.skip_bad`.
    """
    path = part_path(staging, source)
    finished = _finished(path, source, settings)
    return finished or _make(source, path, settings)


def _finished(path: Path, source: Path, settings: StagingSettings) -> Part | None:
    if not path.exists():
        return None
    try:
        with h5py.File(path, "r", locking=False) as file:
            record = json.loads(file.attrs[_RECORD])
    except (OSError, KeyError, ValueError):
        return None  # a part that cannot be read is made again
    if record["settings"] != _decisive(settings) or record["source_sha256"] != _sha256(source):
        return None
    return Part(
        path,
        source,
        record["source_sha256"],
        record["rows"],
        tuple(record["skipped"]),
        dict(record["attributes"]),
        tuple(record["notes"]),
    )


def _decisive(settings: StagingSettings) -> dict[str, Any]:
    """Return what a part must have been made with to be taken as it is."""
    return {**asdict(settings), "schema_version": schema.SCHEMA_VERSION}


def _sha256(source: Path) -> str:
    """Return the hash of a file's bytes, or "" for what cannot be read."""
    try:
        if not source.is_file():
            return ""
        return egg_hash(source) if is_egg(source) else sha256_of_file(source)
    except OSError:
        return ""


def _make(path_in: Path, path: Path, settings: StagingSettings) -> Part:
    try:
        source = _read(path_in, settings)
        _require_sound_facts(source)
        return _write(path, source, _tables(source, settings), settings)
    except BadFileError as error:
        if not settings.skip_bad:
            raise
        return _write_nothing(Part(path, path_in, _sha256(path_in), 0, (str(error),), {}), settings)


def _read(path: Path, settings: StagingSettings) -> SourceFile | EggSource:
    if not is_egg(path):
        return read_source(path, settings.max_expansion)
    from cres.data.eggs.source import open_egg  # most preparations meet none

    return open_egg(path, settings)


def _tables(source: SourceFile | EggSource, settings: StagingSettings) -> Iterator[Table]:
    """Yield the checked rows of a file: all of a pickle, an egg's block by block. Raises UserError for bad ones."""
    if isinstance(source, SourceFile):
        found: Iterable[Table] = [checked_table(source.columns.cells, settings.volts_per_count)]
    else:
        found = checked_blocks(source.columns.cells, source.blocks())
    for table in found:
        if table.problems and not settings.skip_bad:
            raise UserError(_sentence(source.path, table))
        yield replace(table, columns=_identified(table.columns, settings))


def _identified(columns: dict[str, NDArray[Any]], settings: StagingSettings) -> dict[str, NDArray[Any]]:
    if settings.exchange_iq and columns:
        columns = exchanged(columns)
    if settings.new_event_ids and columns:
        columns = {**columns, schema.EVENT_ID: columns[schema.CONTENT_HASH]}
    return columns


def _require_sound_facts(source: SourceFile | EggSource) -> None:
    try:
        stated_facts(source.columns.attributes, source.path)
    except UserError as error:
        raise BadFileError(str(error)) from error


def exchanged(columns: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the columns with I and Q exchanged, in every channel, and the hash of their content made anew."""
    names: dict[str, str] = {}
    for channel in range(len(columns)):
        in_phase, quadrature = schema.series_columns(channel)
        if in_phase in columns and quadrature in columns:
            names |= {in_phase: quadrature, quadrature: in_phase}
    turned = {name: columns[names.get(name, name)] for name in columns}
    content = schema.content_event_ids(turned[schema.SERIES_I], turned[schema.SERIES_Q])
    made = np.array_equal(columns[schema.EVENT_ID], columns[schema.CONTENT_HASH])
    identity = content if made else columns[schema.EVENT_ID]
    return {**turned, schema.EVENT_ID: identity, schema.CONTENT_HASH: content}


def _plain(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of a frame that JSON can hold."""
    return {
        str(name): value.item() if isinstance(value, np.generic) else value
        for name, value in attributes.items()
        if isinstance(value, (str, int, float, bool, np.generic))
    }


def _sentence(source: Path, table: Table) -> str:
    more = len(table.problems) - 1
    rest = f" (and {more} more problems)" if more else ""
    return f"{source}, {table.problems[0]}{rest}; mend the file, or leave such rows out with --skip-bad"


def _write(path: Path, source: SourceFile | EggSource, tables: Iterator[Table], settings: StagingSettings) -> Part:
    """Write the tables of a file one after the other; the part that appears is complete."""
    first = next(tables)
    while not first.rows:  # what a column is, is known from the first rows that can be kept
        later = next(tables, None)
        if later is None:
            return _write_nothing(_described(path, source, [first]), settings)
        first = replace(later, problems=first.problems + later.problems)
    size = first.rows if isinstance(source, SourceFile) else len(source.windows)
    layout = layout_of(first.columns)
    require_space(path.parent, layout, size)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    written: list[Table] = []
    lines: list[NDArray[np.float64]] = []
    with disk_errors(path), replacing(path, temporary), ColumnWriter(temporary, layout, size, plain=True) as writer:
        for table in chain([first], tables):
            if table.rows:
                writer.write(sum(one.rows for one in written), table.columns)
                lines.append(strongest_lines(*(table.columns[name] for name in schema.SERIES_COLUMNS)))
            written.append(replace(table, columns={}))
        part = _described(path, source, written)
        rows = np.concatenate([table.source_rows for table in written])
        writer.set_attributes(_records_of(part, rows, np.concatenate(lines), settings))
    return part


def _write_nothing(part: Part, settings: StagingSettings) -> Part:
    """Write the part of a file of which nothing is kept, so that a second run need not read it again."""
    temporary = part.path.with_suffix(f".{os.getpid()}.tmp")
    nothing = np.zeros(0, np.int64), np.zeros(0)
    with disk_errors(part.path), replacing(part.path, temporary), ColumnWriter(temporary, {}, 0, plain=True) as writer:
        writer.set_attributes(_records_of(part, *nothing, settings))
    return part


def _described(path: Path, source: SourceFile | EggSource, tables: Sequence[Table]) -> Part:
    skipped = tuple(f"{source.path}, {problem}" for table in tables for problem in table.problems)
    notes = tuple(f"{source.path}: {note}" for note in source.columns.notes)
    rows = sum(table.rows for table in tables)
    return Part(path, source.path, source.sha256, rows, skipped, _plain(source.columns.attributes), notes)


def _records_of(
    part: Part, source_rows: NDArray[np.int64], lines: NDArray[np.float64], settings: StagingSettings
) -> dict[str, Any]:
    record = {
        "settings": _decisive(settings),
        "source_sha256": part.source_sha256,
        "rows": part.rows,
        "skipped": part.skipped,
        "attributes": part.attributes,
        "notes": part.notes,
    }
    return {_RECORD: json.dumps(record), _SOURCE_ROWS: source_rows, _LINES: lines}
