"""Reading pickled files that nobody vouches for: whole, checked, bounded, and without running anything."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cres.data.pickles.decompress import DamagedStreamError, TooLargeStreamError, UnknownStreamError, decompress
from cres.data.pickles.frames import VOCABULARY, Columns, columns_of
from cres.data.pickles.machine import RefusedPickleError, interpret
from cres.data.settings import MAX_EXPANSION
from cres.errors import UserError

_FLOOR_BYTES: Final = 1 << 26
_CEILING_BYTES: Final = 1 << 62


class BadFileError(UserError):
    """A source file that cannot be used. The message names the file."""


@dataclass(frozen=True)
class SourceFile:
    """One file as it was read: its columns, and the SHA-256 of its bytes on disk."""

    path: Path
    sha256: str
    columns: Columns


def read_source(path: Path, max_expansion: float = MAX_EXPANSION) -> SourceFile:
    """Return the columns of a pickled file: plain, gzip, xz, bz2 or zip, by its first bytes.

    Raises BadFileError with one sentence.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise BadFileError(f"{path} is no regular file")  # reading a pipe would wait for ever
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise BadFileError(f"{path} cannot be read: {error.strerror or error}") from error
    if not packed:
        raise BadFileError(f"{path} is empty")
    sha256 = hashlib.sha256(packed).hexdigest()
    unpacked = _unpack(path, packed, max_expansion)
    del packed
    try:
        columns = columns_of(interpret(unpacked, VOCABULARY))
    except RefusedPickleError as error:
        raise BadFileError(f"{path} is refused: {error}") from error
    return SourceFile(path, sha256, columns)


def _unpack(path: Path, packed: bytes, max_expansion: float) -> io.BytesIO:
    try:
        return decompress(packed, path.name, max(_FLOOR_BYTES, int(min(max_expansion * len(packed), _CEILING_BYTES))))
    except DamagedStreamError as error:
        raise BadFileError(f"{path} is damaged: {error}") from error
    except UnknownStreamError as error:
        raise BadFileError(f"{path} {error}") from error
    except TooLargeStreamError as error:
        raise BadFileError(
            f"{path} unpacks to more than {max_expansion:g} times its size of {len(packed)} bytes; "
            "if that is right, allow it with --max-expansion"
        ) from error
