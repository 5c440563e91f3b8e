"""Pre-training with configs/denoise.yaml on records without truth, then fine-tuning with configs/s4d.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from cres.errors import UserError
from reconstruction.models import S4DEncoder
from reconstruction.training.command_line.cli import CommandLine, main
from reconstruction.training.learning.averaging import evaluation_weights
from reconstruction.training.learning.checkpoints import read_checkpoint

CONFIGS = Path(__file__).parents[2] / "configs"
QUICK = (
    "--trainer.max_epochs=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.accelerator=cpu",
    "--figures.every_epochs=0",
)
ENCODER = "reconstructor.fusion.encoders.spectrum."


def fit(config: str, data: Path, run: Path, *options: str) -> Path:
    """Train an epoch with a configuration of the repository; return its last checkpoint."""
    arguments = ["-c", str(CONFIGS / config), f"--data.data={data}", f"--run={run}", *QUICK, *options]
    CommandLine("fit", arguments).execute()
    return run / "checkpoints" / "last.ckpt"


def weights(checkpoint: Path, prefix: str = ENCODER) -> dict[str, Tensor]:
    stored = evaluation_weights(read_checkpoint(checkpoint))
    return {name.removeprefix(prefix): value for name, value in stored.items() if name.startswith(prefix)}


def changed_layers(before: dict[str, Tensor], after: dict[str, Tensor]) -> tuple[set[str], set[str]]:
    """Return the layers of which every tensor changed, and those of which some did."""
    layers: dict[str, list[bool]] = {}
    for name, value in before.items():
        layer = ".".join(name.split(".")[: 2 if name.startswith("blocks") else 1])
        layers.setdefault(layer, []).append(not torch.equal(after[name], value))
    return {name for name, ones in layers.items() if all(ones)}, {name for name, ones in layers.items() if any(ones)}


@pytest.fixture(scope="module")
def pretrained(make_records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("denoise")
    unlabelled = make_records(folder / "unlabelled.hdf5", 96, labelled=False)
    return fit("denoise.yaml", unlabelled, folder / "run", "--model.ema_decay=0.5")


BEHIND = {"norm", "pooling"}
LEARNS = {
    "0": set(),
    "1": {"blocks.2"} | BEHIND,
    "2": {"blocks.1", "blocks.2"} | BEHIND,
    "4": {"project", "blocks.0", "blocks.1", "blocks.2"} | BEHIND,
    "null": {"project", "blocks.0", "blocks.1", "blocks.2"} | BEHIND,
}


@pytest.mark.parametrize("layers", LEARNS)
def test_the_chosen_layers_learn_and_the_others_keep_every_bit(pretrained, records, tmp_path, layers):
    options = [f"--fine_tune.checkpoint={pretrained}", f"--fine_tune.trainable_layers={layers}"]
    tuned = fit("s4d.yaml", records, tmp_path, *options)
    wholly, partly = changed_layers(weights(pretrained), weights(tuned))
    assert partly == LEARNS[layers]
    assert wholly == LEARNS[layers]
    assert main(["test", f"--run={tmp_path}"]) == 0


def test_a_frozen_layer_that_learns_is_noticed(pretrained, records, tmp_path, monkeypatch):
    """The check above can fail: nothing freezes the encoder here."""
    monkeypatch.setattr("reconstruction.training.learning.tasks.denoising.set_trainable", lambda *_: None)
    options = [f"--fine_tune.checkpoint={pretrained}", "--fine_tune.trainable_layers=0"]
    tuned = fit("s4d.yaml", records, tmp_path, *options)
    assert changed_layers(weights(pretrained), weights(tuned))[1] != LEARNS["0"]


def test_a_resumed_fine_tuning_stays_frozen(pretrained, records, tmp_path):
    options = [f"--fine_tune.checkpoint={pretrained}", "--fine_tune.trainable_layers=1"]
    fit("s4d.yaml", records, tmp_path, *options)
    tuned = fit("s4d.yaml", records, tmp_path, *options, "--resume", "--trainer.max_epochs=2")
    assert changed_layers(weights(pretrained), weights(tuned))[1] == LEARNS["1"]
    assert read_checkpoint(tuned)["epoch"] == 1


def test_mistakes_of_fine_tuning_are_one_sentence(pretrained, records, tmp_path):
    given = f"--fine_tune.checkpoint={pretrained}"
    with pytest.raises(UserError, match="another shape"):
        fit("s4d.yaml", records, tmp_path, given, "--model.encoders.spectrum.init_args.width=8")
    with pytest.raises(UserError, match="has 4 layers"):
        fit("s4d.yaml", records, tmp_path, given, "--fine_tune.trainable_layers=9")
    with pytest.raises(UserError, match=r"give fine_tune\.checkpoint"):
        fit("s4d.yaml", records, tmp_path, "--fine_tune.trainable_layers=1")
    with pytest.raises(UserError, match=r"no encoder for a view 'time'; it has spectrum"):
        fit("s4d_time.yaml", records, tmp_path, given)
    folder = pretrained.parents[1]  # of the run
    with pytest.raises(UserError, match=rf"{folder} is a folder: name the checkpoint in it, {folder / 'checkpoints'}"):
        fit("s4d.yaml", records, tmp_path, f"--fine_tune.checkpoint={folder}")


@pytest.mark.parametrize("prenorm", [True, False])
def test_the_last_layer_of_s4d_is_a_block(prenorm):
    """Without a final norm, `trainable_layers: 1` once trained nothing but the pooling."""
    encoder = S4DEncoder(2, 4, 4, 2, prenorm=prenorm)
    assert encoder.layers[-1] is encoder.blocks[-1]
