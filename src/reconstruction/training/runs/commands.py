"""The commands `validate`, `test` and `predict`: what a trained model makes of rows, and the table of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
from jsonargparse import ArgumentParser, Namespace
from numpy.typing import NDArray

from reconstruction import schema
from reconstruction.errors import UserError
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.records.rows import Rows, RowsDataModule
from reconstruction.training.learning.learner import Learner
from reconstruction.training.runs.origin import (
    Origin,
    check_split,
    compare_apparatus,
    compare_settings,
    compare_stated,
    require_same_readout,
    sample,
    together,
)
from reconstruction.training.runs.predictions import PredictionWriter
from reconstruction.training.runs.runs import PREDICTIONS


def validate(model: Learner, data: RowsDataModule, trainer: pl.Trainer) -> None:
    """Print the metrics of the validation split."""
    for results in trainer.validate(model, datamodule=data, verbose=False):
        for name, value in results.items():
            print(f"{name.removeprefix('val/'):32} {value:.6g}")


@dataclass(frozen=True)
class Reconstruction:
    """A trained model and what it reconstructs. A system with other ways to read its rows has its own kind.

    Args:
        model: One network or an ensemble.
        data: The rows.
        trainer: Runs the model over them.
        checkpoints: The files that the model came from, for the table.
        run_folder: Folder of the run.
        predictions: Where the table goes; None for its place in the run's folder: that of the test rows, or
            `predicted_DATA.hdf5`.

    """

    model: Learner
    data: Any
    trainer: pl.Trainer
    checkpoints: Sequence[Path]
    run_folder: Path
    predictions: Path | None = None

    @classmethod
    def add_options(cls, parser: ArgumentParser) -> None:
        """Add the system's own options of `test` and `predict`; there are none."""

    @classmethod
    def chosen(cls, config: Namespace) -> dict[str, Any]:
        """Return what a user gave for them, by the name of the argument."""
        return {}

    def test(self) -> None:
        """Reconstruct the test split. Raises UserError when it is empty, and for data that do not fit the model."""
        split = self.data.split
        if not len(split.test):
            raise UserError("the test split is empty: give --data.fractions a larger third number, or use `predict`")
        origin = self.origin(split.test, "the test split")
        self.write_tested(self.predictions or self._tested(origin.split[split.test]), origin)

    def write_tested(self, table: Path, origin: Origin) -> None:
        """Write the table of the test split."""
        check_split(origin.split[self.data.split.test], self.data.system)
        self.write_whole(table, origin, self.data.split.test, {"datamodule": self.data})

    def predict(self, noise_scale: float) -> None:
        """Reconstruct all rows, with noise of this scale added. Raises UserError for data that do not fit."""
        self.model.noise_scale = noise_scale
        self.data.trainer = self.trainer
        rows = np.arange(len(self.data.records))
        table = self._predicted()
        self.write_predicted(table, self.origin(rows, "all of them"), rows)

    def write_predicted(self, table: Path, origin: Origin, rows: Rows) -> None:
        """Write the table of all rows."""
        self.write_whole(table, origin, rows, {"dataloaders": self.data.predict_dataloader()})

    def origin(self, rows: Rows, which: str) -> Origin:
        """Look the rows up in the checkpoint, and say what is read."""
        if not self.model.regresses:
            names = " and ".join(f"model.{task.name}" for task in self.model.tasks)
            raise UserError(
                f"this model was trained for {names} alone and estimates no {', '.join(self.model.targets)}: train one "
                "that does, from its encoder with --fine_tune.checkpoint"
            )
        origin = Origin.of(self.model.card, self.data, self.checkpoints)
        if self.trainer.is_global_zero:
            print(origin.announce(rows, which))
        return origin

    def _tested(self, parts: NDArray[np.int64]) -> Path:
        """Return where the table of `test` goes: that of the run's own test rows is never lost to others."""
        table = self.run_folder / PREDICTIONS
        theirs = bool((parts != schema.SPLITS["test"]).any())
        if theirs and table.exists() and PredictionTable.read(table).attributes.get("split") == "test":
            raise UserError(
                f"{table} holds the {self.data.system.nouns} that the training kept aside for its test, and these are "
                "others: name a file with --predictions=FILE"
            )
        return table

    def _predicted(self) -> Path:
        """Return where the table of `predict` goes: never over the run's test table, nor over that of other records."""
        files = [str(file.path) for file in self.data.records.files]
        if self.predictions is not None:
            if self.predictions.resolve() == (self.run_folder / PREDICTIONS).resolve():
                raise UserError(
                    f"{self.predictions} is the run's table of test {self.data.system.nouns}, which `test` writes: "
                    f"give --predictions another name, or leave it out ({predicted_name(files)} in the run's folder)"
                )
            return self.predictions
        table = self.run_folder / predicted_name(files)
        if table.exists() and PredictionTable.read(table).attributes.get("records") != files:
            raise UserError(f"{table} holds predictions of other records: name a file with --predictions=FILE")
        return table

    def write_whole(self, table: Path, origin: Origin, rows: Rows, given: dict[str, Any]) -> None:
        """Write the table of rows that are read as they are, `given` to the trainer."""
        self.data.trainer = self.trainer
        self.run(PredictionWriter(table, self.checkpoints, self.compared(origin, rows)), given)

    def run(self, writer: PredictionWriter, given: dict[str, Any]) -> None:
        """Run the model over rows, given as an argument of the trainer, and write the table."""
        self.trainer.callbacks.append(writer)  # type: ignore[attr-defined]
        self.trainer.test(self.model, **given, verbose=False)

    def compared(self, origin: Origin, rows: Rows) -> Origin:
        """Measure some of the rows with noise, as the model sees them, and compare with those of the training."""
        system, card = self.data.system, self.model.card
        facts = self.data.file_facts()
        require_same_readout(system, card, facts)
        if self.model.settings:  # it is told the apparatus, and need not guess it from the records
            told = self.model.settings_to_tell(self.data, rows).numpy()
            said = (compare_settings(card, system, told), compare_stated(card, system, facts, self.data.told))
            return replace(origin, warning=" ".join(filter(None, said)))
        if system.apparatus is None:
            return origin
        # inputs that are kept on the training device would meet the transforms on the processor
        placed = (self.model.placed(batch) for batch in self.data.rows_dataloader(sample(rows)))
        noisy = [self.model.as_judged(batch, self.model.noise_scale)["inputs"] for batch in placed]
        there = together([{name: values.cpu() for name, values in part.items()} for part in noisy])
        found = system.apparatus.measure(there, self.data, rows)
        return replace(origin, signature=found, warning=compare_apparatus(system, card, found))


def predicted_name(files: Sequence[str]) -> str:
    """Return the name of the table of all rows of some files."""
    more = f"_and_{len(files) - 1}_more" if len(files) > 1 else ""
    return f"predicted_{Path(files[0]).stem}{more}.hdf5"
