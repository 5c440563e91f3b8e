"""Where samples lie, and which of the signals are to train on: a folder with its manifest, or files that one names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from collider.higgs.learning.files import MAKER
from collider.higgs.making.config import EDGE, TRAINED, Point
from collider.higgs.making.samples import MANIFEST, MASSES
from reconstruction.errors import UserError
from reconstruction.files import read_json
from reconstruction.records.stored import named_files

TO_TRAIN_ON: Final = (TRAINED, EDGE)
"""Roles of signals that a training uses where it names no points."""


def event_paths(data: str | Sequence[str]) -> list[Path]:
    """Return the files that folders of samples, samples, files or patterns name, each once.

    Of a folder with a manifest they are those that it lists: others may be left from a larger sample, whose weights
    they have. Raises UserError where there is none, and for one that is named twice.
    """
    return named_files(data, "events", f"{MAKER} makes some in data/higgs/", _in_folder)


def _in_folder(folder: Path) -> list[Path]:
    return _listed(folder) or list(folder.glob("*.hdf5")) or list(folder.glob("*/*.hdf5"))


def _listed(folder: Path) -> list[Path]:
    """Return the files that the manifest of a folder lists; none without one. Raises UserError where one is missing."""
    samples = (manifest_of(str(folder)) or {}).get("samples", {}).values()
    paths = [folder / name for one in samples for name in one.get("files", ())]
    missing = next((path for path in paths if not path.is_file()), None)
    if missing is not None:
        raise UserError(f"{folder / MANIFEST} lists {missing}, which is not there: {MAKER} makes it again")
    return paths


def manifest_of(data: str | Sequence[str]) -> dict[str, Any] | None:
    """Return the manifest of a folder of samples, None for anything else."""
    folder = Path(data) if isinstance(data, str) else Path(data[0]) if len(data) == 1 else None
    if folder is None or not (folder / MANIFEST).is_file():
        return None
    return read_json(folder / MANIFEST)


def points_to_train_on(data: str | Sequence[str]) -> list[Point] | None:
    """Return the points that a manifest wants trained; None without one, or where it names none."""
    roles = roles_of(manifest_of(data) or {})
    return [point for point, role in roles.items() if role in TO_TRAIN_ON] or None


def roles_of(manifest: dict[str, Any]) -> dict[Point, str]:
    """Return what each signal of a manifest is for."""
    samples = manifest.get("samples", {}).values()
    return {
        (float(one[MASSES[0]]), float(one[MASSES[1]])): str(one["role"])
        for one in samples
        if all(name in one for name in (*MASSES, "role"))
    }
