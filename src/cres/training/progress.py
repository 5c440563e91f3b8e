"""What a person sees while training: a bar on a terminal, and one line an epoch with figures in physical units."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import RichProgressBar
from rich.console import Console

from cres import schema
from cres.training.metrics import metric_name
from cres.training.module import CresModule


class TrainingBar(RichProgressBar):
    """The bar, with the loss of the last step that was logged: to show that of every step would wait for each."""

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """Return what stands beside the bar."""
        assert isinstance(pl_module, CresModule)
        newest = {} if pl_module.newest_loss is None else {"train/loss_step": pl_module.newest_loss}
        return {**newest, **super().get_metrics(trainer, pl_module)}


class EpochLines(pl.Callback):
    """Print one line an epoch: losses, σ68 of each target in its unit, coverage, learning rate, time."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._started = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say what is trained."""
        if trainer.is_global_zero:
            count = sum(parameter.numel() for parameter in pl_module.parameters() if parameter.requires_grad)
            steps = f"{trainer.num_training_batches} batches an epoch"
            self.console.print(f"training {count:,} parameters, {steps}, on {trainer.strategy.root_device}")

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the line."""
        assert isinstance(pl_module, CresModule)
        # every process makes it: to read the metrics is to reduce them over all of them
        line = self.line(trainer, pl_module)
        if trainer.is_global_zero:
            self.console.print(line)

    def line(self, trainer: pl.Trainer, module: CresModule) -> str:
        """Return the line of the epoch that ends."""
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        known = trainer.max_epochs is not None and trainer.max_epochs > 0
        parts = [f"epoch {trainer.current_epoch + 1}" + (f"/{trainer.max_epochs}" if known else "")]
        for name, label in (("train/loss_epoch", "loss"), ("val/loss", "validation")):
            if name in figures:
                parts.append(f"{label} {figures[name]:.3f}")
        for column in module.targets:
            name = metric_name(column, "sigma68")
            if name in figures:
                parts.append(f"σ68 {_plain(column)} {figures[name]:.4g} {_unit(column)}")
        if "val/coverage" in figures:
            parts.append(f"coverage {100 * figures['val/coverage']:.0f} %")
        parts.append(f"noise {module.noise_scale:.2g}")
        parts.append(f"{time.monotonic() - self._started:.1f} s")
        return "  ".join(parts)


def _plain(column: str) -> str:
    return schema.COLUMNS[column].plain if column in schema.COLUMNS else column


def _unit(column: str) -> str:
    return schema.COLUMNS[column].unit if column in schema.COLUMNS else ""
