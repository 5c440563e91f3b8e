"""A file of events of single particles, and what comes of it."""

from __future__ import annotations

from pathlib import Path

import made_detectors
import numpy as np
import pytest

from collider.detectors import DetectorEvents
from collider.detectors.physics.chain import NEEDED, Chain
from collider.detectors.physics.config import PhysicsConfig
from collider.detectors.physics.objects import objects_of


@pytest.fixture(scope="session")
def shot_events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file of 40 events of an electron, a photon, a muon, a pion and a proton."""
    return made_detectors.write(tmp_path_factory.mktemp("physics") / "shots.hdf5", 40, seed=3, pt_gev=(12.0, 80.0))


@pytest.fixture(scope="session")
def chain(shot_events: Path) -> Chain:
    return Chain(DetectorEvents(shot_events), PhysicsConfig())


@pytest.fixture(scope="session")
def shot_part(chain: Chain):
    return chain.events.read(slice(None), NEEDED)


@pytest.fixture(scope="session")
def shot_objects(chain: Chain, shot_part):
    return objects_of(shot_part, chain.config.flow, chain.stations, chain.ecal, chain.tracker.field_t)


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(4)
