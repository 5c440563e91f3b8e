"""A column of the data weighs the loss: against the sum by hand, through the command line, and its mistakes."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from cres.errors import UserError
from cres.transforms import FROZEN_EPOCH
from reconstruction.training.command_line.cli import CommandLine
from reconstruction.training.runs.fitting import fit_scalers

ONCE = ("--trainer.max_epochs=1", "--model.weight_column=efficiency")


@pytest.fixture
def write(make_records, tmp_path):
    """Write electrons of which every third has not been seen, and the others as well as a number says."""

    def write(name: str, change=lambda efficiency: efficiency) -> Path:
        path = make_records(tmp_path / f"{name}.hdf5", 96)
        with h5py.File(path, "a") as file:
            file["efficiency"] = change(np.where(np.arange(96) % 3, np.linspace(0.2, 0.9, 96), 0.0))
        return path

    return write


@pytest.fixture
def weighted(write) -> Path:
    return write("weighted")


def line(tiny: Path, data: Path, *options: str) -> CommandLine:
    return CommandLine("fit", ["-c", str(tiny), f"--data.data={data}", "--trainer.fast_dev_run=true", *options])


def test_the_loss_is_the_weighted_mean_in_units_of_the_training_splits_mean(tiny, weighted):
    made = line(tiny, weighted, *ONCE)
    made.datamodule.setup("fit")
    module = made.model
    fit_scalers(module, made.datamodule)
    batch = module.placed(next(iter(made.datamodule.val_dataloader())))
    noisy = module.inject(batch, FROZEN_EPOCH)
    module.eval()
    with torch.no_grad():
        loss, outcome = module.objective(noisy, batch)
        each = module.loss(outcome.distribution, module.standardised_targets(noisy, torch.float32))
    records, train = made.datamodule.records, made.datamodule.split.train
    weights = batch["observables"]["efficiency"].numpy() / records.scalar("efficiency")[train].mean()
    by_hand = sum(weight * float(one) for weight, one in zip(weights, each, strict=True)) / len(each)
    assert float(loss) == pytest.approx(by_hand, rel=1e-5)
    assert float(loss) != pytest.approx(float(each.mean()), rel=1e-3)


def test_the_unit_of_the_column_changes_nothing_and_equal_weights_are_none(tiny, make_records, tmp_path):
    states = []
    for name, value in (("one", 1.0), ("percent", 100.0), ("none", None)):
        data = make_records(tmp_path / f"{name}.hdf5", 96)
        if value is not None:
            with h5py.File(data, "a") as file:
                file["efficiency"] = np.full(96, value)
        made = line(tiny, data, *(ONCE if value else ONCE[:1]))
        made.execute()
        states.append({name: one for name, one in made.model.state_dict().items() if "row_weights" not in name})
    for name, one in states[0].items():
        if isinstance(one, torch.Tensor):
            assert torch.equal(one, states[1][name]), name
            assert torch.equal(one, states[2][name]), name


def test_mistakes_are_one_sentence(tiny, write, weighted, records):
    with pytest.raises(UserError, match=r"weight_column is efficiency, but the data have no such column"):
        line(tiny, records, *ONCE).execute()
    with pytest.raises(UserError, match=r"by which model\.weight_column weighs the loss"):
        line(tiny, weighted, *ONCE, "--data.observables=[radius_m]").execute()
    negative = write("negative", lambda efficiency: efficiency - 0.5)
    with pytest.raises(UserError, match=r"negative\.hdf5.* column efficiency: -0\.5 is no weight of a loss"):
        line(tiny, negative, *ONCE).execute()
    with pytest.raises(UserError, match="is 0 in every row of the training"):
        line(tiny, write("none", np.zeros_like), *ONCE).execute()
