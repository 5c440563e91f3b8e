"""A folder of events that all tests of learning look at."""

from __future__ import annotations

from pathlib import Path

import made_detectors
import pytest

from collider.detectors import DetectorEvents


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of together 36 events of five particles each."""
    folder = tmp_path_factory.mktemp("shots")
    made_detectors.write(folder / "one.hdf5", 24, seed=1)
    made_detectors.write(folder / "two.hdf5", 12, seed=2)
    return folder


@pytest.fixture(scope="session")
def part(shots: Path):
    """All of their events."""
    return DetectorEvents(shots)[:]
