"""A training tells a log how far it is, how long it took, and does nothing twice."""

import re

import pytest
import torch

from cres.progress import EVERY
from reconstruction.training.learning.checkpoints import read_checkpoint
from reconstruction.training.runs import calibrating
from reconstruction.training.runs.calibrating import CALIBRATION

ENOUGH = "--data.fractions=[0.6,0.3,0.1]"
"""Validation electrons enough to calibrate on."""


@pytest.fixture
def calls(monkeypatch):
    """How often validation electrons are predicted for a calibration."""
    made = []
    validation = calibrating._validation

    def counted(*arguments):
        made.append(1)
        return validation(*arguments)

    monkeypatch.setattr(calibrating, "_validation", counted)
    return made


def fitted(path):
    state = read_checkpoint(path)["state_dict"]
    return {name: value for name, value in state.items() if name.startswith(f"{CALIBRATION}.")}


def test_equal_weights_are_calibrated_once_and_a_log_hears_of_all(fit, tmp_path, calls, capsys, monkeypatch):
    monkeypatch.setenv(EVERY, "0.1")
    fit(tmp_path, ENOUGH, "--trainer.max_epochs=1", "--trainer.enable_progress_bar=true")
    assert len(calls) == 1
    best, last = (fitted(tmp_path / "checkpoints" / f"{name}.ckpt") for name in ("best", "last"))
    assert best.keys() == last.keys()
    assert all(torch.equal(best[name], last[name]) for name in best)
    assert any(
        not torch.equal(value, torch.ones_like(value)) for name, value in best.items() if name.endswith("factor")
    )
    said = capsys.readouterr().err
    assert re.search(r"trained in \d+ min \d+ s: 4 steps, 1 epochs", said)
    assert re.search(r"epoch 1: \d of 4 batches", said)


def test_other_weights_are_calibrated_by_themselves(fit, tmp_path, calls):
    # the last epoch is no better than the first: weights that stand nearly still, and then grow worse
    fit(tmp_path, ENOUGH, "--trainer.max_epochs=2", "--model.optimiser.lr=0.3", "--trainer.gradient_clip_val=0")
    one, other = (read_checkpoint(tmp_path / "checkpoints" / f"{name}.ckpt") for name in ("best", "last"))
    same = calibrating._equal(calibrating.evaluation_weights(one), calibrating.evaluation_weights(other))
    assert len(calls) == (1 if same else 2)


def test_states_that_differ_in_a_weight_are_not_equal():
    state = {"a": torch.ones(3), f"{CALIBRATION}.tail.factor": torch.ones(2)}
    assert calibrating._equal(state, state | {f"{CALIBRATION}.tail.factor": torch.zeros(2)})
    more = state | {"map._extra_state": {"fitted": True}}
    assert calibrating._equal(more, dict(more))
    assert not calibrating._equal(more, more | {"map._extra_state": {"fitted": False}})
    assert not calibrating._equal(state, state | {"a": torch.tensor([1.0, 1.0, 1.0 + 1e-6])})
    assert not calibrating._equal(state, {"a": torch.ones(3), "b": torch.ones(1)})
