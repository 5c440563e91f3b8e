"""What made this file: version, git commit, configuration, seed, parents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cres
from reconstruction import provenance
from reconstruction.provenance import sha256_of_file

__all__ = ["ancestry", "git_commit", "sha256_of_file"]


def git_commit() -> str:
    """Return the commit of the source tree that runs ('+changes' when it is not clean), or 'unknown'."""
    return provenance.git_commit(Path(__file__))


def ancestry(
    config: Mapping[str, Any] | None = None, seed: int | None = None, sources: Iterable[Path] = ()
) -> dict[str, Any]:
    """Return the attributes that every artefact carries; see `reconstruction.provenance.ancestry`."""
    return provenance.ancestry(f"cres {cres.__version__}", git_commit(), config, seed, sources)
