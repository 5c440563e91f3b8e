"""Where each of several workers begins to collect the tests.

Each collects all of them, for they must agree on what there is. Where they go the same way, each compiles every file
that no run before has compiled: tests with their assertions rewritten, modules with their types checked. Where each
begins with a share of its own, it compiles that and reads what the others have compiled.
"""

from __future__ import annotations

import itertools
from pathlib import Path


def begun_elsewhere(folder: Path, worker: int, workers: int) -> list[Path]:
    """Return what holds tests in a folder, beginning where a worker's share of all files begins."""
    files = {path: _tests(path) for path in sorted(folder.iterdir())}
    files = {path: count for path, count in files.items() if count}
    before = itertools.accumulate(files.values(), initial=0)
    later = {path: count * workers >= worker * sum(files.values()) for path, count in zip(files, before, strict=False)}
    return sorted(files, key=lambda path: not later[path])


def _tests(path: Path) -> int:
    """Count the files of tests that a path is or holds."""
    return sum(1 for _ in path.rglob("test_*.py")) if path.is_dir() else path.match("test_*.py")
