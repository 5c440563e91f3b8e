"""The data module of candidates: files of events → batches, all candidates of an event in one part of the split."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from collider.detectors.learning.batches import CandidateRows, WholeEventRows
from collider.detectors.learning.columns import DETECTORS, MOMENTUM, NEIGHBOURS, UNTRACKED
from collider.detectors.learning.files import CandidateFiles, Choice, candidate_paths, require_inputs
from collider.detectors.learning.linking import LINKING, Linking
from reconstruction.errors import UserError
from reconstruction.records.batch import Batch
from reconstruction.records.loader import ResumableLoader
from reconstruction.records.rows import RowsDataModule
from reconstruction.records.splits import Split, split_by_event, split_by_file


class EventRowsDataModule(RowsDataModule):
    """Rows of event files, of which those of one event are in one part of the split, whatever the rows are."""

    @property
    def split(self) -> Split:
        """Row numbers of the three parts: events are split, so that an event is in the same part for all."""
        if self._split is None:
            files = self.records
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


class CandidateDataModule(EventRowsDataModule):
    """Candidates of event files: a track with what belongs to it, or clusters without a track.

    Tokens are held in memory, less than 1 kB a candidate.

    Args:
        data: A file, a folder of them, a glob, or a list of these.
        targets: Columns to estimate: momentum_gev, which all detectors can say, energy_gev, pt_gev, q_over_pt_per_gev;
            or identity or charge, which are classes; or untracked_gev alone, of which all candidates with clusters are
            rows, also those that are no particle of their own.
        inputs: What a batch holds: tracker, ecal, hcal, muon; together is all of them as one set of tokens; neighbours
            is a candidate's own tracks and clusters and the nearest others of its event.
        needs: Detectors that saw each candidate; others are left out.
        classes: Identities of the candidates that are used (electron, photon, muon, charged_hadron, neutral_hadron);
            none named: all. A choice by what is true: to look at, not to reconstruct with.
        least_gev: Momentum of a track, or energy of clusters without one, from which on candidates are used; energy of
            the clusters where untracked_gev is asked for.
        cells: Cells of each calorimeter that are read of a candidate, the largest.
        neighbours: Tracks and clusters that are read about a candidate, where inputs names them: its own, then the
            nearest in η and φ.
        linking: Cuts by which clusters and segments belong to a track.
        memory_mb: Megabytes of memory that hold tokens, of the files that were read last; null holds all.
        whole_events: Train and validate on batches of whole events, which model.momentum_balance needs: as many events
            as have about batch_size candidates.
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
        neighbours: int = 16,
        linking: Linking = LINKING,
        memory_mb: float | None = None,
        whole_events: bool = False,
        batch_size: int = 128,
        fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
        **rows: Any,
    ) -> None:
        super().__init__(data, targets, batch_size=batch_size, fractions=fractions, **rows)
        self.inputs = tuple(inputs)
        require_inputs(self.inputs)
        self.untracked = UNTRACKED in self.targets
        if self.untracked and (len(self.targets) > 1 or classes):
            raise UserError(
                f"data.targets is {UNTRACKED}, which also candidates have that are no particle: give it without other "
                "targets and without data.classes"
            )
        self.choice = Choice(tuple(needs), tuple(classes), least_gev, self.untracked)
        self.cells, self.neighbours, self.linking, self.memory_mb = cells, neighbours, linking, memory_mb
        self.whole_events = whole_events
        if whole_events and (needs or classes):
            raise UserError(
                "data.whole_events reads all candidates of an event, and data.needs and data.classes leave some out: "
                "give one or the other"
            )

    def open(self) -> CandidateFiles:
        """Return the opened files."""
        paths, read = candidate_paths(self.data), (self.inputs, self.neighbours)
        return CandidateFiles(paths, self.choice, self.linking, self.cells, self.memory_mb, *read, self.untracked)

    def dataset(self, rows: NDArray[np.int64], training: bool = False) -> CandidateRows:
        """Return the batches of these rows."""
        return CandidateRows(self.chosen(rows), self.inputs)

    def training_set(self) -> tuple[Dataset[Batch], dict[str, Any]]:
        """Return what a training draws from, candidates or whole events, and how the loader serves it."""
        if not self.whole_events:
            return super().training_set()
        events = WholeEventRows(self.chosen(self.split.train), self.inputs)
        return events, {"shuffle": not self.overfit, "batch_size": self._events_a_batch(events)}

    def val_dataloader(self) -> ResumableLoader:
        """Return the batches of the validation split, of whole events where those of the training are."""
        if not self.whole_events:
            return super().val_dataloader()
        events = WholeEventRows(self.chosen(self.split.train if self.overfit else self.split.validation), self.inputs)
        return self._loader(events, shuffle=False, batch_size=self._events_a_batch(events))

    def _events_a_batch(self, events: WholeEventRows) -> int:
        """Return how many events have about batch_size candidates, at least one."""
        return max(1, round(self.batch_size * len(events) / max(len(events.chosen.rows), 1)))

    def apparatus_facts(self) -> dict[str, Any]:
        """Return what a model must find again: the field, the layers, how many cells and neighbours are read."""
        tracker = self.records.making.tracker
        facts = {"cells": self.cells, "field_t": float(tracker.field_t), "layers": len(tracker.layers)}
        return facts | ({"neighbours": self.neighbours} if NEIGHBOURS in self.inputs else {})
