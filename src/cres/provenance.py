"""What made a file: see `reconstruction.provenance`, which every system shares."""

from pathlib import Path

from reconstruction import provenance
from reconstruction.provenance import package_ancestry as ancestry
from reconstruction.provenance import sha256_of_file

__all__ = ["ancestry", "git_commit", "sha256_of_file"]


def git_commit() -> str:
    """Return the commit of the source tree that runs ('+changes' when it is not clean), or 'unknown'."""
    return provenance.git_commit(Path(__file__))
