"""Events of single particles, each of them a jet, and their jets as rows."""

from __future__ import annotations

from pathlib import Path

import made_detectors
import pytest

from collider.detectors.jet_energies.data import FlowJetDataModule
from collider.detectors.jet_energies.files import FlowJetFiles


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of together 60 events of an electron, a photon, a muon, a pion and a proton."""
    folder = tmp_path_factory.mktemp("jet_energies")
    made_detectors.write(folder / "one.hdf5", 40, seed=3, pt_gev=(12.0, 80.0))
    made_detectors.write(folder / "two.hdf5", 20, seed=4, pt_gev=(12.0, 80.0))
    return folder


@pytest.fixture(scope="session")
def rows(few: Path) -> FlowJetDataModule:
    return FlowJetDataModule(data=str(few), batch_size=32)


@pytest.fixture(scope="session")
def files(rows: FlowJetDataModule) -> FlowJetFiles:
    return rows.records
