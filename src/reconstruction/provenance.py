"""What made a file: program, git commit, configuration, seed, parents."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

try:
    VERSION = version("cres")
except PackageNotFoundError:  # a source tree on the path that nobody installed
    VERSION = "0+unknown"
"""Of the distribution that the packages come in together."""
INSTALLED = {"site-packages", "dist-packages"}
"""Folders of packages that somebody has installed."""


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def git_commit(program: Path) -> str:
    """Return the commit of the source tree that holds a program's file ('+changes' when it is not clean), or 'unknown'.

    An installed package may lie inside the repository of something else (a virtual environment in a project's folder):
    only a repository that holds this very file is meant, and none that keeps its virtual environment, too.
    """
    if _is_installed(program):
        return "unknown"
    try:
        _git(program.parent, "ls-files", "--error-unmatch", program.name)
        commit = _git(program.parent, "rev-parse", "HEAD")
        dirty = _git(program.parent, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return f"{commit}+changes" if dirty else commit


def _is_installed(program: Path) -> bool:
    """Whether pip put a file where it is: among packages, or, with its record beside them, where --target said."""
    beside = (record for folder in program.parents[1:3] for record in folder.glob("*.dist-info/RECORD"))
    return bool(INSTALLED & set(program.parts)) or any(beside)


def _git(folder: Path, *words: str) -> str:
    # a hook of another repository, or its tools, say in GIT_DIR which one they mean
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(folder), *words]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10, env=environment)
    return run.stdout.strip()


def ancestry(
    created_by: str,
    commit: str,
    config: Mapping[str, Any] | None = None,
    seed: int | None = None,
    sources: Iterable[Path] = (),
) -> dict[str, Any]:
    """Return the attributes that every artefact carries; `config` and `sources` as JSON text.

    `sources` becomes {file name: SHA-256}.
    """
    attributes: dict[str, Any] = {
        "created_by": created_by,
        "git_commit": commit,
        "config": json.dumps(config or {}, sort_keys=True, default=str),
        "sources": json.dumps({path.name: sha256_of_file(path) for path in sources}, sort_keys=True),
    }
    if seed is not None:
        attributes["seed"] = int(seed)
    return attributes


def package_ancestry(
    config: Mapping[str, Any] | None = None, seed: int | None = None, sources: Iterable[Path] = ()
) -> dict[str, Any]:
    """Return the ancestry of what this program makes: its version, and the commit of the source tree that runs."""
    return ancestry(f"cres {VERSION}", git_commit(Path(__file__)), config, seed, sources)
