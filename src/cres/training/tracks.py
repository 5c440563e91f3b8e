"""Long records through a network of short ones: each window by itself, the estimates combined an electron."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np

from cres.data.module import CresDataModule
from cres.data.tracks import ROW
from cres.data.tracks import WINDOW as WINDOW_COLUMN
from cres.evaluation.window_calibration import fit_combination
from cres.evaluation.windows import ELECTRON, WINDOW, WINDOW_START, Combination, combine_windows
from cres.evaluation.windows import tracks_of as windows_of
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.training.learning.learner import Learner
from reconstruction.training.learning.metrics import Collected
from reconstruction.training.runs.origin import Origin
from reconstruction.training.runs.predictions import PredictionWriter, checkpoint_hash, prediction_table

COMBINATION = "windows.json"
"""File in a run's folder: how windows are combined, calibrated by `test --windows`."""


def windows_path(path: Path) -> Path:
    """Return where the table of the single windows goes, beside that of the electrons."""
    return path.with_name(f"{path.stem}_windows{path.suffix}")


class TrackWriter(PredictionWriter):
    """Collect the predictions of windows, write their table and that of the electrons.

    With `calibrate`, the validation split of the data calibrates the combination, which is written to `combination`,
    and the tables hold the test split; else the combination is read from there, if it is there.
    """

    def __init__(
        self,
        path: Path,
        checkpoints: Sequence[Path],
        origin: Origin,
        datamodule: CresDataModule,
        combination: Path,
        calibrate: bool,
    ) -> None:
        super().__init__(path, checkpoints, origin)
        self.datamodule, self.combination, self.calibrate = datamodule, combination, calibrate

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Combine and write."""
        assert isinstance(pl_module, Learner)
        collected = Collected.gather(self._parts, trainer.world_size)
        if not trainer.is_global_zero:
            return
        windows = self.window_table(collected, pl_module.card)
        if self.calibrate:
            events, split = self.datamodule.records.event_ids, self.datamodule.split
            combination = fit_combination(windows_of(windows, events[split.validation]))
            combination.write(self.combination)
            windows = windows_of(windows, events[split.test])
        elif self.combination.exists():
            combination = Combination.read(self.combination)
        else:
            combination = Combination()
            print(
                f"there is no {self.combination}: errors of windows are taken for independent, and error bars may be "
                "too small; `python cli.py test --windows` on labelled tracks calibrates them",
                file=sys.stderr,
            )
        windows.write(windows_path(self.path))
        table = combine_windows(windows, combination)
        table.write(self.path)
        print(f"{len(table)} electrons reconstructed from {len(windows)} windows: {self.path}")

    def window_table(self, collected: Collected, card: Mapping[str, Any]) -> PredictionTable:
        """Return the table of windows with the electron, the number and the start of each."""
        table = prediction_table(collected, card, checkpoint_hash(self.checkpoints), self.origin.config)
        records, samples = self.datamodule.records, self.datamodule.window_samples
        assert samples is not None
        window = table.column(WINDOW_COLUMN).astype(np.int64)
        electron = records.event_ids[table.column(ROW).astype(np.int64)]
        columns = {name: values for name, values in table.columns.items() if name != ROW}
        columns |= {ELECTRON: electron, WINDOW: window, WINDOW_START: window * samples / records.sampling_rate_hz}
        return self.origin.stamp(PredictionTable(columns, table.attributes), electron)
