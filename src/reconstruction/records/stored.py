"""What tables of files have in common: which files are meant, which of them has a row, by which hash it is known."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reconstruction.errors import UserError


def named_files(
    data: str | Sequence[str], noun: str, maker: str, in_folder: Callable[[Path], Iterable[Path]]
) -> list[Path]:
    """Return the files that a file, a folder, a pattern or a list of these names, each once.

    noun: what the files are of. maker: what makes some, and where. in_folder: the files that a folder stands for.
    Raises UserError where one of the names means no file, and for a file that is named twice.
    """
    given = [data] if isinstance(data, str) else list(data)
    named = [_named(Path(one), in_folder) for one in given]
    nowhere = next((one for one, found in zip(given, named, strict=True) if not found), None if given else "data.data")
    if nowhere is not None:
        raise UserError(f"there is no file of {noun} at {nowhere}: {maker}")
    paths = [path for found in named for path in found]
    twice = next((path for path, count in Counter(paths).items() if count > 1), None)
    if twice is not None:
        raise UserError(f"data.data names {twice} twice: name each file once")
    return paths


def _named(path: Path, in_folder: Callable[[Path], Iterable[Path]]) -> list[Path]:
    if path.is_dir():
        return sorted(in_folder(path))
    if path.exists():
        return [path]
    found = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
    return [file for one in sorted(found) if not one.name.startswith(".") for file in _named(one, in_folder)]


def content_hashes_of(rows: Iterable[NDArray[np.generic]]) -> NDArray[np.int64]:
    """Return a hash (row,) of the numbers of each row, not negative: by it a row is known in whatever file it is."""
    digests = (hashlib.blake2b(np.ascontiguousarray(row).tobytes(), digest_size=8).digest() for row in rows)
    return np.array([int.from_bytes(digest, "little") >> 1 for digest in digests], dtype=np.int64)


def place_of_row(starts: NDArray[np.int64], row: int) -> tuple[int, int]:
    """Return which file a row is in, and which row of it; starts: the first row of each, and the number of all."""
    file = int(np.searchsorted(starts, row, side="right")) - 1
    return file, row - int(starts[file])
