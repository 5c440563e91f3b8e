"""A secret offset on the endpoint, kept in a file, so that nobody steers an analysis to a known endpoint.

The offset is drawn once, from the operating system's randomness, and added to every endpoint that is fitted or stated,
with its interval: errors, m² and what the data are compared with stay. It is lifted by taking it off a result that is
already written.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cres.endpoint.likelihood import Physics
from cres.errors import UserError
from reconstruction.files import atomic_path, read_json

SPREAD_EV = 2.0
"""Standard deviation of the offset: several statistical errors of a good run, and far from a window's edges."""
SHIFTED = ("endpoint_ev", "low_ev", "high_ev", "best_ev")


def secret_offset_ev(path: Path) -> float:
    """Return the offset of a file in eV; where there is none it is drawn and the file written."""
    if not path.exists():
        offset = float(np.random.default_rng(secrets.randbits(128)).normal(0.0, SPREAD_EV))
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps({"energy_offset_ev": offset}) + "\n")
    try:
        offset = float(read_json(path)["energy_offset_ev"])
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} holds no blinding offset (energy_offset_ev): {error!r}") from error
    if not math.isfinite(offset):
        raise UserError(f"{path}: the blinding offset (energy_offset_ev) is {offset}")
    return offset


def blinded(physics: Physics, path: Path) -> Physics:
    """Return what a fit assumes with the secret offset on its endpoint."""
    return replace(physics, endpoint_offset_ev=secret_offset_ev(path))


def lifted(result: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return a result (the content of endpoint.json) with the offset taken off all endpoints; m² stays."""
    if not result.get("blinded"):
        raise UserError("the result was not blinded, or its blinding was lifted before")
    if not isinstance(result.get("endpoint_ev"), float):
        raise UserError("this is no result of an endpoint fit: it has no endpoint_ev")
    offset = secret_offset_ev(path)
    return {**_without(dict(result), offset), "blinded": False, "lifted_offset_ev": offset}


def _without(tree: Any, offset: float, key: str = "") -> Any:
    if isinstance(tree, Mapping):
        return {
            name: _without(value, offset, name) for name, value in tree.items() if name not in ("shifts", "errors")
        } | {name: tree[name] for name in ("shifts", "errors") if name in tree}
    if key in SHIFTED and isinstance(tree, int | float):
        return tree - offset
    return tree
