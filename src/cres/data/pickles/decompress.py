"""Compressed files → their content, read to the last checksum, and never to more than was allowed."""

from __future__ import annotations

import bz2
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, Final

from zlib_ng import zlib_ng  # zlib, half again as fast

# What is unpacked at a time stays in the cache of a core until it is copied.
_PIECE_BYTES: Final = 1 << 16
_GZIP_WINDOW: Final = 31
_GZIP_MAGIC: Final = b"\x1f\x8b"
_XZ_MAGIC: Final = b"\xfd7zXZ\x00"
_BZ2_MAGIC: Final = b"BZh"
_ZIP_MAGICS: Final = (b"PK\x03\x04", b"PK\x05\x06")
# Those that Python has no reader for, or that hold files of files: pandas writes them, nobody needs them here.
_NOT_READ: Final = {b"(\xb5/\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4", b"\x89HDF": "HDF5"}
_TAR: Final = (257, b"ustar")
_ENDINGS: Final = {".gz": "gzip", ".xz": "xz", ".bz2": "bz2", ".zip": "zip"}
# its stubs call the class an instance
_ZLIB_ERROR: Final[type[Exception]] = zlib_ng.error  # type: ignore[assignment]
_ERRORS: Final = (_ZLIB_ERROR, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, zipfile.BadZipFile)


class DamagedStreamError(Exception):
    """The stream does not end where and as it should."""


class TooLargeStreamError(Exception):
    """The stream unpacks to more than was allowed."""


class UnknownStreamError(Exception):
    """The file is compressed in a way that is not read, or not in the way that its name says."""


def decompress(packed: bytes, name: str, limit: int) -> io.BytesIO:
    """Return the content of a file, by its first bytes: gzip, xz, bz2, a zip of one file, or as it is.

    Raises DamagedStreamError, TooLargeStreamError (more than `limit` bytes), UnknownStreamError.
    """
    for magic, kind in _NOT_READ.items():
        if packed.startswith(magic):
            raise UnknownStreamError(f"is {kind}, which is not read here; {_hint(kind)}")
    try:
        if packed.startswith(_ZIP_MAGICS):
            content = _unzip(packed, limit)
        elif (stream := _stream_of(packed)) is not None:
            content = _unpack_streams(packed, *stream, limit)
        elif (ending := _ENDINGS.get("." + name.rpartition(".")[2])) is not None:
            raise UnknownStreamError(f"is no {ending} file")
        else:
            content = io.BytesIO(packed)
    except _ERRORS as error:
        raise DamagedStreamError(str(error)) from error
    if bytes(content.getbuffer()[_TAR[0] : _TAR[0] + len(_TAR[1])]) == _TAR[1]:
        raise UnknownStreamError("is a tar archive; unpack it and prepare what is in it")
    return content


def _hint(kind: str) -> str:
    return "prepare it with --merge" if kind == "HDF5" else "write it with compression='gzip'"


def _stream_of(packed: bytes) -> tuple[str, bytes, Callable[[], Any]] | None:
    """Return kind, first bytes and decompressor of a compressed stream; a file may hold several, one after another."""
    if packed.startswith(_GZIP_MAGIC):
        return "gzip", _GZIP_MAGIC, lambda: zlib_ng.decompressobj(_GZIP_WINDOW)
    if packed.startswith(_XZ_MAGIC):
        return "xz", _XZ_MAGIC, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ)
    # A pickle of protocol 0 or 1 cannot begin with these letters and a digit.
    if packed.startswith(_BZ2_MAGIC) and packed[3:4].isdigit():
        return "bz2", _BZ2_MAGIC, bz2.BZ2Decompressor
    return None


def _unpack_streams(packed: bytes, kind: str, magic: bytes, decompressor: Callable[[], Any], limit: int) -> io.BytesIO:
    """Return the content of all streams of a file, each read to its end, where its checksum is."""
    content = io.BytesIO()
    view = memoryview(packed)
    position = 0
    while position < len(packed):
        if bytes(view[position : position + len(magic)]) != magic:
            raise DamagedStreamError(f"bytes follow the end of the {kind} stream")
        position = _unpack_stream(view, position, kind, decompressor(), content, limit)
    content.seek(0)
    return content


def _unpack_stream(view: memoryview, position: int, kind: str, stream: Any, content: io.BytesIO, limit: int) -> int:
    """Append one stream to `content` and return the position behind it."""
    waiting = False  # bz2 and xz keep what they did not unpack yet
    while not stream.eof:
        piece = b"" if waiting else view[position : position + _PIECE_BYTES]
        if not piece and not waiting:
            raise DamagedStreamError(f"the {kind} stream is truncated")
        content.write(stream.decompress(piece, limit - content.tell() + 1))
        if content.tell() > limit:
            raise TooLargeStreamError
        position += len(piece)
        waiting = not getattr(stream, "needs_input", True) and not stream.eof
    return position - len(stream.unused_data)


def _unzip(packed: bytes, limit: int) -> io.BytesIO:
    """Return the one file in a zip archive; its end compares the checksum."""
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            names = [info for info in archive.infolist() if not info.is_dir()]
            if len(names) != 1:
                raise UnknownStreamError(f"is a zip archive of {len(names)} files; unpack it, and prepare the folder")
            with archive.open(names[0]) as member:
                content = io.BytesIO(member.read(limit + 1))
                if content.getbuffer().nbytes > limit:
                    raise TooLargeStreamError
    except (RuntimeError, NotImplementedError) as error:
        raise UnknownStreamError(f"is a zip archive that cannot be read ({error})") from error
    return content
