"""Jets that several tests look at: a few generated ones, and many that are made up."""

from __future__ import annotations

from pathlib import Path

import made_jets
import pytest
from collisions import needed

from collider.jets.making.config import JetSample
from collider.jets.making.files import jet_files, write_jet_files

SMALL = JetSample(classes=("QCD", "Tbqq"), pt_gev=(200.0, 300.0), radius=1.5, pt_bins=2, underlying_event=False, seed=3)


@pytest.fixture(scope="session")
def wheels() -> None:
    """The libraries, without which a test is skipped."""
    needed()


@pytest.fixture(scope="session")
def generated(wheels: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 16 generated jets of two classes."""
    folder = tmp_path_factory.mktemp("generated")
    write_jet_files(jet_files(SMALL, 16, folder, 8), 1)
    return folder


@pytest.fixture(scope="session")
def jets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 900 made-up jets of ten classes."""
    return made_jets.write(tmp_path_factory.mktemp("jets") / "jets.hdf5", 900)
