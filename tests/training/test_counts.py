"""Operations that the default model dispatches, and waits of the host: upper bounds, for a GPU pays for every one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from reconstruction.training.command_line.cli import CommandLine
from reconstruction.training.runs.loading import load_reconstructor
from reconstruction.training.watching.counting import OperationCount, saved_bytes

ROOT = Path(__file__).parents[2]
TRAINING_STEP = 825
"""Operations of a trainer's step with its batch, backward pass, clipping, optimiser and books (3 612 with a bisection).

Some 90 of them read carrier and place once more from all lines; 24 read the carrier from seventeen bins, show half the
distance and leave out lines that are missed.
"""
PREDICTION = 470
"""Operations from volts to estimates and error bars (3 751 before); 70 of them read all lines together."""
EVERY = 6


class Steps(pl.Callback):
    """The count at the start of every step."""

    def __init__(self, count: OperationCount) -> None:
        self.count = count
        self.seen: list[tuple[int, int]] = []

    def on_train_batch_start(self, *_: Any) -> None:
        self.seen.append((self.count.operations, self.count.host_waits))


@pytest.fixture(scope="module")
def counted(records: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[int, int]]]:
    """The folder of a short training of the default model, and (operations, host waits) of each of its steps."""
    folder = tmp_path_factory.mktemp("counted")
    options = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=14", f"--trainer.log_every_n_steps={EVERY}"]
    quiet = ["--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu", "--data.batch_size=8"]
    config = str(ROOT / "configs" / "s4d.yaml")
    command = CommandLine("fit", ["-c", config, f"--data.data={records}", f"--run={folder}", *options, *quiet])
    count = OperationCount()
    steps = Steps(count)
    command.trainer.callbacks.insert(0, steps)  # type: ignore[attr-defined]
    with count:
        command.execute()
    pairs = zip(steps.seen, steps.seen[1:], strict=False)
    return folder, [(after[0] - before[0], after[1] - before[1]) for before, after in pairs]


def test_a_training_step_dispatches_few_operations(counted: tuple[Path, list[tuple[int, int]]]) -> None:
    plain = [operations for step, (operations, _) in enumerate(counted[1], 1) if step % EVERY and step > 1]
    assert len(plain) >= 9
    assert max(plain) <= TRAINING_STEP


def test_the_host_waits_for_steps_that_are_logged_alone(counted: tuple[Path, list[tuple[int, int]]]) -> None:
    waits = {step: waits for step, (_, waits) in enumerate(counted[1], 1)}
    assert all(waits[step] == 0 for step in waits if step % EVERY and step > 1)
    assert waits[EVERY] > 0


def test_a_prediction_dispatches_few_operations(counted: tuple[Path, list[tuple[int, int]]]) -> None:
    reconstructor = load_reconstructor(counted[0] / "checkpoints" / "last.ckpt")
    volts = 0.05 * torch.randn(4, 512, 2)
    with torch.inference_mode():
        reconstructor(volts)  # the kernels' spectra are kept from here on
        with OperationCount() as count:
            distribution = reconstructor(volts)
            assert distribution.estimate.shape == distribution.error_bar.shape == (4, 2)
    assert count.operations <= PREDICTION


def test_the_counter_counts() -> None:
    values = torch.ones(1000)
    with OperationCount() as count:
        total = (values + values).view(10, 100).sum()
        assert float(total) == 2000
    assert count.by_name == {"add": 1, "view": 1, "sum": 1, "_local_scalar_dense": 1}
    assert count.host_waits == 1
    # read once where it is read twice, written; read, written; read
    assert count.bytes_moved == 4 * (1000 + 1000 + 1000 + 1 + 1)
    weights = torch.ones(1000, requires_grad=True)
    assert saved_bytes(lambda: (weights * values).exp()) == 2 * 4000
