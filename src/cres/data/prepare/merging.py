"""Joining HDF5 files of electrons: ours as they are, files in the plain column layout with their electrons checked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cres import schema
from cres.data.consistency import strongest_lines
from cres.data.prepare.assembly import FilePiece
from cres.data.prepare.hdf5_writer import ColumnLayout, ColumnWriter, disk_errors, layout_of, require_space
from cres.data.prepare.preparation import PreparationResult, join, output_path, staging_folder
from cres.data.prepare.problems import Problem
from cres.data.prepare.staging import exchanged
from cres.data.prepare.tables import checked_table
from cres.data.record_file import RecordFile
from cres.data.records import data_files
from cres.data.row_reader import naming_damage
from cres.data.settings import Assembly
from cres.errors import UserError
from cres.progress import track
from cres.provenance import sha256_of_file
from reconstruction.files import replacing

_BLOCK_ROWS = 256


def merge(
    inputs: Sequence[str | Path],
    output: str | Path,
    *,
    workers: int = 1,
    assembly: Assembly | None = None,
    skip_bad: bool = False,
    exchange_iq: bool = False,
) -> PreparationResult:
    """Join HDF5 files, each electron once, and return what was written.

    exchange_iq exchanges I and Q of files that others wrote. Raises UserError for files that do not fit together, for
    bad rows and for repeated electrons (unless `skip_bad`), and where prepared files would have to be exchanged.
    """
    output = output_path(output)
    files = [RecordFile(path) for path in data_files(inputs)]
    skipped: list[str] = []
    with staging_folder(output, alone=True) as staging:
        pieces = []
        for number, file in enumerate(track(files, "reading", len(files), "files")):
            if schema.CONTENT_HASH in file.columns:
                if exchange_iq:
                    raise UserError(
                        f"{file.path} was prepared before, and its electrons are known by their series: exchange I and "
                        "Q where it was made, in a preparation with --exchange-iq"
                    )
                pieces.append(replace(_whole(file, str(file.path)), lines=_lines(file)))
            else:
                part, problems = _checked_copy(file, staging / f"merge-{number}.hdf5", skip_bad, exchange_iq)
                skipped += [f"{file.path}, {problem}" for problem in problems]
                pieces.append(part)
        result = join(
            [piece for piece in pieces if piece.rows],
            skipped,
            output,
            staging,
            assembly or Assembly(),
            skip_bad,
            workers,
        )
        shutil.rmtree(staging)
    return result


def _whole(file: RecordFile, source: str) -> FilePiece:
    rows = np.arange(file.rows)
    with h5py.File(file.path, "r", locking=False) as opened:
        layout = {name: ColumnLayout(opened[name].dtype, opened[name].shape[1:]) for name in file.columns}
    return FilePiece(file.path, source, sha256_of_file(file.path), rows, rows, layout, file.attributes)


def _lines(file: RecordFile) -> NDArray[np.float64]:
    """Return where the strongest line of each record is, read block by block."""
    lines = [np.zeros(0)]
    for start in range(0, file.rows, _BLOCK_ROWS):
        lines.append(strongest_lines(*(_cells(file, name, start, _BLOCK_ROWS) for name in schema.SERIES_COLUMNS)))
    return np.concatenate(lines)


def _checked_copy(file: RecordFile, path: Path, skip_bad: bool, exchange_iq: bool) -> tuple[FilePiece, list[Problem]]:
    """Copy a foreign file block by block into our types, with identities; return it and the rows that are bad."""
    problems: list[Problem] = []
    lines: list[NDArray[np.float64]] = []
    source_rows: list[NDArray[np.int64]] = []
    first, _ = _block(file, 0, 1)
    layout = layout_of(first)
    require_space(path.parent, layout, file.rows)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with disk_errors(path), replacing(path, temporary), ColumnWriter(temporary, layout, file.rows) as writer:
        written = 0
        for start in range(0, file.rows, _BLOCK_ROWS):
            columns, found = _block(file, start, _BLOCK_ROWS)
            if found and not skip_bad:
                raise UserError(f"{file.path}, {found[0]}; mend the file, or leave such rows out with --skip-bad")
            problems += found
            bad = {problem.row for problem in found}
            kept = np.array([row for row in range(start, min(start + _BLOCK_ROWS, file.rows)) if row not in bad], int)
            if len(kept):
                columns = exchanged(columns) if exchange_iq else columns
                writer.write(written, columns)
                lines.append(strongest_lines(*(columns[name] for name in schema.SERIES_COLUMNS)))
            written += len(kept)
            source_rows.append(kept)
    piece = _whole(RecordFile(path), str(file.path))
    origin = np.concatenate(source_rows)
    attributes = dict(file.attributes)
    sha256 = sha256_of_file(file.path)
    every_line = np.concatenate([*lines, np.full(piece.rows - written, np.nan)])
    made = replace(piece, sha256=sha256, keep=np.arange(written), source_rows=origin, attributes=attributes)
    return replace(made, lines=every_line), problems


def _block(file: RecordFile, start: int, rows: int) -> tuple[dict[str, NDArray[Any]], list[Problem]]:
    """Return some rows in our types, and what is wrong with them, rows counted in the whole file."""
    cells = {name: _cells(file, name, start, rows) for name in file.columns}
    cells = {name: np.char.decode(raw) if raw.dtype.kind == "S" else raw for name, raw in cells.items()}
    table = checked_table(cells)
    moved = [
        problem if problem.row is None else replace(problem, row=problem.row + start) for problem in table.problems
    ]
    if any(problem.row is None for problem in moved):
        raise UserError(f"{file.path}, {moved[0]}")
    return table.columns, moved


def _cells(file: RecordFile, name: str, start: int, rows: int) -> NDArray[Any]:
    end = min(start + rows, file.rows)
    with naming_damage(file.path, name, start, end - 1), h5py.File(file.path, "r", locking=False) as opened:
        return np.asarray(opened[name][start:end])
