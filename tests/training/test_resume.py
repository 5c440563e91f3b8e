"""A training that is stopped anywhere goes on to the same bits as one that was never stopped."""

import os
import random
import signal
from pathlib import Path

import pandas as pd
import pytest
import torch

from cres.training.module import CresModule
from reconstruction.training.command_line.cli import main
from reconstruction.training.runs.interruption import Interrupted


def final_state(folder: Path) -> dict:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def assert_same(first, second, where=""):
    assert type(first) is type(second), where
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), where
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for key in first:
            assert_same(first[key], second[key], f"{where}/{key}")
    elif isinstance(first, list | tuple):
        for index, (a, b) in enumerate(zip(first, second, strict=True)):
            assert_same(a, b, f"{where}/{index}")
    else:
        assert first == second, where


def assert_same_training(one: Path, other: Path) -> None:
    first, second = final_state(one), final_state(other)
    for part in ("state_dict", "average", "optimizer_states", "lr_schedulers", "epoch", "global_step", "callbacks"):
        assert_same(first[part], second[part], part)


def stop_after(monkeypatch, step: int, number: int) -> None:
    """Send a signal to this process during the given batch of the whole training."""
    inner, seen = CresModule.training_step, [0]

    def step_and_signal(self, batch, batch_idx):
        seen[0] += 1
        if seen[0] == step:
            os.kill(os.getpid(), number)
        return inner(self, batch, batch_idx)

    monkeypatch.setattr(CresModule, "training_step", step_and_signal)


# 154 training electrons in batches of 32: five steps an epoch, 15 altogether
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)
CHECKPOINT_STEPS = 3


@pytest.fixture(autouse=True)
def heeds_sighup():
    """Tests that nohup started ignore SIGHUP, and so would the trainings in them."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("step", "number", "workers"),
    [(2, signal.SIGTERM, 0), (5, signal.SIGUSR1, 0), (8, signal.SIGHUP, 0), (8, signal.SIGUSR1, 2)],
)
def test_signals_anywhere(trained, fit, tmp_path, monkeypatch, step, number, workers):
    options = [f"--data.workers={workers}"]
    with monkeypatch.context() as patched:
        stop_after(patched, step, number)
        with pytest.raises(Interrupted, match="--resume"):
            fit(tmp_path, *options)
    assert final_state(tmp_path)["global_step"] == step
    fit(tmp_path, "--resume", *options)
    assert_same_training(trained, tmp_path)


def kill_at(fit, folder: Path, step: int, workers: int) -> None:
    """Train in a process of its own that is killed outright during a step."""
    child = os.fork()
    if child == 0:
        with pytest.MonkeyPatch.context() as patched:
            stop_after(patched, step, signal.SIGKILL)
            fit(folder, f"--checkpoint.every_steps={CHECKPOINT_STEPS}", f"--data.workers={workers}")
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize(("step", "workers"), [(4, 0), (12, 0), (8, 2)])
def test_killed_outright_goes_on_from_the_last_checkpoint(trained, fit, tmp_path, step, workers):
    kill_at(fit, tmp_path, step, workers)
    assert 0 < final_state(tmp_path)["global_step"] < step
    fit(tmp_path, "--resume", f"--data.workers={workers}")
    assert_same_training(trained, tmp_path)


@pytest.mark.slow  # 16 trainings, each stopped and resumed: about three minutes
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("number", [*SIGNALS, signal.SIGKILL])
@pytest.mark.parametrize("place", ["boundary", "mid-epoch"])
def test_every_signal_at_every_place_with_and_without_workers(
    trained, fit, tmp_path, monkeypatch, place, number, workers
):
    # a step of its own for each cell, and the same in each run of the test
    draw = random.Random(f"{place} {number} {workers}")
    step = draw.choice([5, 10] if place == "boundary" else [4, 7, 8, 9, 12, 13, 14])
    if number == signal.SIGKILL:
        kill_at(fit, tmp_path, step, workers)
        assert 0 < final_state(tmp_path)["global_step"] < step
    else:
        with monkeypatch.context() as patched:
            stop_after(patched, step, number)
            with pytest.raises(Interrupted):
                fit(tmp_path, f"--data.workers={workers}")
        assert final_state(tmp_path)["global_step"] == step
    fit(tmp_path, "--resume", f"--data.workers={workers}")
    assert_same_training(trained, tmp_path)


@pytest.mark.parametrize("step", [3, 8])
def test_a_curriculum_goes_on_where_it_was(fit, tmp_path, monkeypatch, step):
    moving = [f"--curriculum.{name}.shape=linear" for name in ("length", "band")]
    moving += ["--curriculum.difficulty.shape=competence", "--curriculum.difficulty.patience=1", "--data.workers=1"]
    fit(tmp_path / "whole", *moving)
    with monkeypatch.context() as patched:
        stop_after(patched, step, signal.SIGTERM)
        with pytest.raises(Interrupted):
            fit(tmp_path / "stopped", *moving)
    fit(tmp_path / "stopped", "--resume", *moving)
    assert_same_training(tmp_path / "whole", tmp_path / "stopped")


def test_accumulated_gradients_are_not_lost(fit, tmp_path, monkeypatch):
    fit(tmp_path / "whole", "--trainer.accumulate_grad_batches=2")
    with monkeypatch.context() as patched:
        stop_after(patched, 3, signal.SIGTERM)
        with pytest.raises(Interrupted):
            fit(tmp_path / "stopped", "--trainer.accumulate_grad_batches=2")
    fit(tmp_path / "stopped", "--resume", "--trainer.accumulate_grad_batches=2")
    assert_same_training(tmp_path / "whole", tmp_path / "stopped")


def test_more_epochs_after_the_end(trained, fit, tmp_path):
    fit(tmp_path, "--trainer.max_epochs=2", "--curriculum.noise_scale.epochs=1.5")
    fit(tmp_path, "--resume", "--trainer.max_epochs=3", "--curriculum.noise_scale.epochs=1.5")
    assert_same_training(trained, tmp_path)


def test_metrics_are_those_of_the_undisturbed_training(trained, fit, tiny, records, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        stop_after(patched, 8, signal.SIGTERM)
        assert main(["fit", "-c", str(tiny), f"--data.data={records}", f"--run={tmp_path}"]) == 128 + signal.SIGTERM
    fit(tmp_path, "--resume")
    first, second = (pd.read_csv(folder / "metrics.csv") for folder in (trained, tmp_path))
    pd.testing.assert_frame_equal(first, second, check_exact=True)
