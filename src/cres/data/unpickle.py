"""Reading `.pkl.gz` and `.pkl` files that nobody vouches for: whole, checked, bounded, and without running anything."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from zlib_ng import zlib_ng as zlib  # zlib, half again as fast

from cres.data.pickle_machine import RefusedPickleError, interpret
from cres.data.pickled_frames import VOCABULARY, Columns, columns_of
from cres.data.settings import MAX_EXPANSION
from cres.errors import UserError

_FLOOR_BYTES: Final = 1 << 26
# What is unpacked at a time stays in the cache of a core until it is copied.
_PIECE_BYTES: Final = 1 << 16
_GZIP_WINDOW: Final = 31
_GZIP_MAGIC: Final = b"\x1f\x8b"
# its stubs call the class an instance
_ZLIB_ERROR: Final[type[Exception]] = zlib.error  # type: ignore[assignment]


class BadFileError(UserError):
    """A source file that cannot be used. The message names the file."""


@dataclass(frozen=True)
class Source:
    """One file as it was read: its columns, and the SHA-256 of its bytes on disk."""

    path: Path
    sha256: str
    columns: Columns


def read_source(path: Path, max_expansion: float = MAX_EXPANSION) -> Source:
    """Return the columns of a `.pkl` or `.pkl.gz` file. Raises BadFileError with one sentence."""
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
    return Source(path, sha256, columns)


def _unpack(path: Path, packed: bytes, max_expansion: float) -> io.BytesIO:
    if not packed.startswith(_GZIP_MAGIC):
        if path.name.endswith(".gz"):
            raise BadFileError(f"{path} is no gzip file")
        return io.BytesIO(packed)
    try:
        return _gunzip(packed, max(_FLOOR_BYTES, int(max_expansion * len(packed))))
    except (_ZLIB_ERROR, _DamagedError) as error:
        raise BadFileError(f"{path} is damaged: {error}") from error
    except _TooLargeError as error:
        raise BadFileError(
            f"{path} unpacks to more than {max_expansion:g} times its size of {len(packed)} bytes; "
            "if that is right, allow it with --max-expansion"
        ) from error


class _DamagedError(Exception):
    """The stream does not end where and as it should."""


class _TooLargeError(Exception):
    """The stream unpacks to more than was allowed."""


def _gunzip(packed: bytes, limit: int) -> io.BytesIO:
    """Return the content of all members of a gzip stream, each read to its end, where its checksum is."""
    content = io.BytesIO()
    view = memoryview(packed)
    position = 0
    while position < len(packed):
        if bytes(view[position : position + 2]) != _GZIP_MAGIC:
            raise _DamagedError("bytes follow the end of the gzip stream")
        position = _gunzip_member(view, position, content, limit)
    content.seek(0)
    return content


def _gunzip_member(view: memoryview, position: int, content: io.BytesIO, limit: int) -> int:
    """Append one member to `content` and return the position behind it."""
    stream = zlib.decompressobj(_GZIP_WINDOW)
    while not stream.eof:
        piece = view[position : position + _PIECE_BYTES]
        if not piece:
            raise _DamagedError("the gzip stream is truncated")
        content.write(stream.decompress(piece, limit - content.tell() + 1))
        if content.tell() > limit:
            raise _TooLargeError
        position += len(piece) - len(stream.unused_data)
    return position
