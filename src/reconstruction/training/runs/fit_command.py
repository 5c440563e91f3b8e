"""The command `fit`: train, or try learning rates or batch sizes and print what they do."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from jsonargparse import ArgumentParser, Namespace

from reconstruction.records.rows import RowsDataModule
from reconstruction.training.learning.batch_finder import scan_sizes
from reconstruction.training.learning.checkpoints import read_checkpoint, remove_unfinished, resumable
from reconstruction.training.learning.learner import CARD, Learner
from reconstruction.training.learning.rate_finder import scan_rates
from reconstruction.training.runs.calibrating import FEWEST, is_uncalibrated
from reconstruction.training.runs.fitting import fit_scalers
from reconstruction.training.runs.loading import model_card, plain_text
from reconstruction.training.runs.resuming import finished, refuse_changes
from reconstruction.training.runs.run_lock import training_alone
from reconstruction.training.runs.runs import RunRecord
from reconstruction.training.runs.starts import check_enough


@dataclass(frozen=True)
class FitCommand:
    """A new model, its data, a trainer and the run's folder."""

    model: Learner
    data: RowsDataModule
    trainer: pl.Trainer
    run_folder: Path
    trial: bool = False
    """Whether nothing is kept."""

    def train(self, parser: ArgumentParser, config: Namespace) -> None:
        """Train from the start, or with `config.resume` from the last checkpoint; an earlier training is kept aside.

        Raises UserError when there is nothing to resume, when it would go on as another training, and while another
        process trains in this folder.
        """
        check_enough(self.data, self.trainer)
        if self.trial:
            print("a trial: nothing of it is kept", file=sys.stderr)
            self._fit(parser, config, None)
            return
        start = resumable(self.run_folder / "checkpoints") if config.resume else None
        alone = training_alone(self.run_folder) if self.trainer.is_global_zero else contextlib.nullcontext()
        with alone:
            if self.trainer.is_global_zero:
                remove_unfinished(self.run_folder / "checkpoints")
            self._fit(parser, config, start)

    def _fit(self, parser: ArgumentParser, config: Namespace, start: Path | None) -> None:
        checkpoint = None if start is None else read_checkpoint(start)
        if checkpoint is not None:
            self.data.split_as(checkpoint[CARD].get("data", {}))
        self.model.card = model_card(parser, config, self.data, self.run_folder.name)
        if checkpoint is not None:
            refuse_changes(checkpoint, self.model.card)
            over = finished(checkpoint, self.trainer)
            if over is not None:
                self._say_finished(over, checkpoint, start)
                return
        callbacks: list[pl.Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        for record in [one for one in callbacks if isinstance(one, RunRecord)]:
            record.config, record.resumed = _saved(parser, config), start is not None
            # the last to begin, when no other callback can refuse any more
            callbacks.remove(record)
            callbacks.append(record)
        self.trainer.fit(self.model, datamodule=self.data, ckpt_path=start)

    def _say_finished(self, over: str, checkpoint: Mapping[str, Any], start: Path | None) -> None:
        """Say that there is nothing left to train, and calibrate where that was cut short."""
        if len(self.data.split.validation) >= FEWEST and is_uncalibrated(checkpoint, self.model):
            self.trainer.validate(self.model, datamodule=self.data, ckpt_path=start, verbose=False)
        if self.trainer.is_global_zero:
            print(
                f"the training in {self.run_folder} is finished: it {over}; for more, raise --trainer.max_epochs (or "
                "--trainer.max_time, --early_stopping.patience)",
                file=sys.stderr,
            )

    def find_rate(self) -> None:
        """Print the loss at each learning rate, and a suggestion."""
        self._ready_to_try()
        scan = scan_rates(self.model, self.data.train_dataloader())
        print(f"{'learning rate':>14}  smoothed loss")
        for rate, loss in list(zip(scan.rates, scan.losses, strict=True))[::5]:
            print(f"{rate:14.2e}  {loss:.4g}")
        print(f"the loss falls most steeply near {scan.suggestion:.1e}: --model.optimiser.lr={scan.suggestion:.1e}")

    def find_batch_size(self) -> None:
        """Print the rows a second at each batch size, and a suggestion."""
        self._ready_to_try()
        scan = scan_sizes(
            self.model, self._batch_of, len(self.data.split.train), self.trainer.precision_plugin.forward_context
        )
        print(f"{'batch size':>10}  rows/s")
        for one in scan.tried:
            print(f"{one.batch_size:10d}  {one.rows_per_s:11.4g}")
        if scan.memory_ended:
            print(f"{2 * scan.tried[-1].batch_size:10d}  does not fit into memory")
        print(f"larger batches than this gain less than a tenth: --data.batch_size={scan.suggestion}")

    def _ready_to_try(self) -> None:
        """Fit the scalers and move the model to its device, as a training does before its first step."""
        self.data.setup("fit")
        fit_scalers(self.model, self.data)
        self.model.to(self.trainer.strategy.root_device)

    def _batch_of(self, size: int) -> Any:
        self.data.batch_size = size
        return self.model.placed(next(iter(self.data.train_dataloader())))


def _saved(parser: ArgumentParser, config: Namespace) -> str:
    """Return the text of config.yaml, which belongs to whatever folder it lies in."""
    config = config.clone()
    config.resume, config.run, config.trainer.default_root_dir = False, None, None
    return plain_text(parser, config)
