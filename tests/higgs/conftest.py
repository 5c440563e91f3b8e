"""Toy samples and trainings on them that several tests look at, each made once."""

from __future__ import annotations

from pathlib import Path

import higgs_samples
import pytest
from higgs_trainings import smallest

from reconstruction.training.command_line.cli import main


@pytest.fixture(scope="session")
def samples(tmp_path_factory) -> Path:
    """Three trained points, one between them and one outside, and three backgrounds, 200 events each."""
    extra = {"interpolated": ((145.0, 92.0),), "extrapolated": ((170.0, 97.0),)}
    return higgs_samples.write_samples(tmp_path_factory.mktemp("higgs") / "data", 200, extra=extra)


@pytest.fixture(scope="session")
def runs(samples) -> Path:
    """Two trainings of the joint network with other seeds, and one dedicated one."""
    folder = samples.parent
    config, alone = smallest("small", folder), smallest("dedicated", folder)
    for seed in (0, 1):
        options = [f"--data.data={samples}", f"--run={folder / f'joint{seed}'}", f"--seed_everything={seed}"]
        assert main(["fit", "-c", str(config), *options]) == 0
    options = [f"--data.data={samples}", f"--run={folder / 'alone'}", "--data.points=[[130,90]]"]
    assert main(["fit", "-c", str(alone), *options]) == 0
    return folder
