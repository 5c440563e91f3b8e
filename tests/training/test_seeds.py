"""Trainings of different seeds differ in what is random, but are judged on the same electrons and noise."""

import pytest
import torch
import yaml

from cres.data.module import CresDataModule
from cres.evaluation import PredictionTable
from cres.training.module import CARD
from cres.transforms import FROZEN_EPOCH
from reconstruction.training.command_line.cli import CommandLine, main
from reconstruction.training.learning.checkpoints import read_checkpoint, write_atomically
from reconstruction.training.runs.loading import build_module


def test_another_seed_is_judged_on_the_same_records(tiny, records, trained, tmp_path):
    other = CommandLine("fit", ["-c", str(tiny), f"--data.data={records}", f"--run={tmp_path}", "--seed_everything=8"])
    facts = read_checkpoint(trained / "checkpoints" / "last.ckpt")[CARD]["data"]
    assert other.datamodule.seed == 8
    assert other.datamodule.file_facts()["split"] == facts["split"]
    assert facts["split"]["seed"] == 0
    model = yaml.safe_load(tiny.read_text())["model"] | {"sampling_rate_hz": 403e6, "targets": ["energy_eV"]}
    one, another = (build_module(model | {"seed": seed}) for seed in (3, 8))
    batch = {
        "inputs": {"series": torch.zeros(2, 64, 2)},
        "event_id": torch.arange(2),
    }

    def noise(module, epoch):
        return module.inject(batch, epoch)["inputs"]["series"]

    assert torch.equal(noise(one, FROZEN_EPOCH), noise(another, FROZEN_EPOCH))
    assert not torch.equal(noise(one, 0), noise(another, 0))


@pytest.fixture
def of_old(trained, fit, tmp_path):
    """A run whose split followed its seed, as before the split had its own; stopped after one epoch."""
    fit(tmp_path, "--trainer.max_epochs=1", "--data.split_seed=3")
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    del config["data"]["split_seed"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


def test_a_checkpoint_is_tested_on_the_split_that_it_was_trained_with(of_old, records):
    assert main(["test", f"--run={of_old}"]) == 0
    module = CresDataModule(str(records), split_seed=3)
    tested = PredictionTable.read(of_old / "predictions.hdf5").event_id.tolist()
    assert tested == sorted(module.records.event_ids[module.split.test].tolist())
    with pytest.warns(UserWarning, match="not the one that the training kept aside"):
        main(["test", f"--run={of_old}", "--data.split_seed=0", f"--predictions={of_old / 'other.hdf5'}"])


def test_a_resumed_training_keeps_its_split(of_old, fit):
    before = read_checkpoint(of_old / "checkpoints" / "last.ckpt")[CARD]["data"]["split"]
    fit(of_old, "--resume", "--trainer.max_epochs=2")
    checkpoint = read_checkpoint(of_old / "checkpoints" / "last.ckpt")
    assert checkpoint["epoch"] == 1
    assert checkpoint[CARD]["data"]["split"] == before


def test_a_checkpoint_that_knows_no_noise_seed_is_read(trained, tmp_path):
    checkpoint = read_checkpoint(trained / "checkpoints" / "last.ckpt")
    del checkpoint[CARD]["model"]["noise_seed"]
    path = trained.with_name("old") / "checkpoints" / "last.ckpt"
    write_atomically(checkpoint, path)
    assert main(["test", f"--run={trained}", f"--ckpt_path={path}", f"--predictions={tmp_path / 'p.hdf5'}"]) == 0
