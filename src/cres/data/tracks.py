"""Records read window by window, or piece by piece: what is in memory does not grow with their length."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from cres.data.electrons import SERIES
from cres.data.record_file import Rows
from cres.data.records import Records
from cres.data.windows import Band, Window
from cres.errors import UserError
from reconstruction.random.keyed import mix64
from reconstruction.records.batch import Batch
from reconstruction.records.loader import Chosen, Draw

ROW = "track_row"
"""Observable of a batch of windows: the row of the electron in the records."""
WINDOW = "window"
"""Observable of a batch of windows: the number of the window in its record."""


class TrackWindows(Dataset[Batch]):
    """All whole windows of the chosen rows, one after the other, an electron's windows together.

    Every window has an event id of its own, so that noise keyed by event differs between the windows of an electron;
    that of the first window is the electron's. Raises UserError for windows longer than the records.
    """

    def __init__(self, chosen: Chosen, samples: int, band: Band | None = None) -> None:
        longest = chosen.records.samples
        if not 1 <= samples <= longest:
            raise UserError(f"windows of {samples} samples do not fit in records of {longest}")
        self._chosen, self._samples, self._band = chosen, samples, band
        self.windows = longest // samples

    def __len__(self) -> int:
        return len(self._chosen.rows) * self.windows

    def __getitem__(self, draw: Draw) -> Batch:
        return self.__getitems__([draw])

    def __getitems__(self, draws: list[Draw]) -> Batch:
        """Return one batch of windows; truth and observables are those of the whole record."""
        number = np.array([draw.row for draw in draws], np.int64)
        rows, window = self._chosen.rows[number // self.windows], number % self.windows
        series = torch.from_numpy(self._chosen.records.read_series(rows, window * self._samples, self._samples))
        series = series if self._band is None else self._band.select(series)
        places = {ROW: torch.from_numpy(rows.astype(np.float64)), WINDOW: torch.from_numpy(window.astype(np.float64))}
        event = torch.from_numpy(self._chosen.records.event_ids[rows]) ^ mix64(torch.from_numpy(window))
        numbers = self._chosen.numbers(rows)
        numbers["observables"] |= places
        return {"inputs": {SERIES: series}, "masks": {}, "event_id": event} | numbers


class Pieces:
    """The series of a batch of records, read from the file a piece at a time, as often as wanted."""

    def __init__(self, records: Records, rows: Rows, window: Window, samples: int) -> None:
        self._records, self._rows, self._window, self._samples = records, rows, window, samples
        self.total = window.length
        """Samples of the whole."""

    def read(self) -> Iterator[tuple[int, Tensor]]:
        """Yield the first sample and the volts (row, time, 2) of each piece, in order; the last may be shorter."""
        for start in range(0, self.total, self._samples):
            count = min(self._samples, self.total - start)
            yield start, torch.from_numpy(self._records.read_series(self._rows, self._window.start + start, count))


class TrackPieces(Dataset[Batch]):
    """The chosen rows, a batch at a time, with "pieces" (`Pieces`) in place of the series."""

    def __init__(self, chosen: Chosen, window: Window, samples: int) -> None:
        self._chosen, self._window, self._samples = chosen, window, samples

    def __len__(self) -> int:
        return len(self._chosen.rows)

    def __getitem__(self, draw: Draw) -> Batch:
        return self.__getitems__([draw])

    def __getitems__(self, draws: list[Draw]) -> Batch:
        """Return one batch; nothing of its series is read yet."""
        rows = self._chosen.rows[np.array([draw.row for draw in draws], np.int64)]
        pieces = Pieces(self._chosen.records, rows, self._window, self._samples)
        event = torch.from_numpy(self._chosen.records.event_ids[rows])
        return {"pieces": pieces, "event_id": event} | self._chosen.numbers(rows)
