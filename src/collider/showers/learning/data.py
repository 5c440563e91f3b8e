"""The data module of showers: files of cells → batches, split as the data set was made."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from collider.showers.learning.files import ShowerFiles, is_layer, shower_paths
from reconstruction.errors import UserError
from reconstruction.records.batch import Batch
from reconstruction.records.loader import ChosenRows
from reconstruction.records.rows import RowsDataModule
from reconstruction.records.splits import Split, split_by_event

CELLS = "cells"
"""Name of the one input: (batch, cell, 1), GeV as read out, in the order of the file."""

DATA_SET = "dataset"


class ShowerRows(ChosenRows):
    """Batches of chosen showers."""

    def read(self, rows: NDArray[np.int64]) -> Batch:
        """Return the cells of showers."""
        files: ShowerFiles = self.chosen.records
        return {"inputs": {CELLS: torch.from_numpy(files.showers.cells_gev[rows].reshape(len(rows), -1, 1))}}


class ShowerDataModule(RowsDataModule):
    """Showers of HDF5 files in the layout of the CaloChallenge, as `scripts/showers.py` writes them.

    All cells are held in memory: 4 bytes each.

    Args:
        data: A file, a folder of a data set, a glob, or a list of these.
        targets: Columns to estimate: energy_gev, layer_01_gev … (what each layer holds), shower_t_x0 …, or particle.
        fractions: Shares of training, validation and test; the latter two alone say how the files of a data set's
            validation split are shared.
        split: As the data set was made (its training files to train on, its validation files shared between validation
            and test; shower by shower where there are files of one kind only), shower by shower, or whole files.

    """

    system_name = "collider.showers"

    def __init__(
        self,
        data: str | list[str] = "ml_dataset",
        targets: tuple[str, ...] = ("energy_gev",),
        fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
        split: Literal["dataset", "event", "file"] = "dataset",
        **rows: Any,
    ) -> None:
        by: Literal["event", "file"] = "file" if split == "file" else "event"
        super().__init__(data, targets, fractions=fractions, split=by, **rows)
        self.split_by = split

    def open(self) -> ShowerFiles:
        """Return the opened files."""
        return ShowerFiles(shower_paths(self.data), layers=any(map(is_layer, self.targets)))

    def dataset(self, rows: NDArray[np.int64], training: bool = False) -> ShowerRows:
        """Return the batches of these rows."""
        return ShowerRows(self.chosen(rows))

    def apparatus_facts(self) -> dict[str, Any]:
        """Return where the cells are."""
        facts: dict[str, Any] = self.records.cells.facts()
        return facts

    @property
    def split(self) -> Split:
        """Row numbers of the three parts."""
        if self._split is None and self.split_by == DATA_SET:
            files: ShowerFiles = self.records
            train, rest = files.rows_of_split("train"), files.rows_of_split("validation")
            if len(train) and len(rest):
                self._split = self._of_data_set(files, train, rest)
        return super().split

    def _of_data_set(self, files: ShowerFiles, train: NDArray[np.int64], rest: NDArray[np.int64]) -> Split:
        """Return the training files' rows, and those of the validation files shared by the last two fractions."""
        total = sum(self.fractions[1:])
        if not total > 0:
            raise UserError("data.fractions leave nothing to validate and test with: give the last two more than 0")
        shares = (0.0, self.fractions[1] / total, self.fractions[2] / total)
        ids, content = files.event_ids[rest], files.content_hashes()[rest]
        parts = split_by_event(ids, content, shares, self.split_seed or 0)
        both = np.isin(content, files.content_hashes()[train])
        if both.any():
            raise UserError(
                f"{files.describe(int(rest[np.flatnonzero(both)[0]]))} is also in the training files: a shower "
                "cannot be in two parts of a split"
            )
        return Split(train, rest[parts.validation], rest[parts.test])
