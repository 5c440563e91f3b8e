"""The command `fit`: train, or try learning rates or batch sizes and print what they do."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from jsonargparse import ArgumentParser, Namespace

from cres.data.module import CresDataModule
from cres.training.batch_finder import scan_sizes
from cres.training.checkpoints import read_checkpoint, resumable, set_aside
from cres.training.fitting import fit_scalers
from cres.training.loading import model_card
from cres.training.module import CARD, CresModule
from cres.training.rate_finder import scan_rates


@dataclass(frozen=True)
class FitCommand:
    """A new model, its data, a trainer and the run's folder."""

    model: CresModule
    data: CresDataModule
    trainer: pl.Trainer
    run_folder: Path

    def train(self, parser: ArgumentParser, config: Namespace) -> None:
        """Train from the start, or with `config.resume` from the last checkpoint; earlier ones are kept aside.

        Raises UserError when there is nothing to resume.
        """
        folder = self.run_folder / "checkpoints"
        start = resumable(folder) if config.resume else None
        if start is not None:
            self.data.split_as(read_checkpoint(start)[CARD].get("data", {}))
        if self.trainer.is_global_zero:
            kept = None if start else set_aside(folder)
            if kept is not None:
                print(f"{self.run_folder} held an earlier training: its checkpoints are in {kept} now", file=sys.stderr)
            self._save_config(parser, config)
        self.model.card = model_card(parser, config, self.data, self.run_folder.name)
        self.trainer.fit(self.model, datamodule=self.data, ckpt_path=start)

    def _save_config(self, parser: ArgumentParser, config: Namespace) -> None:
        config = config.clone()
        config.resume = False
        self.run_folder.mkdir(parents=True, exist_ok=True)
        (self.run_folder / "config.yaml").write_text(parser.dump(config, format="yaml", skip_unset=False))

    def find_rate(self) -> None:
        """Print the loss at each learning rate, and a suggestion."""
        self._ready_to_try()
        scan = scan_rates(self.model, self.data.train_dataloader())
        print(f"{'learning rate':>14}  smoothed loss")
        for rate, loss in list(zip(scan.rates, scan.losses, strict=True))[::5]:
            print(f"{rate:14.2e}  {loss:.4g}")
        print(f"the loss falls most steeply near {scan.suggestion:.1e}: --model.optimiser.lr={scan.suggestion:.1e}")

    def find_batch_size(self) -> None:
        """Print the electrons a second at each batch size, and a suggestion."""
        self._ready_to_try()
        scan = scan_sizes(
            self.model, self._batch_of, len(self.data.split.train), self.trainer.precision_plugin.forward_context
        )
        print(f"{'batch size':>10}  electrons/s")
        for one in scan.tried:
            print(f"{one.batch_size:10d}  {one.electrons_per_s:11.4g}")
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
