"""Files of events as rows of something that is found in them: where each row stands, and the event that it is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from reconstruction.records.stored import place_of_row

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class FileOfRows:
    """One file of events: where its events stand among all, and the event of each of its rows.

    event: (row,) from the file's first; hashes: (event,) of the content of each event.
    """

    path: Path
    attributes: dict[str, Any]
    events: slice
    event: Rows = field(repr=False)
    hashes: Rows = field(repr=False)


class RowsOfEvents:
    """What a `RowTable` of events says, whatever its rows are.

    Of who derives: `files`, `starts`, the first row of each file and the number of all, and `numbers`, columns (row,)
    of which one is `event_id`.
    """

    noun: ClassVar[str]
    files: Sequence[FileOfRows]
    starts: Rows
    numbers: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def event_ids(self) -> Rows:
        """Identity of each row."""
        ids: Rows = self.numbers["event_id"]
        return ids

    def content_hashes(self) -> Rows:
        """Return a hash of the event of each row: those of one event are never in two parts of a split."""
        return self.event_hashes()[self.event_of_rows]

    @property
    def event_of_rows(self) -> Rows:
        """Place of the event of each row among those of all files, (row,)."""
        return np.concatenate([file.event + file.events.start for file in self.files])

    @property
    def event_starts(self) -> Rows:
        """First event of each file, and the number of all events."""
        return np.array([0, *(file.events.stop for file in self.files)])

    def event_hashes(self) -> Rows:
        """Return a hash of the content of every event, also of those that have no row."""
        return np.concatenate([file.hashes for file in self.files])

    def scalar(self, name: str) -> NDArray[Any]:
        """Return one column of numbers."""
        return self.numbers[name]

    def describe(self, row: int) -> str:
        """Say which row of which event of which file this is."""
        file, place = place_of_row(self.starts, row)
        return f"{self.files[file].path} event {self.numbers['event_number'][row]}, {self.noun} {place} of the file"
