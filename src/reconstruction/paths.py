"""Paths as people write them: `~` and `$HOME` mean what they mean in a shell, which expands neither behind a "="."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def expanded(text: str) -> str:
    """Return a text with a leading `~` or `~user` and with `$NAME`, `${NAME}` replaced; unknown names stay."""
    return os.path.expanduser(os.path.expandvars(text))  # noqa: PTH111 (a Path would lose a trailing slash and globs)


def path_of(text: str) -> Path:
    """Return the path that a text means; the type of every option of a script that takes one."""
    return Path(expanded(text))


def all_expanded(value: Any) -> Any:
    """Return a configuration's value with all texts and paths in it expanded that begin as paths do, `~` or `$NAME`."""
    if isinstance(value, Mapping):
        return {key: all_expanded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(all_expanded(item) for item in value)
    if isinstance(value, Path):
        return path_of(str(value))
    return expanded(value) if isinstance(value, str) and value.startswith(("~", "$")) else value
