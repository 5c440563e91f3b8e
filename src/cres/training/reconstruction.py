"""The commands `validate`, `test` and `predict`: what a trained model makes of records.

Records are reconstructed whole, window by window, or piece by piece; the table of predictions is written in each case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
from torch import Tensor

from cres.data.module import CresDataModule
from cres.data.records import Rows
from cres.errors import UserError
from cres.training.module import CresModule
from cres.training.predictions import PredictionWriter, check_data_fit, check_split, check_volts, rms_volt
from cres.training.runs import PREDICTIONS
from cres.training.streaming import require_piecewise, require_piecewise_noise
from cres.training.tracks import COMBINATION, TrackWriter
from cres.transforms import FROZEN_EPOCH


def validate(model: CresModule, data: CresDataModule, trainer: pl.Trainer) -> None:
    """Print the metrics of the validation split."""
    for results in trainer.validate(model, datamodule=data, verbose=False):
        for name, value in results.items():
            print(f"{name.removeprefix('val/'):32} {value:.6g}")


@dataclass(frozen=True)
class Reconstruction:
    """A trained model and what it reconstructs.

    Args:
        model: One network or an ensemble.
        data: The records.
        trainer: Runs the model over them.
        checkpoints: The files that the model came from, for the table.
        run_folder: Folder of the run; the combination of windows is kept there.
        predictions: Where the table goes; None for its place in the run's folder.
        windows: Samples of a window, for long records in windows; else None.
        chunk: Samples read at a time, for long records in pieces; else None.

    """

    model: CresModule
    data: CresDataModule
    trainer: pl.Trainer
    checkpoints: Sequence[Path]
    run_folder: Path
    predictions: Path | None = None
    windows: int | None = None
    chunk: int | None = None

    def test(self) -> None:
        """Reconstruct the test split. Raises UserError when it is empty, and for data that do not fit the model."""
        split = self.data.split
        if not len(split.test):
            raise UserError("the test split is empty: give --data.fractions a larger third number, or use `predict`")
        if self.windows is not None:
            self._in_windows(np.concatenate([split.validation, split.test]), self.windows, calibrate=True)
            return
        check_split(self.model.card, self.data.file_facts())
        if self.chunk is not None:
            self._in_pieces(split.test, self.chunk)
            return
        self._run({"datamodule": self.data})

    def predict(self, noise_scale: float) -> None:
        """Reconstruct all records, with noise of this scale added. Raises UserError for data that do not fit."""
        self.model.noise_scale = noise_scale
        self.data.trainer = self.trainer
        rows = np.arange(len(self.data.records))
        if self.windows is not None:
            self._in_windows(rows, self.windows, calibrate=False)
        elif self.chunk is not None:
            self._in_pieces(rows, self.chunk)
        else:
            self._run({"dataloaders": self.data.predict_dataloader()})

    def _in_windows(self, rows: Rows, samples: int, calibrate: bool) -> None:
        if self.chunk is not None:
            raise UserError("--windows cuts long records, --chunk reads them as one: give one of the two")
        data = self.data
        data.trainer, data.window_start, data.window_samples = self.trainer, 0, samples
        data.setup("test")
        writer = TrackWriter(self._table, self.checkpoints, data, self.run_folder / COMBINATION, calibrate)
        self._run({"dataloaders": data.track_dataloader(rows)}, writer)

    def _in_pieces(self, rows: Rows, samples: int) -> None:
        for member in self.model.members:
            require_piecewise(member, samples)
        if self.model.noise_scale:
            require_piecewise_noise(self.model.noise, self.model.receiver)
        self.data.trainer = self.trainer
        loader = self.data.piece_dataloader(rows, samples)
        self._run({"dataloaders": loader}, first_volts=next(self.model.pieces(next(iter(loader)))))

    def _run(
        self, records: dict[str, Any], writer: PredictionWriter | None = None, first_volts: Tensor | None = None
    ) -> None:
        """Run the model over records, given as an argument of the trainer, and write the table."""
        check_data_fit(self.model.card, self.data.file_facts())
        check_volts(self.model.card, rms_volt(self._first_volts() if first_volts is None else first_volts))
        writer = writer or PredictionWriter(self._table, self.checkpoints, self.data.source_config())
        self.trainer.callbacks.append(writer)  # type: ignore[attr-defined]
        self.trainer.test(self.model, **records, verbose=False)

    @property
    def _table(self) -> Path:
        return self.predictions or self.run_folder / PREDICTIONS

    def _first_volts(self) -> Tensor:
        """Return the first batch of records with noise."""
        # records that are kept on the training device would meet the transforms on the processor
        batch = self.model.placed(next(iter(self.data.predict_dataloader())))
        return self.model.inject(batch, FROZEN_EPOCH, self.model.noise_scale)
