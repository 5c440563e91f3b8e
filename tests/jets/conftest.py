"""Jets that several tests look at: a few generated ones, and many that are made up."""

from __future__ import annotations

from pathlib import Path

import made_jets
import pytest
from collisions import needed
from jet_trainings import SMALL, configuration

from collider.jets.making.config import JetSample
from collider.jets.making.files import jet_files, write_jet_files
from reconstruction.training.command_line.cli import main

FEW = JetSample(classes=("QCD", "Tbqq"), pt_gev=(200.0, 300.0), radius=1.5, pt_bins=2, underlying_event=False, seed=3)


@pytest.fixture(scope="session")
def wheels() -> None:
    """The libraries, without which a test is skipped."""
    needed()


@pytest.fixture(scope="session")
def generated(wheels: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 16 generated jets of two classes."""
    folder = tmp_path_factory.mktemp("generated")
    write_jet_files(jet_files(FEW, 16, folder, 8), 1)
    return folder


@pytest.fixture(scope="session")
def jets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 900 made-up jets of ten classes."""
    return made_jets.write(tmp_path_factory.mktemp("jets") / "jets.hdf5", 900)


@pytest.fixture(scope="session")
def pretrained(jets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short pre-training."""
    folder = tmp_path_factory.mktemp("pretrain")
    run = folder / "run"
    words = ["fit", "-c", configuration("pretrain", folder), f"--data.data={jets}", f"--run={run}"]
    main([*words, "--trainer.max_epochs=2", *SMALL])
    return run


@pytest.fixture(scope="session")
def classified(jets: Path, pretrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short training of classes that begins with the pre-trained encoder, tested."""
    folder = tmp_path_factory.mktemp("classify")
    run = folder / "run"
    words = ["fit", "-c", configuration("classify", folder), f"--data.data={jets}", f"--run={run}"]
    start = f"--fine_tune.checkpoint={pretrained}/checkpoints/last.ckpt"
    main([*words, "--trainer.max_epochs=4", "--model.optimiser.lr=4e-3", start, *SMALL])
    main(["test", f"--run={run}"])
    return run
