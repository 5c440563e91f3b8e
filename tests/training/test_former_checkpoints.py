"""A run of the version before the networks moved to `reconstruction`: it loads, says the same, and goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch
import yaml

from reconstruction.training.command_line.cli import main
from reconstruction.training.runs.loading import load_module
from reconstruction.training.runs.resuming import _differences

FORMER = Path(__file__).parents[1] / "fixtures" / "run_before_the_core"


def test_its_configuration_names_classes_where_they_were():
    stored = yaml.safe_load((FORMER / "config.yaml").read_text())["model"]
    assert stored["encoders"]["spectrum"]["class_path"] == "cres.models.S4DEncoder"
    assert stored["schedule"]["class_path"] == "cres.training.schedules.Plateau"


def test_it_says_what_it_said():
    model = load_module(FORMER / "checkpoints" / "last.ckpt")
    volts = 0.1 * torch.randn(4, 512, 2, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        found = model(volts)
    said = np.load(FORMER / "said.npz")
    np.testing.assert_allclose(found.estimate, said["estimate"], rtol=1e-6)
    np.testing.assert_allclose(found.error_bar, said["error_bar"], rtol=1e-4)


def test_it_goes_on(records, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(FORMER, run)
    main(["fit", f"--run={run}", f"--data.data={records}", "--resume", "--trainer.max_epochs=2"])
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 1
    main(["test", f"--run={run}", f"--data.data={records}"])
    assert (run / "predictions.hdf5").exists()


def test_a_class_under_its_former_name_is_no_change_and_another_one_is():
    before = {"class_path": "cres.models.S4DEncoder", "init_args": {"width": 6}}
    now = {"class_path": "reconstruction.models.S4DEncoder", "init_args": {"width": 6}}
    assert _differences(before, now) == {}
    assert list(_differences(before, now | {"class_path": "reconstruction.models.LSTMEncoder"})) == [""]
