"""Samples of events as one table: a file knows its rows' numbers; objects of files that were read last are kept.

A sample is a folder of HDF5 files in the layout of `collider.generation` with the columns NEEDED beside. What an event
of a background is told for masses is drawn from those of the signals at hand: who only sees backgrounds with other
masses than signals tells them apart by what they are told    Baldi et al. 2016, arXiv:1601.07913, sec. 3
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from collider.higgs.learning.views import CHANNELS, MISSING
from collider.higgs.making import processes
from collider.higgs.making.config import Point
from collider.higgs.making.samples import MASSES
from reconstruction.errors import UserError, nearest
from reconstruction.random.keyed import FROZEN_EPOCH, KeyedRandom
from reconstruction.records.recent import RecentlyUsed
from reconstruction.records.stored import content_hashes_of, place_of_row

Rows = NDArray[np.int64]
Values = NDArray[Any]

CLASSES: Final = {name: code for code, name in enumerate(processes.CLASSES)}
"""Code of each class by its name."""
SIGNAL: Final = CLASSES[processes.SIGNAL]
NEEDED: Final = ("event_id", "class", "channel", "weight", "fold", "objects", "missing_pt_gev", "missing_phi_rad")
RELATIVE, HARDNESS, DIFFICULTY = "relative_weight", "difficulty", "difficulty_weight"
"""Columns that are made of others: an event's weight over the mean of its class (of its point, for signals), how hard
the point is that it is told, and the product of both."""
_MISSING_MOMENTUM: Final = ("missing_pt_gev", "missing_phi_rad")
LEAST_GAP: Final = 0.1
MAKER: Final = "`python scripts/higgs.py`"


def difficulty(mass_charged_higgs_gev: Values, mass_a_gev: Values) -> Values:
    """Return 1/((mH⁺ − mA)/mH⁺ + 0.1): the softer the W, the harder it is to see."""
    return 1.0 / ((mass_charged_higgs_gev - mass_a_gev) / mass_charged_higgs_gev + LEAST_GAP)


@dataclass(frozen=True)
class EventFile:
    """One file: the numbers of its rows, and which of the file's rows these are."""

    path: Path
    attributes: dict[str, Any]
    numbers: dict[str, Values]
    kept: Rows
    width: int
    """Places for objects in each row."""

    @classmethod
    def read(cls, path: Path, channels: Sequence[str] = ()) -> EventFile:
        """Read the numbers of a file, of the events of some channels; none named: of all.

        Raises UserError for what is no such file, for a column that is missing or of another length, and for a channel
        that the file does not know.
        """
        try:
            with h5py.File(path, "r", locking=False) as file:
                attributes = dict(file.attrs)
                columns = {name: one for name, one in file.items() if isinstance(one, h5py.Dataset) and one.ndim}
                _require_columns(path, columns)
                numbers = {name: one[()] for name, one in columns.items() if one.ndim == 1 and _numeric(one)}
                width = columns[CHANNELS[0]].shape[1]
        except OSError as error:
            raise UserError(f"{path} cannot be read as HDF5 ({error}): remove it and make it again") from error
        kept = np.flatnonzero(np.isin(numbers["channel"], _numbers_of(path, attributes, channels)))
        if not channels:
            kept = np.arange(len(numbers["channel"]))
        made = cls(path, attributes, {name: values[kept] for name, values in numbers.items()}, kept, width)
        made._require_finite()
        made._require_weights()
        return made

    def of(self, points: Sequence[Point]) -> EventFile:
        """Return the file without the signals of other points."""
        signal = self.numbers["class"] == SIGNAL
        masses = np.column_stack([np.asarray(self.numbers[name], np.float64) for name in MASSES])
        wanted = ~signal
        for point in points:
            wanted |= signal & np.isclose(masses, point, rtol=1e-6).all(axis=1)
        chosen = {name: values[wanted] for name, values in self.numbers.items()}
        return replace(self, numbers=chosen, kept=self.kept[wanted])

    def _require_finite(self) -> None:
        """Raise UserError for missing momenta that are no numbers, and for masses of signals that are none."""
        signal = self.numbers["class"] == SIGNAL
        for name in (*_MISSING_MOMENTUM, *MASSES):
            values = np.asarray(self.numbers[name], np.float64)
            bad = ~np.isfinite(values) if name not in MASSES else signal & ~(np.isfinite(values) & (values > 0))
            if bad.any():
                row = int(np.flatnonzero(bad)[0])
                raise UserError(
                    f"{self.path} row {self.kept[row]}, column {name}: {values[row]:g} is no value of it: make the "
                    "file again"
                )

    def _require_weights(self) -> None:
        """Raise UserError for weights that are negative or no numbers, and for events of no known class."""
        weights, kinds = np.asarray(self.numbers["weight"], np.float64), self.numbers["class"]
        bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
        if len(bad):
            raise UserError(
                f"{self.path} row {self.kept[bad[0]]}, column weight: {weights[bad[0]]:g} weighs no event: the samples "
                "are to have weights of 0 or more"
            )
        if len(weights) and not weights.sum() > 0:
            raise UserError(f"{self.path}, column weight: the weights sum to zero, so that none of its events counts")
        strange = np.flatnonzero(~np.isin(kinds, list(CLASSES.values())))
        if len(strange):
            names = ", ".join(f"{code} {name}" for name, code in CLASSES.items())
            raise UserError(
                f"{self.path} row {self.kept[strange[0]]}, column class: {kinds[strange[0]]} is none of {names}"
            )

    @property
    def points(self) -> list[Point]:
        """Masses of its signal events, each pair once."""
        signal = self.numbers["class"] == SIGNAL
        masses = np.column_stack([np.asarray(self.numbers[name], np.float64)[signal] for name in MASSES])
        return [(float(one), float(other)) for one, other in np.unique(masses, axis=0)]

    def __len__(self) -> int:
        return len(self.kept)


def read_objects(file: EventFile) -> NDArray[np.float32]:
    """Return the objects of a file's rows (row, 1 + object, channel), the missing momentum first, zeros behind.

    Raises UserError where they cannot be read, or are no numbers.
    """
    try:
        with h5py.File(file.path, "r", locking=False) as opened:
            seen = np.stack([np.asarray(opened[name][()], np.float32) for name in CHANNELS], axis=-1)
    except OSError as error:
        raise UserError(f"{file.path} cannot be read as HDF5 ({error}): remove it and make it again") from error
    bad = np.argwhere(~np.isfinite(seen))
    if len(bad):
        row, _, channel = bad[0]
        raise UserError(f"{file.path} row {row}, column {CHANNELS[channel]}: holds NaN or infinity")
    lead = np.zeros((len(seen), 1, len(CHANNELS)), np.float32)[file.kept]
    lead[:, 0, CHANNELS.index("object_kind")] = MISSING
    lead[:, 0, CHANNELS.index("object_pt_gev")] = file.numbers["missing_pt_gev"]
    lead[:, 0, CHANNELS.index("object_phi_rad")] = file.numbers["missing_phi_rad"]
    return np.concatenate([lead, seen[file.kept]], axis=1)


class EventFiles:
    """Files of samples as one table, a `RowTable`.

    points: the signals that are used; None: all. only: names of files whose signals backgrounds are told the masses of;
    none named: of all. memory_mb: so much of memory holds objects of the files that were read last; None: all.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        points: Sequence[Point] | None = None,
        channels: Sequence[str] = (),
        only: Sequence[str] = (),
        memory_mb: float | None = None,
    ) -> None:
        files = [EventFile.read(path, channels) for path in paths]
        _require_alike(files)
        chosen = files if points is None else [file.of(points) for file in files]
        self.files = [file for file, whole in zip(chosen, files, strict=True) if len(file) or not len(whole)]
        self.starts: Rows = np.cumsum([0, *map(len, self.files)])
        if not len(self):
            raise UserError(f"there are no events in the {len(files)} files of the data: {MAKER} makes them")
        named = [file for file in self.files if not only or str(file.path) in only or file.path.name in only]
        self.points: list[Point] = sorted({point for file in named for point in file.points})
        if points is not None and not only:
            _require_points(points, sorted({point for file in files for point in file.points}))
        self._numbers = self._columns()
        self.columns = tuple(self._numbers)
        self.scalar_columns = self.columns
        self._objects: RecentlyUsed[int, NDArray[np.float32]] = RecentlyUsed(
            len(self.files), None if memory_mb is None else int(1e6 * memory_mb), lambda kept: kept.nbytes
        )

    def __len__(self) -> int:
        return int(self.starts[-1])

    def _columns(self) -> dict[str, Values]:
        numbers = {name: np.concatenate([file.numbers[name] for file in self.files]) for name in self.files[0].numbers}
        frozen = self.drawn(numbers["event_id"], FROZEN_EPOCH)
        for place, name in enumerate(MASSES):
            own = np.asarray(numbers[name], np.float64)
            numbers[name] = own if frozen is None else np.where(numbers["class"] == SIGNAL, own, frozen[:, place])
        numbers[RELATIVE] = _relative(numbers)
        numbers[HARDNESS] = difficulty(*(numbers[name] for name in MASSES))
        numbers[DIFFICULTY] = numbers[RELATIVE] * numbers[HARDNESS]
        return numbers

    def drawn(
        self, event_id: Values, epoch: int, seed: int = 0, among: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64] | None:
        """Return masses (event, 2) of signals, drawn for each event anew each epoch; None without any.

        among: masses (signal, 2) to draw from, all alike; None, or none: those of the points at hand.
        """
        points = np.array(self.points, np.float64) if among is None or not len(among) else among
        if not len(points):
            return None
        random = KeyedRandom(seed, epoch, torch.from_numpy(np.asarray(event_id, np.int64)), scope="masses")
        drawn = random.uniform(1, stream="point")[:, 0].numpy()
        return points[np.minimum((drawn.astype(np.float64) * len(points)).astype(np.int64), len(points) - 1)]

    @property
    def event_ids(self) -> Rows:
        """Identity of each event."""
        return np.asarray(self._numbers["event_id"], np.int64)

    def scalar(self, name: str) -> Values:
        """Return one column of numbers."""
        return self._numbers[name]

    def objects(self, rows: Rows) -> NDArray[np.float32]:
        """Return the objects of rows (row, 1 + object, channel), in their order."""
        owner = np.searchsorted(self.starts, rows, side="right") - 1
        parts = {place: self._held(place) for place in set(owner.tolist())}
        found = np.zeros((len(rows), *next(iter(parts.values())).shape[1:]), np.float32)
        for place, held in parts.items():
            chosen = owner == place
            found[chosen] = held[rows[chosen] - self.starts[place]]
        return found

    def _held(self, place: int) -> NDArray[np.float32]:
        return self._objects.get(place, partial(read_objects, self.files[place]))

    @cached_property
    def _hashes(self) -> Rows:
        # file by file: there may be more objects than fit into the memory
        parts = (np.arange(first, last) for first, last in pairwise(self.starts))
        return np.concatenate([content_hashes_of(self.objects(rows)) for rows in parts])

    def content_hashes(self) -> Rows:
        """Return a hash of the objects of each event."""
        return self._hashes

    def describe(self, row: int) -> str:
        """Say which row of which file this is."""
        file, place = place_of_row(self.starts, row)
        return f"{self.files[file].path} row {self.files[file].kept[place]}"

    def shared(self) -> list[int]:
        """Return the places of the files without signals: they belong to every mass."""
        return [place for place, file in enumerate(self.files) if not file.points]


def _require_columns(path: Path, columns: dict[str, Any]) -> None:
    for name in (*NEEDED, *MASSES, *CHANNELS):
        if name not in columns:
            raise UserError(
                f"{path} has no column {name}{nearest(name, columns)}: a sample of this search is a folder of HDF5 "
                f"files as {MAKER} writes them"
            )
        dimensions = 2 if name in CHANNELS else 1
        if columns[name].ndim != dimensions or not _numeric(columns[name]):
            what = "a number for each object of each row" if name in CHANNELS else "one number a row"
            raise UserError(f"{path}: column {name} is to hold {what}: make the file again with {MAKER}")
    rows, width = columns["event_id"].shape[0], columns[CHANNELS[0]].shape[1]
    for name, column in columns.items():
        if column.shape[0] != rows:
            raise UserError(f"{path}: column {name} has {column.shape[0]} rows, and event_id has {rows}")
        if name in CHANNELS and column.shape[1] != width:
            raise UserError(
                f"{path}: column {name} has {column.shape[1]} places for objects, and {CHANNELS[0]} has {width}"
            )


def _numeric(column: Any) -> bool:
    return column.dtype.kind in "biuf"


def _require_alike(files: Sequence[EventFile]) -> None:
    """Raise UserError where files have other columns or objects than the first, or events of the same id."""
    for file in files[1:]:
        if file.width != files[0].width:
            raise UserError(
                f"{file.path} has places for {file.width} objects and {files[0].path} for {files[0].width}: make both "
                "with one most_objects"
            )
        differ = set(file.numbers) ^ set(files[0].numbers)
        if differ:
            name = sorted(differ)[0]
            has, lacks = (file, files[0]) if name in file.numbers else (files[0], file)
            raise UserError(f"{has.path} has a column {name} and {lacks.path} has not: make both with one version")
    every = np.concatenate([file.numbers["event_id"] for file in files]) if files else np.zeros(0)
    if len(np.unique(every)) < len(every):
        seen: dict[int, Path] = {}
        for file in files:
            for event in file.numbers["event_id"].tolist():
                if event in seen:
                    raise UserError(f"the event {event} is in {seen[event]} and in {file.path}: leave one of them out")
                seen[event] = file.path


def _same(one: Point, other: Point) -> bool:
    return bool(np.allclose(one, other, rtol=1e-6))


def _require_points(wanted: Sequence[Point], there: Sequence[Point]) -> None:
    for point in wanted:
        if not any(_same(point, one) for one in there):
            known = ", ".join(f"({one:g}, {other:g})" for one, other in there) or "none"
            raise UserError(
                f"there are no events of the mass point ({point[0]:g}, {point[1]:g}) GeV in the data, which have "
                f"{known}: {MAKER} makes them"
            )


def _numbers_of(path: Path, attributes: dict[str, Any], channels: Sequence[str]) -> list[int]:
    """Return the numbers of channels in a file, which names them."""
    names = json.loads(str(attributes.get("channels", "[]")))
    for name in channels:
        if name not in names:
            raise UserError(
                f"data.channels names {name!r}{nearest(name, names)}, and {path} knows {', '.join(names) or 'none'}"
            )
    return [names.index(name) for name in channels]


def _relative(numbers: dict[str, Values]) -> NDArray[np.float64]:
    """Return weights over the mean of their class, those of signals over that of their point."""
    weights = np.asarray(numbers["weight"], np.float64)
    signal = numbers["class"] == SIGNAL
    kinds = np.column_stack([numbers["class"], *(np.where(signal, numbers[name], 0.0) for name in MASSES)])
    _, group = np.unique(kinds, axis=0, return_inverse=True)
    group = group.reshape(-1)
    means = np.bincount(group, weights) / np.bincount(group)
    return np.divide(weights, means[group], out=np.zeros_like(weights), where=means[group] > 0)
