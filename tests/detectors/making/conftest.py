"""A folder of generated events that all tests of making look at."""

from __future__ import annotations

from pathlib import Path

import pytest
from collisions import needed
from made_detectors import COLLISIONS

from collider.detectors.making.files import event_files, write_event_files, write_manifest


@pytest.fixture(scope="session")
def wheels() -> None:
    needed()


@pytest.fixture(scope="session")
def folder(wheels: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six events of Z bosons and three of jets, in three files."""
    target = tmp_path_factory.mktemp("events")
    files = event_files(COLLISIONS, 9, target, 3)
    write_event_files(files, 1)
    write_manifest(files, target)
    return target
