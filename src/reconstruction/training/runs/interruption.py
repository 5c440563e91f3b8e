"""Stopping a training from outside without losing a step: Ctrl-C, SIGTERM, a closed terminal's SIGHUP, and Slurm's
SIGUSR1 before a time limit.

A signal only sets a flag. The training stops after the step in which it came, writes `last.ckpt`, and a resumed
training goes on as if nothing had happened. Where that step does not end, a second signal or some time ends it all the
same, with what was saved last.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_warn

from reconstruction.training.learning.checkpoints import LAST, Checkpoints, between_steps, remove_unfinished
from reconstruction.training.runs.run_lock import let_go
from reconstruction.training.runs.slurm import slurm_job

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)

ONE_SIGNAL_S = 0.5
"""What comes within this is one signal, sent to a process and to its group."""
AFTER_A_DEATH_S = 5.0
"""So long after the death of another process of the training, this one may still end by itself, and say why."""


class EndedEarly(BaseException):
    """A command was stopped from outside before there was anything to save."""

    def __init__(self, signal_number: int) -> None:
        self.signal_number = signal_number

    def sentence(self, command: str, requeued: bool, trained: bool = False) -> str:
        """Say what is lost, which is nothing of a training, and what to do; `trained`: a state of it is there."""
        name = signal.Signals(self.signal_number).name
        if trained:
            return f"stopped by {name} while nothing was trained: go on with the same command and --resume"
        if command != "fit":
            return f"stopped by {name} before it was done: nothing was written; start it again"
        return f"stopped by {name} before anything was trained: {'the job is queued' if requeued else 'start it'} again"


@contextlib.contextmanager
def ending_early() -> Iterator[None]:
    """Raise EndedEarly on a signal, at once, until a training that can save takes the signals over.

    Signals that a caller heeds or ignores are left to it, Ctrl-C to Python.
    """
    mine = []
    if threading.current_thread() is threading.main_thread():
        mine = [number for number in SIGNALS if signal.getsignal(number) == signal.SIG_DFL]
    for number in mine:
        signal.signal(number, _end_early)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, signal.SIG_DFL)


def _end_early(number: int, frame: FrameType | None) -> NoReturn:
    raise EndedEarly(number)


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


class Watch:
    """Ends a process whose training does not heed a signal, from a thread: its main thread may wait for ever.

    Args:
        grace_s: After a signal, the training may stand still for so long, or twice as long as it ever did before.
        end: Ends the process; called with the signal and with what happened, in words.
        others: Further processes of the training that this one started; when one dies, this one is ended, too.

    """

    def __init__(
        self, grace_s: float, end: Callable[[int, str], None], others: Sequence[subprocess.Popen[Any]] = ()
    ) -> None:
        self.grace_s, self._end, self._others = grace_s, end, others
        self._moved, self._longest_s = time.monotonic(), 0.0
        self._parent = os.getppid()
        # the interpreter writes a signal's number into it at once, whatever its main thread waits for
        self._reading, self._writing = socket.socketpair()
        self._writing.setblocking(False)
        self._before = signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, daemon=True).start()

    def moved(self) -> None:
        """Note that the training is not standing still."""
        now = time.monotonic()
        self._moved, self._longest_s = now, max(self._longest_s, now - self._moved)

    def close(self) -> None:
        """Stop watching."""
        with contextlib.suppress(ValueError):
            signal.set_wakeup_fd(self._before)
        self._writing.close()

    def _watch(self) -> None:
        with self._reading:
            self._watch_until_closed()

    def _watch_until_closed(self) -> None:
        first: tuple[int, float] | None = None
        died: float | None = None
        self._reading.settimeout(0.25)
        while True:
            try:
                numbers = self._reading.recv(64)
                if not numbers:
                    return
            except TimeoutError:
                numbers = b""
            for number in numbers:
                if number not in SIGNALS:
                    continue
                now = time.monotonic()
                if first is None:
                    first = (number, now)
                elif now - first[1] > ONE_SIGNAL_S:
                    self._end(number, "a second signal")
                    return
            if first is None and os.getppid() != self._parent and int(os.environ.get("LOCAL_RANK", "0")):
                first = (signal.SIGTERM, time.monotonic())  # the process that started the others is gone
            codes = [process.poll() for process in self._others]
            if died is None and any(codes):
                died = time.monotonic()
            if died is not None and time.monotonic() - died > AFTER_A_DEATH_S:
                code = next(code for code in codes if code)
                self._end(signal.SIGTERM, f"another process of this training ended with code {code}")
                return
            if first is not None and self._stands_still(first[1]):
                self._end(first[0], f"its step did not end within {time.monotonic() - first[1]:.0f} s")
                return

    def _stands_still(self, since: float) -> bool:
        return time.monotonic() - max(self._moved, since) > max(self.grace_s, 2 * self._longest_s)


class StopOnSignal(pl.Callback):
    """Save and stop after the current step when a signal arrives.

    Args:
        requeue: Under Slurm, queue the job again on SIGUSR1 (the time limit is near).
        requeue_limit: Give up after so many restarts of one job.
        grace_s: A training that stands still for so long after a signal is ended with what was saved last; where a
            step takes longer, twice as long as the longest. A second signal ends it at once.

    """

    def __init__(self, requeue: bool = True, requeue_limit: int = 100, grace_s: float = 30.0) -> None:
        self.requeue, self.requeue_limit, self.grace_s = requeue, requeue_limit, grace_s
        self.received: int | None = None
        self._saved: Path | None = None
        self._before: dict[int, Any] = {}
        self._watch: Watch | None = None
        self._trainer: pl.Trainer | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signals over; Lightning's own handlers save in the middle of a step."""
        if threading.current_thread() is threading.main_thread():
            # a program that nohup started is meant to outlive its terminal
            mine = [one for one in SIGNALS if not (one == signal.SIGHUP and signal.getsignal(one) == signal.SIG_IGN)]
            self._before = {number: signal.signal(number, self._note) for number in mine}
            self._trainer = trainer
            others = getattr(trainer.strategy.launcher, "procs", None) or []
            self._watch = Watch(self.grace_s, self._end_now, others)
            _leave_watching_to_us()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received is None:
            print("\nfinishing this step and saving; press Ctrl-C again to stop at once", file=sys.stderr)
        self.received = self.received or number

    def _end_now(self, number: int, why: str) -> None:
        """End this process and those that it started, from the watching thread."""
        trainer = self._trainer
        assert trainer is not None
        saved = _writer(trainer).folder(trainer) / LAST
        requeued = number == signal.SIGUSR1 and trainer.is_global_zero and self.queue_again()
        if saved.exists():
            more = "the job is queued again" if requeued else "go on with the same command and --resume"
            state = (
                f"the state of {time.strftime('%F %T', time.localtime(saved.stat().st_mtime))} is in {saved}: {more}"
            )
        else:
            state = "nothing was saved yet"
        if trainer.is_global_zero:
            with contextlib.suppress(OSError):
                os.write(2, f"stopped by {signal.Signals(number).name} at once ({why}); {state}\n".encode())
        end_children(trainer)
        if trainer.is_global_zero:
            remove_unfinished(saved.parent)  # the signal may have come while it was written
            let_go(Path(trainer.default_root_dir))
        os._exit(0 if requeued else 128 + number)

    def _moved(self) -> None:
        if self._watch is not None:
            self._watch.moved()

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Note that validation goes on."""
        self._moved()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note that validation has ended."""
        self._moved()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note that the epoch has ended."""
        self._moved()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save within an epoch; after its last batch the end of the epoch saves, when validation is over."""
        self._moved()
        if between_steps(trainer, batch_idx) and self._asked(trainer):
            self._saved = _writer(trainer).save_last(trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stop within an epoch, one batch after saving: only then is the row of the saved step in the metrics."""
        self._moved()
        if self._saved is not None:
            self._stop(trainer, self._saved)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop between two epochs, where `last.ckpt` is already complete, or before the first."""
        self._moved()
        if self._asked(trainer):
            if trainer.global_step == 0:
                raise EndedEarly(self.received or signal.SIGTERM)
            self._stop(trainer, _writer(trainer).folder(trainer) / LAST)

    def _asked(self, trainer: pl.Trainer) -> bool:
        """Agree over all processes, which a signal reaches at different moments: their exit codes must not differ."""
        if trainer.world_size == 1:
            return self.received is not None
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
        try:
            return subprocess.run(["scontrol", "requeue", job], check=False).returncode == 0
        except OSError:  # in a container, for example
            return False

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Give the signals back."""
        self._restore()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Give the signals back."""
        self._restore()

    def _restore(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


def _writer(trainer: pl.Trainer) -> Checkpoints:
    return next(part for part in trainer.callbacks if isinstance(part, Checkpoints))  # type: ignore[attr-defined]


def end_children(trainer: pl.Trainer) -> None:
    """End the processes that this one started: others of the same training, and those that read ahead."""
    for process in getattr(trainer.strategy.launcher, "procs", None) or []:
        if process.poll() is None:
            process.terminate()
    for worker in multiprocessing.active_children():
        worker.terminate()


def _leave_watching_to_us() -> None:
    """End Lightning's own watch over the processes that it started: it kills all of them without a word."""
    for thread in threading.enumerate():
        if thread.name == "child-process-observer":
            thread._run = lambda: True  # type: ignore[attr-defined]  # "all of them have ended"
