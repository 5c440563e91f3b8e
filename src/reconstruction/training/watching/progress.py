"""What a person sees while training: a bar on a terminal, and one line an epoch with figures in physical units."""

from __future__ import annotations

import sys
import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar
from rich.console import Console

from reconstruction.progress import every_s
from reconstruction.system import System
from reconstruction.training.learning.learner import Learner
from reconstruction.training.learning.metrics import metric_name

MOST_TARGETS = 4
"""Of more, such as the layers of a profile, a line tells the first; metrics.csv has all."""


class TrainingBar(RichProgressBar):
    """The bar, with the loss of the last step that was logged: to show that of every step would wait for each."""

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """Return what stands beside the bar."""
        assert isinstance(pl_module, Learner)
        newest = {} if pl_module.newest_loss is None else {"train/loss_step": pl_module.newest_loss}
        return {**newest, **super().get_metrics(trainer, pl_module)}

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the screen to what comes after the last step."""
        super().on_train_end(trainer, pl_module)
        self._stop_progress()


class ProgressLines(ProgressBar):
    """Instead of a bar, where there is no terminal: a line now and then about the batches that are done."""

    def __init__(self) -> None:
        super().__init__()
        self._said = time.monotonic()
        self._shown = True

    def disable(self) -> None:
        """Say nothing: on all processes but the first."""
        self._shown = False

    def enable(self) -> None:
        """Say it again."""
        self._shown = True

    def _now_and_then(self, what: str, batch: int, batches: float | int) -> None:
        if self._shown and time.monotonic() - self._said >= every_s():
            self._said = time.monotonic()
            print(f"  {what}{batch + 1} of {batches:g} batches", file=sys.stderr)

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Say how far the epoch is."""
        self._now_and_then(f"epoch {trainer.current_epoch + 1}: ", args[-1], trainer.num_training_batches)

    def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """Say how far the validation is."""
        self._now_and_then("validation: ", args[3], sum(trainer.num_val_batches))

    def on_test_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """Say how far the reconstruction is."""
        self._now_and_then("reconstructing: ", args[3], sum(trainer.num_test_batches))


class EpochLines(pl.Callback):
    """Print one line an epoch: losses, σ68 of each target in its unit, coverage, learning rate, time."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._started = self._begun = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say what is trained."""
        self._begun = time.monotonic()
        if trainer.is_global_zero:
            count = sum(parameter.numel() for parameter in pl_module.parameters() if parameter.requires_grad)
            steps = f"{trainer.num_training_batches} batches an epoch"
            self.console.print(f"training {count:,} parameters, {steps}, on {trainer.strategy.root_device}")

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the line."""
        assert isinstance(pl_module, Learner)
        # every process makes it: to read the metrics is to reduce them over all of them
        line = self.line(trainer, pl_module)
        if trainer.is_global_zero:
            self.console.print(line)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say how long all of it took."""
        if trainer.is_global_zero:
            taken = _minutes(time.monotonic() - self._begun)
            self.console.print(f"trained in {taken}: {trainer.global_step} steps, {trainer.current_epoch} epochs")

    def line(self, trainer: pl.Trainer, module: Learner) -> str:
        """Return the line of the epoch that ends."""
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        known = trainer.max_epochs is not None and trainer.max_epochs > 0
        parts = [f"epoch {trainer.current_epoch + 1}" + (f"/{trainer.max_epochs}" if known else "")]
        for name, label in (("train/loss_epoch", "loss"), ("val/loss", "validation")):
            if name in figures:
                parts.append(f"{label} {figures[name]:.3f}")
        for column in module.targets[:MOST_TARGETS]:
            name = metric_name(column, "sigma68")
            if name in figures:
                parts.append(
                    f"σ68 {_plain(module.system, column)} {figures[name]:.4g} {module.system.unit(column)}".rstrip()
                )
        if "val/accuracy" in figures:
            parts.append(f"accuracy {100 * figures['val/accuracy']:.1f} %  AUC {figures['val/auc']:.4g}")
        if "val/coverage" in figures:
            parts.append(f"coverage {100 * figures['val/coverage']:.0f} %")
        parts.append(f"noise {module.easing.noise_scale:.2g}")
        parts.append(f"{time.monotonic() - self._started:.1f} s")
        return "  ".join(parts)


def _minutes(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600} h {whole % 3600 // 60} min" if whole >= 3600 else f"{whole // 60} min {whole % 60} s"


def _plain(system: System, column: str) -> str:
    return system.columns[column].plain if column in system.columns else column
