"""Paths as people write them: `~` and `$HOME` mean what they mean in a shell, which expands neither behind a "="."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def expanded(text: str) -> str:
    """Return a text with a leading `~` or `~user` and with `$NAME`, `${NAME}` replaced; unknown names stay."""
    return os.path.expanduser(os.path.expandvars(text))  # noqa: PTH111 (a Path would lose a trailing slash and globs)


def place_of(text: str) -> str:
    """Return the file, folder or glob that a text means; the type of options of scripts that take several kinds.

    An empty text is refused: as a path it would be the folder that one happens to be in (`--output $NOTHING`).
    """
    if not text.strip():
        raise argparse.ArgumentTypeError("a file or a folder is wanted, and the text is empty")
    return expanded(text)


def path_of(text: str) -> Path:
    """Return the path that a text means; the type of every option of a script that takes one."""
    return Path(place_of(text))


def all_expanded(value: Any) -> Any:
    """Return a configuration's value with all texts and paths in it expanded that begin as paths do, `~` or `$NAME`."""
    if isinstance(value, Mapping):
        return {key: all_expanded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(all_expanded(item) for item in value)
    if isinstance(value, Path):
        return path_of(str(value))
    return expanded(value) if isinstance(value, str) and value.startswith(("~", "$")) else value
