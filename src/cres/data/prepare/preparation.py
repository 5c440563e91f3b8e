"""Preparation: any pile of pickles → HDF5, in one parallel pass, atomically, restartable at any moment."""

from __future__ import annotations

import errno
import fcntl
import glob
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from cres.data.prepare.assembly import (
    FilePiece,
    assumed_facts,
    contradictions,
    facts_of,
    one_layout,
    root_attributes,
    said_of_defaults,
    without_duplicates,
)
from cres.data.prepare.outputs import write_one, write_report, write_shards
from cres.data.prepare.staging import Part, stage
from cres.data.settings import Assembly, StagingSettings
from cres.data.workers import map_files
from cres.errors import UserError
from reconstruction.files import refuse_other_than_files

SUFFIXES: Final = (
    *(kind + packed for kind in (".pkl", ".pickle") for packed in ("", ".gz", ".xz", ".bz2", ".zip")),
    ".egg",
)
_HINT: Final = "make some with `python scripts/simulate.py`, or name yours with --input"


@dataclass(frozen=True)
class PreparationResult:
    """What a preparation wrote, and one sentence for everything that it left out."""

    outputs: tuple[Path, ...]
    rows: int
    skipped: tuple[str, ...]
    report: Path | None = None
    """Where `skipped` is written down, if there is anything."""
    notes: tuple[str, ...] = ()
    """What a reader should know of what was written: columns converted or left out, facts that are defaults."""
    contradictions: tuple[str, ...] = ()
    """One sentence for each file that contradicts itself."""


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
            raise UserError(f"the folder {path} holds no .pkl.gz, .pkl or .egg files; {_HINT}")
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
    from cres.progress import waiting  # the workers need none

    output = output_path(output)
    settings = settings or StagingSettings()
    sources = find_sources(inputs)
    if output.resolve() in {source.resolve() for source in sources}:
        raise UserError(f"{output} is one of the files to read, and would be lost; name another --output")
    with staging_folder(output, alone=True) as staging:
        parts = _stage_all(sources, staging, settings, workers)
        skipped = [sentence for part in parts for sentence in part.skipped]
        pieces = [part.piece() for part in parts if part.rows]
        with waiting(f"joining {len(pieces)} parts"):
            result = join(pieces, skipped, output, staging, assembly or Assembly(), settings.skip_bad, workers)
            told = tuple(note for part in parts for note in part.notes)
            result = replace(result, notes=(*told, *result.notes))
            shutil.rmtree(staging)
    return result


def stage_task(
    inputs: Sequence[str | Path],
    output: str | Path,
    *,
    task: int,
    tasks: int,
    workers: int = 1,
    settings: StagingSettings | None = None,
) -> int:
    """Read the files of one task of an array job (each `tasks`-th, from `task`) and return the number of electrons.

    The parts wait beside the output for `prepare`, with the same settings, to join them.
    """
    if not 0 <= task < tasks:
        raise UserError(f"task {task} of {tasks} does not exist: tasks are counted from 0 to {tasks - 1}")
    output = output_path(output)
    sources = find_sources(inputs)[task::tasks]
    with staging_folder(output, alone=False) as staging:
        parts = _stage_all(sources, staging, settings or StagingSettings(), workers)
    return sum(part.rows for part in parts)


def output_path(output: str | Path) -> Path:
    """Return the path of an output. Raises UserError where it cannot be a file."""
    path = Path(output)
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file in it, such as {path / 'cres.hdf5'}")
    refuse_other_than_files(path)
    return path


def _stage_all(sources: Sequence[Path], staging: Path, settings: StagingSettings, workers: int) -> list[Part]:
    work = partial(stage, staging=staging, settings=settings)
    return map_files(work, sources, workers, "reading", rows=lambda part: part.rows) if sources else []


@contextmanager
def staging_folder(output: Path, alone: bool) -> Iterator[Path]:
    """Yield the folder of the parts of an output, locked: for this process alone, or shared by the tasks of an array.

    It stays when the work is interrupted. Raises UserError where it cannot be made or another process holds it.
    """
    staging = output.parent / f".{output.name}.parts"
    try:
        staging.mkdir(parents=True, exist_ok=True)
        lock = (staging / "lock").open("a")
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror or error}") from error
    with lock:
        try:
            fcntl.flock(lock, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another preparation is writing {output}; wait for it, or name another --output"
            ) from error
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise
            warnings.warn(
                f"{output.parent} has no file locks: see to it yourself that only one preparation writes {output.name}",
                stacklevel=2,
            )
        yield staging


def join(
    pieces: list[FilePiece],
    skipped: list[str],
    output: Path,
    staging: Path,
    assembly: Assembly,
    skip_bad: bool,
    workers: int,
) -> PreparationResult:
    """Check that the pieces fit together, and write them. `skipped` says what was left out before."""
    if not pieces:
        raise UserError(f"no row is left: {skipped[0] if skipped else 'the files are empty'}")
    pieces, different = one_layout(pieces, skip_bad)
    pieces, repeated = without_duplicates(pieces, skip_bad)
    skipped = [*skipped, *different, *repeated]
    facts, assumed = facts_of(pieces, assembly), assumed_facts(pieces, assembly)
    attributes = root_attributes(pieces, facts, assumed, skipped)
    if assembly.shard_rows is None:
        outputs = write_one(output, staging, pieces, assembly, attributes)
    else:
        outputs = write_shards(output, staging, pieces, assembly, attributes, workers)
    report = write_report(output, skipped)
    return PreparationResult(
        tuple(outputs),
        sum(piece.rows for piece in pieces),
        tuple(skipped),
        report,
        tuple(said_of_defaults(assumed, facts)),
        tuple(contradictions(pieces, facts)),
    )
