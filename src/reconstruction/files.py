"""The one atomic writer, by which a file appears whole or not at all, and JSON that people may have changed."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reconstruction.errors import UserError


@contextlib.contextmanager
def replacing(path: Path, temporary: Path) -> Iterator[Path]:
    """Yield a temporary path of the same file system; when the block ends well it takes the place of `path`.

    Its content is on the disk before it does; where the block fails, `path` is as it was. Raises UserError for a path
    that is neither free nor a file.
    """
    refuse_other_than_files(path)
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def refuse_other_than_files(path: Path) -> None:
    """Raise UserError where a path is a folder, a device or the like: root's /dev/null would become a file for all."""
    if path.is_dir():
        raise UserError(f"{path} is a folder: name a file to write to")
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is no regular file: name another to write to")


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary sibling to write to; it takes the name `path` when the block ends well, else it is removed."""
    try:
        refuse_other_than_files(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    os.close(handle)
    with replacing(path, Path(name)) as temporary:
        yield temporary
        temporary.chmod(0o644)


def write_whole(path: Path, content: bytes) -> Path:
    """Write a file so that it appears whole or not at all. Raises UserError where it cannot be written."""
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def read_json(path: Path) -> dict[str, Any]:
    """Return the table of keys and values in a JSON file. Raises UserError for anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # no text, or no JSON
        raise UserError(f"{path} is no JSON file ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no table of keys and values")
    return content


def stored_config(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration that a file carries as JSON; {} for none, and for one that somebody else wrote."""
    try:
        stored = json.loads(str(attributes.get("config", "{}")))
    except (ValueError, RecursionError):  # no JSON: not of a simulation that is known here
        return {}
    return stored if isinstance(stored, dict) else {}


def sync(path: Path) -> None:
    """Wait until a file, or what a folder lists, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
