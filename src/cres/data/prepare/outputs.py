"""Pieces → files: one, or shards with an index; each appears under its name only when it is complete."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

import cres
from cres import schema
from cres.data.index import Index, Shard, content_digest, index_path, read_index
from cres.data.prepare.assembly import FilePiece
from cres.data.prepare.hdf5_writer import ColumnWriter, Layout, disk_errors, require_space
from cres.data.row_reader import naming_damage
from cres.data.settings import Assembly
from cres.data.workers import map_files
from reconstruction.files import replacing

_BLOCK_ROWS: Final = 256


@dataclass(frozen=True)
class Job:
    """One file to write: its pieces, and the folder where it is written before it takes its name."""

    path: Path
    staging: Path
    pieces: tuple[FilePiece, ...]
    layout: Layout
    assembly: Assembly
    attributes: dict[str, Any]

    @property
    def rows(self) -> int:
        """Number of rows of the file."""
        return sum(piece.rows for piece in self.pieces)


def write_one(
    output: Path, staging: Path, pieces: Sequence[FilePiece], assembly: Assembly, attributes: dict[str, Any]
) -> list[Path]:
    """Write all pieces into one file, in place of an earlier one and of earlier shards of this name."""
    _write(Job(output, staging, tuple(pieces), _common_layout(pieces, assembly), assembly, attributes))
    earlier = _earlier_shards(output)
    index_path(output).unlink(missing_ok=True)
    for path in earlier:
        path.unlink(missing_ok=True)
    return [output]


def write_shards(
    output: Path,
    staging: Path,
    pieces: Sequence[FilePiece],
    assembly: Assembly,
    attributes: dict[str, Any],
    workers: int,
) -> list[Path]:
    """Write shards beside `output`, then their index; return the shards and, last, the index.

    A shard's name holds a hash of what is in it: shards of an earlier run stay valid until the new index is there,
    and what an interrupted run finished is not written again.
    """
    layout = _common_layout(pieces, assembly)
    groups = [(piece,) for piece in pieces] if assembly.shard_rows == 0 else _cut(pieces, assembly.shard_rows or 1)
    jobs = []
    for number, group in enumerate(groups):
        name = f"{output.stem}-{number:05d}-{_key(group, assembly)}{output.suffix}"
        jobs.append(Job(output.with_name(name), staging, tuple(group), layout, assembly, attributes))
    missing = [job for job in jobs if not job.path.exists()]
    if missing:
        require_space(staging, layout, sum(job.rows for job in missing))
        map_files(_write, missing, workers, "writing shards", rows=int)
    shards = tuple(Shard(job.path.name, job.rows, _digest(job.pieces)) for job in jobs)
    index = Index(output.parent, shards, f"cres {cres.__version__}")
    earlier = {output, *_earlier_shards(output)}
    with disk_errors(index_path(output)), replacing(index_path(output), staging / "index.tmp") as temporary:
        temporary.write_text(index.to_json())
    for path in earlier - {job.path for job in jobs}:
        path.unlink(missing_ok=True)
    return [*(job.path for job in jobs), index_path(output)]


def write_report(output: Path, skipped: Sequence[str]) -> Path | None:
    """Write what was left out beside the output, one sentence a line; remove an earlier report where it was nothing."""
    path = output.with_name(f"{output.name}.skipped.txt")
    if not skipped:
        path.unlink(missing_ok=True)
        return None
    with disk_errors(path):
        path.write_text("".join(f"{sentence}\n" for sentence in skipped))
    return path


def _write(job: Job) -> int:
    """Write the pieces one after the other; return the number of rows."""
    require_space(job.staging, job.layout, job.rows)
    temporary = job.staging / f"{job.path.name}.{os.getpid()}.tmp"
    with (
        disk_errors(job.path),
        replacing(job.path, temporary),
        ColumnWriter(temporary, job.layout, job.rows, job.assembly.compression, job.assembly.plain) as writer,
    ):
        start = 0
        for block in _blocks(job.pieces, job.layout):
            writer.write(start, block)
            start += len(block[schema.EVENT_ID])
        if not job.assembly.plain:
            writer.set_attributes(job.attributes)
    return job.rows


def _blocks(pieces: Sequence[FilePiece], layout: Layout) -> Iterator[dict[str, NDArray[Any]]]:
    for piece in pieces:
        with h5py.File(piece.path, "r", locking=False) as file:
            for start in range(0, piece.rows, _BLOCK_ROWS):
                rows = piece.keep[start : start + _BLOCK_ROWS]
                yield {name: _rows(piece.path, file, name, rows) for name in layout}


def _rows(path: Path, file: h5py.File, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
    first, last = int(rows[0]), int(rows[-1])
    with naming_damage(path, name, first, last):
        block = file[name][first : last + 1]
    return block if len(block) == len(rows) else block[rows - first]


def _common_layout(pieces: Sequence[FilePiece], assembly: Assembly) -> Layout:
    """Return the layout of the output: that of every piece, texts as wide as the widest."""
    layout = dict(pieces[0].layout)
    for piece in pieces[1:]:
        for name, column in piece.layout.items():
            layout[name] = replace(column, dtype=np.promote_types(layout[name].dtype, column.dtype))
    if assembly.plain:
        del layout[schema.CONTENT_HASH]
    return layout


def _cut(pieces: Sequence[FilePiece], rows: int) -> list[list[FilePiece]]:
    """Return the pieces regrouped so that each group but the last has this many rows."""
    groups: list[list[FilePiece]] = [[]]
    room = rows
    for piece in pieces:
        keep = piece.keep
        while len(keep):
            if room == 0:
                groups.append([])
                room = rows
            groups[-1].append(replace(piece, keep=keep[:room]))
            taken = min(room, len(keep))
            keep, room = keep[taken:], room - taken
    return groups


def _key(pieces: Sequence[FilePiece], assembly: Assembly) -> str:
    """Return a hash of what decides the content of a shard."""
    content = [_digest(pieces), str(assembly), *(f"{piece.source} {piece.sha256}" for piece in pieces)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:8]


def _digest(pieces: Sequence[FilePiece]) -> str:
    return content_digest(np.concatenate([piece.column(schema.CONTENT_HASH) for piece in pieces]))


def _earlier_shards(output: Path) -> list[Path]:
    """Return the shards that an earlier run of this output made."""
    path = index_path(output)
    return [path.parent / shard.name for shard in read_index(path).shards] if path.exists() else []
