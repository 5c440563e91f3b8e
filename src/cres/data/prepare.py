"""Preparation: any pile of pickles → HDF5, in one parallel pass, atomically, restartable at any moment."""

from __future__ import annotations

import glob
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from cres.data.assembly import (
    Assembly,
    Piece,
    facts_of,
    one_layout,
    root_attributes,
    temporary_name,
    without_duplicates,
    write_file,
)
from cres.data.staging import Part, StagingSettings, stage
from cres.data.workers import map_files
from cres.errors import UserError

SUFFIXES: Final = (".pkl.gz", ".pkl")
_HINT: Final = "make some with `python scripts/simulate.py`, or name yours with --input"


@dataclass(frozen=True)
class PreparationResult:
    """What a preparation wrote, and one sentence for everything that it left out."""

    outputs: tuple[Path, ...]
    rows: int
    skipped: tuple[str, ...]


def find_sources(inputs: Sequence[str | Path]) -> list[Path]:
    """Return the pickled files that folders, globs and paths name, sorted, each once.

    Raises UserError for what does not exist, and for folders and globs that hold none.
    """
    found: dict[Path, Path] = {}
    for given in inputs:
        for path in _files_of(given):
            found.setdefault(path.resolve(), path)
    return sorted(found.values())


def _files_of(given: str | Path) -> list[Path]:
    path = Path(given)
    if path.is_dir():
        files = [file for file in path.iterdir() if file.name.endswith(SUFFIXES) and not file.name.startswith(".")]
        if not files:
            raise UserError(f"the folder {path} holds no .pkl.gz or .pkl files; {_HINT}")
        return files
    if path.exists():
        return [path]
    files = [Path(name) for name in glob.glob(str(given), recursive=True)]  # noqa: PTH207 (patterns may be absolute)
    if not files:
        raise UserError(f"there is no file {path}; {_HINT}")
    return files


def prepare(
    inputs: Sequence[str | Path],
    output: str | Path,
    *,
    workers: int = 1,
    settings: StagingSettings | None = None,
    assembly: Assembly | None = None,
) -> PreparationResult:
    """Write the electrons of pickled files to HDF5 and return what was written.

    Sources are read in parallel, each once, into parts in a hidden folder beside the output; then the parts are
    joined in the order of the sources' names. Killed at any moment, a second run finishes the work.

    Raises UserError with one sentence for every user's mistake and every bad file; earlier outputs stay as they were.
    """
    output = Path(output)
    settings = settings or StagingSettings()
    sources = find_sources(inputs)
    with _staging_folder(output) as staging:
        parts = stage_all(sources, staging, settings, workers)
        return _assemble(parts, output, staging, assembly or Assembly(), settings.skip_bad)


def stage_all(sources: Sequence[Path], staging: Path, settings: StagingSettings, workers: int) -> list[Part]:
    """Return the parts of all sources, made now or before, in the sources' order."""
    work = partial(stage, staging=staging, settings=settings)
    return map_files(work, sources, workers, "reading", rows=lambda part: part.rows)


@contextmanager
def _staging_folder(output: Path) -> Iterator[Path]:
    """Yield the folder of the parts; it is removed when the work is done, and stays when it is interrupted."""
    staging = output.parent / f".{output.name}.parts"
    try:
        staging.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror or error}") from error
    yield staging
    shutil.rmtree(staging)


def _assemble(
    parts: Sequence[Part], output: Path, staging: Path, assembly: Assembly, skip_bad: bool
) -> PreparationResult:
    skipped = [sentence for part in parts for sentence in part.skipped]
    pieces: list[Piece] = [part.piece() for part in parts if part.rows]
    if not pieces:
        raise UserError(f"no row is left: {skipped[0] if skipped else 'the files are empty'}")
    pieces, different = one_layout(pieces, skip_bad)
    pieces, repeated = without_duplicates(pieces, skip_bad)
    skipped += different + repeated
    attributes = root_attributes(pieces, facts_of(pieces, assembly), skipped)
    write_file(output, temporary_name(staging, output), pieces, assembly, attributes)
    return PreparationResult((output,), sum(piece.rows for piece in pieces), tuple(skipped))
