"""Batches of candidates: one by one in any order, or all of an event together, with what nobody saw of it."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from collider.detectors.learning.files import CandidateFiles
from reconstruction.records.batch import Batch, masks_from
from reconstruction.records.loader import Chosen, ChosenRows, Draw

EVENTS: Final = "events"
"""Of a batch of whole events: which event each candidate is of and where it goes, `of`, `eta`, `phi_rad` (batch,), and
`unseen_gev` (event, 2), the true momentum across the beam of what nobody saw or followed."""


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


class WholeEventRows(CandidateRows):
    """Batches of whole events, of which one counts as one item; chosen are all candidates of some events."""

    def __init__(self, chosen: Chosen, inputs: tuple[str, ...]) -> None:
        super().__init__(chosen, inputs)
        files: CandidateFiles = chosen.records
        events = files.event_of_rows[chosen.rows]
        order = np.argsort(events, kind="stable")
        self.events, first = np.unique(events[order], return_index=True)
        self.places = np.split(order, first[1:])
        """Which of the chosen rows are of each event."""

    def __len__(self) -> int:
        return len(self.events)

    def __getitems__(self, draws: list[Draw]) -> Batch:
        """Return all candidates of the drawn events as one batch."""
        rows = [Draw(draw.epoch, int(row), draw.repeat) for draw in draws for row in self.places[draw.row]]
        events = np.array([draw.row for draw in draws])
        return super().__getitems__(rows) | {EVENTS: self._events(events)}

    def _events(self, drawn: NDArray[np.int64]) -> dict[str, Tensor]:
        files: CandidateFiles = self.chosen.records
        rows = self.chosen.rows[np.concatenate([self.places[event] for event in drawn])]
        of = np.repeat(np.arange(len(drawn)), [len(self.places[event]) for event in drawn])
        found = {
            "of": of,
            "eta": files.scalar("eta")[rows],
            "phi_rad": files.scalar("phi_rad")[rows],
            "unseen_gev": files.unseen_gev[self.events[drawn]],
        }
        return {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in found.items()}
