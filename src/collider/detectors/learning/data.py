"""The data module of candidates: files of events → batches, all candidates of an event in one part of the split."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from collider.detectors.learning.columns import DETECTORS, MOMENTUM
from collider.detectors.learning.files import CandidateFiles, Choice, candidate_paths, require_inputs
from collider.detectors.learning.linking import LINKING, Linking
from reconstruction.records.batch import Batch, masks_from
from reconstruction.records.loader import Chosen, ChosenRows
from reconstruction.records.rows import RowsDataModule
from reconstruction.records.splits import Split, split_by_event, split_by_file


class CandidateRows(ChosenRows):
    """Batches of chosen candidates."""

    def __init__(self, chosen: Chosen, inputs: tuple[str, ...]) -> None:
        super().__init__(chosen)
        self.inputs = inputs

    def read(self, rows: NDArray[np.int64]) -> Batch:
        """Return what the detectors saw of candidates."""
        files: CandidateFiles = self.chosen.records
        inputs: dict[str, Tensor] = {}
        masks: dict[str, Tensor] = {}
        for name in self.inputs:
            values, lengths = files.inputs(name, rows)
            inputs[name] = torch.from_numpy(values)
            masks |= masks_from(name, torch.from_numpy(lengths), values.shape[1])
        return {"inputs": inputs, "masks": masks}


class CandidateDataModule(RowsDataModule):
    """Candidates of event files: a track with what belongs to it, or clusters without a track.

    Tokens are held in memory, less than 1 kB a candidate.

    Args:
        data: A file, a folder of them, a glob, or a list of these.
        targets: Columns to estimate: momentum_gev, which all detectors can say, energy_gev, pt_gev, q_over_pt_per_gev;
            or identity or charge, which are classes.
        inputs: What a batch holds: tracker, ecal, hcal, muon; together is all of them as one set of tokens.
        needs: Detectors that saw each candidate; others are left out.
        classes: Identities of the candidates that are used (electron, photon, muon, charged_hadron, neutral_hadron);
            none named: all. A choice by what is true: to look at, not to reconstruct with.
        least_gev: Momentum of a track, or energy of clusters without one, from which on candidates are used.
        cells: Cells of each calorimeter that are read of a candidate, the largest.
        linking: Cuts by which clusters and segments belong to a track.
        memory_mb: Megabytes of memory that hold tokens, of the files that were read last; null holds all.
        batch_size: Candidates a batch, on each device.
        fractions: Shares of training, validation and test.

    """

    system_name = "collider.detectors"

    def __init__(
        self,
        data: str | list[str] = "data/detectors",
        targets: tuple[str, ...] = (MOMENTUM,),
        inputs: tuple[str, ...] = DETECTORS,
        needs: tuple[str, ...] = (),
        classes: tuple[str, ...] = (),
        least_gev: float = 1.0,
        cells: int = 40,
        linking: Linking = LINKING,
        memory_mb: float | None = None,
        batch_size: int = 128,
        fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
        **rows: Any,
    ) -> None:
        super().__init__(data, targets, batch_size=batch_size, fractions=fractions, **rows)
        self.inputs = tuple(inputs)
        require_inputs(self.inputs)
        self.choice = Choice(tuple(needs), tuple(classes), least_gev)
        self.cells, self.linking, self.memory_mb = cells, linking, memory_mb

    def open(self) -> CandidateFiles:
        """Return the opened files."""
        return CandidateFiles(candidate_paths(self.data), self.choice, self.linking, self.cells, self.memory_mb)

    def dataset(self, rows: NDArray[np.int64], training: bool = False) -> CandidateRows:
        """Return the batches of these rows."""
        return CandidateRows(self.chosen(rows), self.inputs)

    @property
    def split(self) -> Split:
        """Row numbers of the three parts: events are split, so that an event is in the same part for every detector."""
        if self._split is None:
            files: CandidateFiles = self.records
            hashes = files.event_hashes()
            identities = (hashes, hashes, self.fractions, self.split_seed or 0)
            if self.split_by == "file":
                names = [str(file.path) for file in files.files]
                events = split_by_file(files.event_starts, *identities, names)
            else:
                events = split_by_event(*identities)
            of_rows = files.event_of_rows
            parts = (events.train, events.validation, events.test)
            self._split = Split(*(np.flatnonzero(np.isin(of_rows, part)) for part in parts))
        return self._split

    def apparatus_facts(self) -> dict[str, Any]:
        """Return what a model must find again: the field, the layers, how many cells are read."""
        tracker = self.records.making.tracker
        return {"cells": self.cells, "field_t": float(tracker.field_t), "layers": len(tracker.layers)}
