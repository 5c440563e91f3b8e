"""Records read window by window: what is in memory does not grow with their length."""

from __future__ import annotations

import numpy as np
import torch
from torch.utils.data import Dataset

from cres import schema
from cres.data.loader import Batch, Draw
from cres.data.records import Records, Rows
from cres.data.windows import Band
from cres.errors import UserError
from cres.transforms.random import mix64

ROW = "track_row"
"""Observable of a batch of windows: the row of the electron in the records."""
WINDOW = "window"
"""Observable of a batch of windows: the number of the window in its record."""


class TrackWindows(Dataset[Batch]):
    """All whole windows of the chosen rows, one after the other, an electron's windows together.

    Every window has an event id of its own, so that noise keyed by event differs between the windows of an electron;
    that of the first window is the electron's. Raises UserError for windows longer than the records.
    """

    def __init__(
        self,
        records: Records,
        rows: Rows,
        targets: tuple[str, ...],
        observables: tuple[str, ...],
        samples: int,
        band: Band | None = None,
    ) -> None:
        if not 1 <= samples <= records.samples:
            raise UserError(f"windows of {samples} samples do not fit in records of {records.samples}")
        self._records, self._rows, self._samples, self._band = records, rows, samples, band
        self._targets, self._observables = targets, observables
        self.windows = records.samples // samples

    def __len__(self) -> int:
        return len(self._rows) * self.windows

    def __getitem__(self, draw: Draw) -> Batch:
        return self.__getitems__([draw])

    def __getitems__(self, draws: list[Draw]) -> Batch:
        """Return one batch of windows; truth and observables are those of the whole record."""
        number = np.array([draw.row for draw in draws], np.int64)
        rows, window = self._rows[number // self.windows], number % self.windows
        series = torch.from_numpy(self._records.read_series(rows, window * self._samples, self._samples))
        series = series if self._band is None else self._band.select(series)
        numbers = {name: self._records.scalar(name)[rows] for name in (*self._targets, *self._observables)}
        values = {name: torch.from_numpy(column.astype(np.float64)) for name, column in numbers.items()}
        places = {ROW: torch.from_numpy(rows.astype(np.float64)), WINDOW: torch.from_numpy(window.astype(np.float64))}
        event = torch.from_numpy(self._records.scalar(schema.EVENT_ID)[rows]) ^ mix64(torch.from_numpy(window))
        batch: Batch = {
            "series": series,
            "lengths": torch.full((len(rows),), series.shape[1], dtype=torch.int64),
            "event_id": event,
            "observables": {name: values[name] for name in self._observables} | places,
        }
        if self._targets:
            batch["targets"] = torch.stack([values[name] for name in self._targets], dim=1)
        return batch
