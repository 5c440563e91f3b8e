"""The libraries of the extra `collider`: where they are missing its tests are skipped, but not in CI."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from libraries import lacking

from collider.generation.wheels import PACKAGES


def needed(name: str = PACKAGES[0]) -> ModuleType:
    """Return a library, if all are there; skip the module or the test that asks, in CI fail, where they are not."""
    missing = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        text = f"the extra collider lacks {', '.join(missing)}: pip install -e '.[collider]'"
        lacking(text)
    return importlib.import_module(name)
