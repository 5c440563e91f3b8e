"""The commands `validate`, `test` and `predict`: what a trained model makes of records.

Records are reconstructed whole, window by window, or piece by piece; the table of predictions is written in each case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cres import schema
from cres.data.module import CresDataModule
from cres.data.records import Rows
from cres.errors import UserError
from cres.evaluation import PredictionTable
from cres.training.module import CresModule
from cres.training.origin import Origin, check_split, compare_apparatus, measured, require_same_readout, sample
from cres.training.predictions import PredictionWriter
from cres.training.runs import PREDICTIONS
from cres.training.streaming import require_piecewise, require_piecewise_noise
from cres.training.tracks import COMBINATION, TrackWriter
from cres.transforms import FROZEN_EPOCH

PIECEWISE_RECORDS = 32
"""Long records that are measured before all are read in pieces."""


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
        predictions: Where the table goes; None for its place in the run's folder: that of the test electrons, or
            `predicted_DATA.hdf5`.
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
        origin = self._origin(split.test, "the test split")
        table = self.predictions or self._tested(origin.split[split.test])
        if self.windows is not None:
            rows = np.concatenate([split.validation, split.test])
            self._in_windows(table, origin, rows, self.windows, calibrate=True)
            return
        check_split(origin.split[split.test])
        if self.chunk is not None:
            self._in_pieces(table, origin, split.test, self.chunk)
        else:
            self._whole(table, origin, split.test, {"datamodule": self.data})

    def predict(self, noise_scale: float) -> None:
        """Reconstruct all records, with noise of this scale added. Raises UserError for data that do not fit."""
        self.model.noise_scale = noise_scale
        self.data.trainer = self.trainer
        rows = np.arange(len(self.data.records))
        table = self._predicted()
        origin = self._origin(rows, "all of them")
        if self.windows is not None:
            self._in_windows(table, origin, rows, self.windows, calibrate=False)
        elif self.chunk is not None:
            self._in_pieces(table, origin, rows, self.chunk)
        else:
            self._whole(table, origin, rows, {"dataloaders": self.data.predict_dataloader()})

    def _origin(self, rows: Rows, which: str) -> Origin:
        """Look the electrons up in the checkpoint, and say what is read."""
        origin = Origin.of(self.model.card, self.data, self.checkpoints)
        if self.trainer.is_global_zero:
            print(origin.announce(rows, which))
        return origin

    def _tested(self, parts: NDArray[np.int64]) -> Path:
        """Return where the table of `test` goes: that of the run's own test electrons is never lost to others."""
        table = self.run_folder / PREDICTIONS
        theirs = bool((parts != schema.SPLITS["test"]).any())
        if theirs and table.exists() and PredictionTable.read(table).attributes.get("split") == "test":
            raise UserError(
                f"{table} holds the electrons that the training kept aside for its test, and these are others: name a "
                "file with --predictions=FILE"
            )
        return table

    def _predicted(self) -> Path:
        """Return where the table of `predict` goes: never over the run's test table, nor over that of other records."""
        files = [str(file.path) for file in self.data.records.files]
        if self.predictions is not None:
            if self.predictions.resolve() == (self.run_folder / PREDICTIONS).resolve():
                raise UserError(
                    f"{self.predictions} is the run's table of test electrons, which `test` writes: give --predictions "
                    f"another name, or leave it out ({predicted_name(files)} in the run's folder)"
                )
            return self.predictions
        table = self.run_folder / predicted_name(files)
        if table.exists() and PredictionTable.read(table).attributes.get("records") != files:
            raise UserError(f"{table} holds predictions of other records: name a file with --predictions=FILE")
        return table

    def _in_windows(self, table: Path, origin: Origin, rows: Rows, samples: int, calibrate: bool) -> None:
        if self.chunk is not None:
            raise UserError("--windows cuts long records, --chunk reads them as one: give one of the two")
        data = self.data
        data.trainer, data.window_start, data.window_samples = self.trainer, 0, samples
        data.setup("test")
        origin = self._compared(origin, rows)
        writer = TrackWriter(table, self.checkpoints, origin, data, self.run_folder / COMBINATION, calibrate)
        self._run(writer, {"dataloaders": data.track_dataloader(rows)})

    def _in_pieces(self, table: Path, origin: Origin, rows: Rows, samples: int) -> None:
        for member in self.model.members:
            require_piecewise(member, samples)
        if self.model.noise_scale:
            require_piecewise_noise(self.model.noise, self.model.receiver)
        self.data.trainer = self.trainer
        loader = self.data.piece_dataloader(rows, samples)  # refuses a band, which would look like another read-out
        require_same_readout(self.model.card, self.data.file_facts())
        first = self._first_pieces(sample(rows, PIECEWISE_RECORDS), samples)
        found = replace(measured(first, self.data, rows), samples=self.data.file_facts()["samples"])
        warning = compare_apparatus(self.model.card, found, any_length=True)
        origin = replace(origin, signature=found, warning=warning)
        self._run(PredictionWriter(table, self.checkpoints, origin), {"dataloaders": loader})

    def _whole(self, table: Path, origin: Origin, rows: Rows, records: dict[str, Any]) -> None:
        self.data.trainer = self.trainer
        self._run(PredictionWriter(table, self.checkpoints, self._compared(origin, rows)), records)

    def _run(self, writer: PredictionWriter, records: dict[str, Any]) -> None:
        """Run the model over records, given as an argument of the trainer, and write the table."""
        self.trainer.callbacks.append(writer)  # type: ignore[attr-defined]
        self.trainer.test(self.model, **records, verbose=False)

    def _compared(self, origin: Origin, rows: Rows) -> Origin:
        """Measure some of the records with noise, as the model sees them, and compare with those of the training."""
        require_same_readout(self.model.card, self.data.file_facts())
        batches = self.data.rows_dataloader(sample(rows))
        # records that are kept on the training device would meet the transforms on the processor
        placed = (self.model.placed(batch) for batch in batches)
        noisy = [self.model.inject(batch, FROZEN_EPOCH, self.model.noise_scale).cpu() for batch in placed]
        found = measured(torch.cat(noisy), self.data, rows)
        return replace(origin, signature=found, warning=compare_apparatus(self.model.card, found))

    def _first_pieces(self, rows: Rows, samples: int) -> Tensor:
        """Return records up to the length of the training's, from as many pieces."""
        batch = next(iter(self.data.piece_dataloader(rows, samples)))
        enough = -(-int(self.model.card["data"]["samples"]) // samples)
        return torch.cat(list(islice(self.model.pieces(batch), enough)), dim=1)


def predicted_name(files: Sequence[str]) -> str:
    """Return the name of the table of all electrons of some files."""
    more = f"_and_{len(files) - 1}_more" if len(files) > 1 else ""
    return f"predicted_{Path(files[0]).stem}{more}.hdf5"
