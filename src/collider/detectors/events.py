"""Event files read back: any slice of the events of a folder, each table with its rows.

from collider.detectors import DetectorEvents

events = DetectorEvents("data/detectors")
part = events[100:200]
part["clusters"]["energy_gev"], part["clusters"].event      # all rows, and which of the 100 events each is of
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from collider.detectors.calorimeters.grid import AngularGrid
from collider.detectors.particles import Floats, Integers
from collider.detectors.schema import ECAL_CELLS, EVENT_COLUMNS, HCAL_CELLS, OFFSETS, PARTICLES, TABLES
from collider.generation.wheels import wheel
from reconstruction.errors import UserError, nearest
from reconstruction.paths import expanded

LAYOUT_BEGINS: Final = "collider.detectors 1"
GRIDS: Final = {ECAL_CELLS: "ecal_cells", HCAL_CELLS: "hcal_cells"}
"""Attribute with layers, rings and sectors of each table of cells."""
_EACH: Final = tuple(column.name for column in EVENT_COLUMNS)


@dataclass(frozen=True)
class RaggedTable:
    """Rows of one table for some events: row i of event e stands at offsets[e] + i.

    offsets: (event + 1,); columns: (row, …) each. Tables of cells have `eta`, `phi_rad` and `layer`, too.
    """

    name: str
    offsets: Integers
    columns: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        """Return the number of rows of all events."""
        return int(self.offsets[-1])

    def __getitem__(self, column: str) -> NDArray[Any]:
        """Return a column of all rows. Raises UserError for one that is not there."""
        if column not in self.columns:
            raise UserError(
                f"the table {self.name} has no column {column!r}{nearest(column, self.columns)}: it has "
                f"{', '.join(self.columns)}"
            )
        return self.columns[column]

    @property
    def counts(self) -> Integers:
        """Number of rows of each event."""
        return np.diff(self.offsets)

    @property
    def event(self) -> Integers:
        """Place of the event of each row, from 0."""
        return np.repeat(np.arange(len(self.offsets) - 1), self.counts)

    def place(self, other: RaggedTable, column: str) -> Integers:
        """Return the places among all rows of another table that a column names, −1 for none."""
        row = self[column].astype(np.int64)
        return np.where(row >= 0, row + other.offsets[:-1][self.event], -1)

    def awkward(self) -> Any:
        """Return a list for each event with the columns as fields."""
        ak = wheel("awkward")
        return ak.unflatten(ak.zip(dict(self.columns), depth_limit=1), self.counts)


@dataclass(frozen=True)
class EventSlice:
    """Some events: `columns` of one number an event, and tables by name."""

    columns: Mapping[str, NDArray[Any]]
    tables: Mapping[str, RaggedTable]

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.columns["event_id"])

    def __getitem__(self, name: str) -> RaggedTable:
        """Return a table. Raises UserError for one that is not there."""
        if name not in self.tables:
            raise UserError(
                f"there is no table {name!r}{nearest(name, self.tables)}: there are {', '.join(self.tables)}"
            )
        return self.tables[name]


@dataclass(frozen=True)
class _Opened:
    """What a file says of itself, checked: its columns have as many rows as its offsets say."""

    path: Path
    events: int
    processes: tuple[str, ...]
    cross_section_pb: float
    detectors: str
    tables: tuple[str, ...]
    grids: Mapping[str, AngularGrid]
    tracker_radii_mm: Floats


class DetectorEvents:
    """Events of a folder, a glob, a file or several of them, one file after the other, sorted by name."""

    def __init__(self, source: str | Path | Sequence[str | Path]) -> None:
        """Open. Raises UserError for what is no file of events, is not whole, or is of other detectors than another."""
        self._files = [_opened(path) for path in event_paths(source)]
        first = self._files[0]
        for file in self._files[1:]:
            if file.detectors != first.detectors:
                raise UserError(
                    f"{file.path} is of other detectors or of another seed than {first.path}: {_other(file, first)}; "
                    "read them apart"
                )
        self._starts = np.cumsum([0, *(file.events for file in self._files)])
        self._require_once()

    def _require_once(self) -> None:
        """Raise UserError where an event is in two files."""
        ids = self.column("event_id")
        order = np.argsort(ids, kind="stable")
        same = np.flatnonzero(np.diff(ids[order]) == 0)
        if len(same):
            one, other = (
                self._files[np.searchsorted(self._starts, order[same[0] + i], side="right") - 1].path for i in (0, 1)
            )
            raise UserError(f"event {ids[order[same[0]]]} is in {one} and in {other}: leave one of them out")

    def __len__(self) -> int:
        """Return the number of events."""
        return int(self._starts[-1])

    @cached_property
    def processes(self) -> list[str]:
        """Names of the processes, by whose places `process` of an event counts."""
        return list(dict.fromkeys(name for file in self._files for name in file.processes))

    @property
    def tracker_radii_mm(self) -> Floats:
        """Radii of the tracker's layers."""
        return self._files[0].tracker_radii_mm

    @cached_property
    def detectors(self) -> dict[str, Any]:
        """The configuration of the detectors."""
        found: dict[str, Any] = json.loads(self._files[0].detectors)
        return found

    @cached_property
    def weight_pb(self) -> Floats:
        """Weights that sum to each process's cross-section in pb: (event,)."""
        weight, process = self.column("weight"), self.column("process")
        total = np.bincount(process, weight, len(self.processes))
        cross = [
            np.mean([file.cross_section_pb for file in self._files if name in file.processes])
            for name in self.processes
        ]
        return np.asarray(weight * (np.array(cross) / np.where(total != 0, total, np.nan))[process])

    def column(self, name: str) -> NDArray[Any]:
        """Return a column of one number an event, of all events. Raises UserError for one that is not there."""
        if name not in _EACH:
            raise UserError(f"events have no column {name!r}{nearest(name, _EACH)}: they have {', '.join(_EACH)}")
        return np.concatenate([self._read(file, 0, file.events, (), (name,)).columns[name] for file in self._files])

    def __getitem__(self, rows: slice | int) -> EventSlice:
        """Return the events of a slice, or the one at a place, with all tables."""
        if isinstance(rows, slice):
            return self.read(rows)
        place = range(len(self))[rows]
        return self.read(slice(place, place + 1))

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables that the files hold."""
        return self._files[0].tables

    def read(self, rows: slice, tables: Sequence[str] | None = None) -> EventSlice:
        """Return the events of a slice, with all tables or those named. Raises UserError for unknown ones."""
        tables = self.tables if tables is None else tables
        for name in tables:
            if name not in self.tables:
                raise UserError(
                    f"there is no table {name!r}{nearest(name, self.tables)}: there are {', '.join(self.tables)}"
                )
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise UserError("events are read in slices without a step, such as events[100:200]")
        return _joined([self._read(file, a, b, tables) for file, a, b in self._parts(start, max(start, stop))])

    def _parts(self, start: int, stop: int) -> Iterator[tuple[_Opened, int, int]]:
        """Yield the files that hold some events, with the first and the last row of each; one also where none is."""
        none = True
        for file, begin in zip(self._files, self._starts[:-1], strict=True):
            low, high = max(start, begin) - begin, min(stop, begin + file.events) - begin
            if low < high:
                none = False
                yield file, int(low), int(high)
        if none:
            yield self._files[0], 0, 0

    def _read(
        self, file: _Opened, start: int, stop: int, tables: Sequence[str], columns: Sequence[str] = _EACH
    ) -> EventSlice:
        try:
            with h5py.File(file.path, "r", locking=False) as source:
                each = {name: source[name][start:stop] for name in columns}
                found = {name: _table(source, name, start, stop, file.grids) for name in tables}
        except (OSError, KeyError) as error:  # it was there when it was opened
            raise UserError(f"{file.path} cannot be read ({error}): make it again") from error
        if "process" in each:
            each["process"] = self._places(file, each["process"])
        return EventSlice(each, found)

    def _places(self, file: _Opened, process: Integers) -> NDArray[np.int8]:
        """Return the places among the processes of all files: each file counts its own."""
        wrong = np.flatnonzero((process < 0) | (process >= len(file.processes)))
        if len(wrong):
            raise UserError(
                f"{file.path}: the column process says {process[wrong[0]]} of {len(file.processes)}: make it again"
            )
        return np.array([self.processes.index(name) for name in file.processes], dtype=np.int8)[process]


def true_momenta(part: EventSlice) -> tuple[Floats, Floats]:
    """Return momenta (particle, 3) and energies (particle,) of all true particles, GeV, the masses included."""
    table = part[PARTICLES]
    momentum = np.stack([table[f"p{axis}_gev"] for axis in "xyz"], axis=1).astype(np.float64)
    return momentum, np.sqrt((momentum**2).sum(axis=1) + table["mass_gev"].astype(np.float64) ** 2)


def event_paths(source: str | Path | Sequence[str | Path]) -> list[Path]:
    """Return the HDF5 files of a folder, a glob, or as named. Raises UserError where there is none."""
    given = [source] if isinstance(source, str | Path) else list(source)
    found: list[Path] = []
    for one in given:
        text = expanded(str(one))
        path = Path(text)
        if path.is_dir():
            found += sorted(path.glob("*.hdf5"))
        elif any(letter in text for letter in "*?["):
            found += sorted(Path(path.anchor or ".").glob(str(path.relative_to(path.anchor))))
        else:
            found.append(path)
    if not found:
        raise UserError(
            f"there is no HDF5 file of events in {', '.join(map(str, given))}: scripts/detectors.py makes them"
        )
    return found


def _opened(path: Path) -> _Opened:
    if not path.is_file():
        raise UserError(f"{path} cannot be read: there is no such file")
    try:
        with h5py.File(path, "r", locking=False) as file:
            told = dict(file.attrs)
            if not str(told.get("layout", "")).startswith(LAYOUT_BEGINS):
                raise UserError(f"{path} is no file of events in detectors: scripts/detectors.py makes them")
            tables = tuple(json.loads(str(told["tables"])))
            events = _checked_rows(path, file, tables)
        return _Opened(
            path,
            events,
            tuple(json.loads(str(told["processes"]))),
            float(told["cross_section_pb"]),
            str(told["detectors"]),
            tables,
            {name: AngularGrid(int(told[key][1]), int(told[key][2]), int(told[key][0])) for name, key in GRIDS.items()},
            np.asarray(told["tracker_radii_mm"], dtype=np.float64),
        )
    except (OSError, KeyError, ValueError, TypeError, IndexError) as error:
        raise UserError(f"{path} is not whole, or no file of events ({error}): remove it and make it again") from error


def _checked_rows(path: Path, file: h5py.File, tables: Sequence[str]) -> int:
    """Return the number of events. Raises UserError where columns and offsets do not fit each other."""
    events = len(file["event_id"])
    for column in EVENT_COLUMNS:
        rows = len(file[column.name])
        if rows != events:
            raise UserError(f"{path}: the column {column.name} has {rows} rows for {events} events: make it again")
    for table in tables:
        group = file[table]  # looked up once: a folder has thousands of files
        offsets = group[OFFSETS][()]
        if len(offsets) != events + 1 or offsets[0] != 0 or np.any(np.diff(offsets) < 0):
            raise UserError(
                f"{path}: {table}/{OFFSETS} must be {events + 1} numbers that rise from 0: make the file again"
            )
        for column in TABLES[table]:
            rows = len(group[column.name])
            if rows != offsets[-1]:
                raise UserError(
                    f"{path}: the column {table}/{column.name} has {rows} rows, and {table}/{OFFSETS} says "
                    f"{offsets[-1]}: make it again"
                )
    return events


def _table(source: h5py.File, name: str, start: int, stop: int, grids: Mapping[str, AngularGrid]) -> RaggedTable:
    offsets = source[name][OFFSETS][start : stop + 1].astype(np.int64)
    rows = slice(int(offsets[0]), int(offsets[-1]))
    columns = {column.name: source[name][column.name][rows] for column in TABLES[name]}
    if name in grids:
        eta, phi = grids[name].centre(columns["cell"].astype(np.int64))
        columns |= {"eta": eta, "phi_rad": phi, "layer": grids[name].layer(columns["cell"])}
    return RaggedTable(name, offsets - offsets[0], columns)


def _joined(parts: list[EventSlice]) -> EventSlice:
    """Return the events of several files as one."""
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns}
    return EventSlice(columns, {name: _joined_table([part[name] for part in parts]) for name in parts[0].tables})


def _joined_table(parts: list[RaggedTable]) -> RaggedTable:
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0].columns}
    offsets = np.concatenate([[0], np.cumsum(np.concatenate([part.counts for part in parts]))])
    return replace(parts[0], offsets=offsets, columns=columns)


def _other(file: _Opened, first: _Opened) -> str:
    """Return in words in which keys two files differ."""
    one, other = json.loads(file.detectors), json.loads(first.detectors)
    keys = [key for key in sorted({*one, *other}) if one.get(key) != other.get(key)]
    return f"they differ in {', '.join(keys)}"
