"""Checkpoints that survive a full disk, a truncated file and a killed process.

A checkpoint is written to a temporary sibling, synced and renamed; the file that it replaces stays as `NAME.previous`.
Loading checks every byte (the CRC of the archive's records) and falls back to the previous file when the newest is
damaged, and says so.
"""

from __future__ import annotations

import errno
import math
import os
import time
import warnings
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from lightning.pytorch import callbacks
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities import rank_zero_warn

from reconstruction.errors import UserError
from reconstruction.files import replacing, sync

BEST = "best.ckpt"
LAST = "last.ckpt"
PREVIOUS = ".previous"


class AtomicCheckpointIO(CheckpointIO):
    """Lightning's reader and writer of checkpoint files, atomic, with the previous file kept."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint. Raises UserError, naming the last good file, when the disk refuses."""
        write_atomically(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint, or the one before it when this one is damaged."""
        return read_with_fallback(Path(path))[0]

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint and its predecessor."""
        for file in (Path(path), previous_of(Path(path))):
            file.unlink(missing_ok=True)


def previous_of(path: Path) -> Path:
    """Return where the file that `path` replaced is kept."""
    return path.with_name(path.name + PREVIOUS)


def write_atomically(checkpoint: dict[str, Any], path: Path) -> None:
    """Write and sync a temporary sibling, keep the present file as the previous one, then rename.

    Raises UserError, naming the last good file, when the disk refuses.
    """
    try:
        _write_atomically(checkpoint, path)
    except OSError as error:
        kept = f"; {path} holds the last good state" if path.exists() else ""
        raise UserError(f"cannot write the checkpoint {path}: {error.strerror or error}{kept}") from error


def _write_atomically(checkpoint: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, path.with_name(f".{path.name}.{os.getpid()}")) as temporary:
        with temporary.open("wb") as stream:
            _save(checkpoint, stream)
        sync(temporary)
        _keep_previous(path)


def remove_unfinished(folder: Path) -> None:
    """Remove what a process that was ended while it wrote has left among the checkpoints: no other may write there."""
    for name in (BEST, LAST):
        for path in (*folder.glob(f".{name}.[0-9]*"), *folder.glob(f".{name}.link.[0-9]*")):
            path.unlink(missing_ok=True)


def _save(checkpoint: dict[str, Any], stream: BinaryIO) -> None:
    try:
        torch.save(checkpoint, stream)
    except RuntimeError as error:
        # a disk that fills up within one of its records is an "unexpected pos" to torch
        if isinstance(error.__context__, OSError) or "unexpected pos" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise


def _keep_previous(path: Path) -> None:
    """Give the present file a second name, so that at no moment no good file exists."""
    if not path.exists():
        return
    link = path.with_name(f".{path.name}.link.{os.getpid()}")
    link.unlink(missing_ok=True)
    try:
        link.hardlink_to(path)
    except OSError:  # a file system without hard links
        path.replace(previous_of(path))
        return
    link.replace(previous_of(path))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read one checkpoint with every byte checked. Raises UserError when it is missing, damaged or not ours."""
    if path.is_dir():
        raise UserError(f"{path} is a folder: name the checkpoint in it{_checkpoint_in(path)}")
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}: train with `python cli.py fit -c configs/s4d.yaml` first")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"record {damaged} is damaged")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and zipfile raise a dozen kinds for a damaged file
        raise UserError(f"the checkpoint {path} is damaged or not a checkpoint ({_first_line(error)})") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise UserError(f"{path} is a torch file, but not a checkpoint of this program")
    return checkpoint


def read_with_fallback(path: Path) -> tuple[dict[str, Any], Path]:
    """Return the newest readable checkpoint of `path` and its predecessor, and which file it was."""
    try:
        return read_checkpoint(path), path
    except UserError as error:
        older = previous_of(path)
        if not older.exists():
            raise
        checkpoint = read_checkpoint(older)
        reason = str(error)
    rank_zero_warn(f"{reason}; going on with the one before it, {older}", category=UserWarning)
    return checkpoint, older


def resumable(folder: Path) -> Path:
    """Return the newest checkpoint in a folder that can be continued from, falling back from last to best.

    Raises UserError when there is none.
    """
    reasons = []
    for name in (LAST, BEST):
        path = folder / name
        if not (path.exists() or previous_of(path).exists()):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = read_with_fallback(path)[1]
        except UserError as error:
            reasons.append(str(error))
            continue
        if reasons or found != path:
            rank_zero_warn(f"{'; '.join(reasons) or f'{path} is damaged'}; the last good state is {found}")
        return found
    why = f" ({'; '.join(reasons)})" if reasons else ""
    raise UserError(f"there is no checkpoint to continue from in {folder}{why}: start without --resume")


def _checkpoint_in(folder: Path) -> str:
    """Return where the checkpoint of a run's folder, or of its `checkpoints`, is; nothing where there is none."""
    best = [path for path in (folder / "checkpoints" / BEST, folder / BEST) if path.is_file()]
    return f", {best[0]}" if best else ""


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def between_steps(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Return whether the state after this batch can be saved within the epoch: a step is complete, more are to come.

    Gradients that are still being accumulated are in no checkpoint.
    """
    done = batch_idx + 1
    return done < trainer.num_training_batches and done % trainer.accumulate_grad_batches == 0


class Checkpoints(Checkpoint):
    """Write `best.ckpt` (smallest validation loss) and `last.ckpt` (to continue from) into the run's folder.

    Args:
        monitor: What "best" means; smaller is better.
        every_minutes: Also write `last.ckpt` within an epoch when this much time has passed; 0 means never.
        every_steps: Also write `last.ckpt` within an epoch every so many batches; 0 means never.

    """

    def __init__(self, monitor: str = "val/loss", every_minutes: float = 10.0, every_steps: int = 0) -> None:
        if every_minutes < 0 or every_steps < 0:
            raise UserError("checkpoint: every_minutes and every_steps must not be negative")
        self.monitor, self.every_minutes, self.every_steps = monitor, every_minutes, every_steps
        self.best_score: float | None = None
        self.best_epoch: int | None = None
        self._written = time.monotonic()

    @staticmethod
    def folder(trainer: pl.Trainer) -> Path:
        """Return where the checkpoints of this run are."""
        return Path(trainer.default_root_dir) / "checkpoints"

    def save_last(self, trainer: pl.Trainer) -> Path:
        """Write `last.ckpt` now; call it on every rank, between two steps."""
        path = self.folder(trainer) / LAST
        trainer.save_checkpoint(path)
        self._written = time.monotonic()
        return path

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._written = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write `last.ckpt` within an epoch; the last batch leaves it to the end of the epoch, after validation."""
        if not between_steps(trainer, batch_idx):
            return
        by_count = self.every_steps > 0 and (batch_idx + 1) % self.every_steps == 0
        late = self.every_minutes > 0 and time.monotonic() - self._written > 60 * self.every_minutes
        if by_count or trainer.strategy.reduce_boolean_decision(late, all=False):
            self.save_last(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write `best.ckpt` when the validation loss is the smallest so far."""
        if trainer.sanity_checking or trainer.state.fn != "fit" or self.monitor not in trainer.callback_metrics:
            return
        score = float(trainer.callback_metrics[self.monitor])
        if not math.isfinite(score):
            rank_zero_warn(
                f"{self.monitor} is {score} after epoch {trainer.current_epoch + 1}: these weights are not kept "
                f"as {BEST}; look for values that are not finite in the validation data, or lower model.optimiser.lr"
            )
            return
        if self.best_score is None or score < self.best_score:
            self.best_score, self.best_epoch = score, trainer.current_epoch
            trainer.save_checkpoint(self.folder(trainer) / BEST)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write `last.ckpt` after each epoch."""
        self.save_last(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Return the best score so far."""
        return {"best_score": self.best_score, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        score = state_dict["best_score"]
        known = score is not None and math.isfinite(score)
        self.best_score, self.best_epoch = (score, state_dict["best_epoch"]) if known else (None, None)


class EarlyStopping(callbacks.EarlyStopping):
    """Lightning's, which goes on past a score that is not finite, and whose patience a resumed training may change."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint, with the patience that was asked for now."""
        super().load_state_dict(state_dict | {"patience": self.patience})
