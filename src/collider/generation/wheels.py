"""The libraries of collisions, imported where they are used: the extra `collider` brings them."""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from reconstruction.errors import UserError

PACKAGES: Final = ("pythia8mc", "fastjet", "awkward", "vector", "pyhepmc", "uproot", "lgatr")


def wheel(name: str) -> Any:
    """Return a library's module. Raises UserError, with what to install, where it is not there."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"collisions need the package {name.split('.')[0]}, which cannot be imported ({error}): "
            "pip install 'cres[collider]', in a checkout pip install -e '.[collider]'"
        ) from error


def versions() -> dict[str, str]:
    """Return the versions of those libraries that are there."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
