"""Stopping a training from outside without losing a step: Ctrl-C, SIGTERM, and Slurm's SIGUSR1 before a time limit.

A signal only sets a flag. The training stops after the step in which it came, writes `last.ckpt`, and a resumed
training goes on as if nothing had happened.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_warn

from cres.training.checkpoints import LAST, Checkpoints, between_steps

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Interrupted(Exception):
    """The training was stopped from outside; its state is saved."""

    def __init__(self, signal_number: int, checkpoint: str, requeued: bool) -> None:
        self.signal_number = signal_number
        self.requeued = requeued
        name = signal.Signals(signal_number).name
        more = "the job is queued again" if requeued else "go on with the same command and --resume"
        super().__init__(f"stopped by {name} after a complete step; state saved in {checkpoint}: {more}")

    @property
    def exit_code(self) -> int:
        """What the shell expects of a process that a signal ended; 0 when the job goes on by itself."""
        return 0 if self.requeued else 128 + self.signal_number


class StopOnSignal(pl.Callback):
    """Save and stop after the current step when a signal arrives.

    Args:
        requeue: Under Slurm, queue the job again on SIGUSR1 (the time limit is near).
        requeue_limit: Give up after so many restarts of one job.

    """

    def __init__(self, requeue: bool = True, requeue_limit: int = 100) -> None:
        self.requeue, self.requeue_limit = requeue, requeue_limit
        self.received: int | None = None
        self._saved: Path | None = None
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signals over; Lightning's own handlers save in the middle of a step."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            if self.received is not None:
                raise KeyboardInterrupt
            print("\nfinishing this step and saving; press Ctrl-C again to stop at once", file=sys.stderr)
        self.received = number

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save within an epoch; after its last batch the end of the epoch saves, when validation is over."""
        if between_steps(trainer, batch_idx) and self._asked(trainer):
            self._saved = _writer(trainer).save_last(trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stop within an epoch, one batch after saving: only then is the row of the saved step in the metrics."""
        if self._saved is not None:
            self._stop(trainer, self._saved)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop between two epochs, where `last.ckpt` is already complete."""
        if self._asked(trainer):
            self._stop(trainer, _writer(trainer).folder(trainer) / LAST)

    def _asked(self, trainer: pl.Trainer) -> bool:
        """Agree over all processes, which a signal reaches at different moments: their exit codes must not differ."""
        mine = torch.tensor(self.received or 0, device=trainer.strategy.root_device)
        agreed = int(trainer.strategy.reduce(mine, reduce_op="max"))
        if agreed:
            self.received = agreed
        return bool(agreed)

    def _stop(self, trainer: pl.Trainer, saved: Path) -> NoReturn:
        number = self.received or signal.SIGTERM
        requeued = number == signal.SIGUSR1 and trainer.is_global_zero and self.queue_again()
        raise Interrupted(number, str(saved), requeued)

    def queue_again(self) -> bool:
        """Let Slurm queue this job again; returns whether it will."""
        job = slurm_job()
        if job is None or not self.requeue:
            return False
        if int(os.environ.get("SLURM_RESTART_COUNT", "0")) >= self.requeue_limit:
            rank_zero_warn(f"job {job} was restarted {self.requeue_limit} times; it is not queued again")
            return False
        return subprocess.run(["scontrol", "requeue", job], check=False).returncode == 0

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Give the signals back."""
        self._restore()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Give the signals back."""
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


def _writer(trainer: pl.Trainer) -> Checkpoints:
    return next(part for part in trainer.callbacks if isinstance(part, Checkpoints))  # type: ignore[attr-defined]


def slurm_job() -> str | None:
    """Return the identity of the Slurm job (or array task) that runs this process."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")
