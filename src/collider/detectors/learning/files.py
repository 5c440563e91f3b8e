"""Files of events as rows of candidates: numbers in memory, tokens of the files that were read last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Final

import h5py
import numpy as np
from numpy.typing import NDArray

from collider.detectors.events import DetectorEvents
from collider.detectors.learning.candidates import CandidateMaking, EventCandidates, Numbers, candidates_of
from collider.detectors.learning.columns import (
    CALORIMETER_SUM,
    CLASSES,
    DETECTORS,
    IDENTITY,
    INPUTS,
    KALMAN,
    LEAD_WIDTH,
    MUON,
    NEIGHBOUR_WIDTH,
    NEIGHBOURS,
    TOGETHER,
    TOKEN_WIDTH,
    TRACKER,
)
from collider.detectors.learning.event_rows import FileOfRows, Rows, RowsOfEvents
from collider.detectors.learning.linking import LINKING, Linking
from collider.detectors.learning.tokens import SEGMENTS_READ
from collider.detectors.muons.config import MuonStations
from collider.detectors.particles import Floats
from collider.detectors.schema import CLUSTERS, ECAL_CELLS, HCAL_CELLS, SEGMENTS, TRACKER_HITS, TRACKS
from collider.detectors.tracking import Tracker
from reconstruction.configuration import build
from reconstruction.errors import UserError, nearest
from reconstruction.records.recent import RecentlyUsed
from reconstruction.records.stored import named_files

NEEDED: Final = (TRACKER_HITS, TRACKS, ECAL_CELLS, HCAL_CELLS, CLUSTERS, SEGMENTS)
MAKER: Final = "`python scripts/detectors.py` makes some in data/detectors/"
TOGETHER_WIDTH: Final = max(len(DETECTORS) + max(TOKEN_WIDTH.values()), *LEAD_WIDTH.values())
NEIGHBOURS_WIDTH: Final = max(NEIGHBOUR_WIDTH, *LEAD_WIDTH.values())


@dataclass(frozen=True)
class Choice:
    """Which candidates are rows.

    needs: detectors that saw each; classes: names of identities, () for all; least_gev: of the track's momentum, or of
    the energy in both calorimeters where there is no track; of_clusters: of that energy, with a track or without.
    """

    needs: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    least_gev: float = 1.0
    of_clusters: bool = False

    def __post_init__(self) -> None:
        require_names("data.needs", self.needs, DETECTORS)
        require_names("data.classes", self.classes, tuple(CLASSES))

    def rows(self, numbers: Numbers) -> Rows:
        """Return the rows that are chosen of all candidates of a file."""
        of_track = np.isfinite(numbers[KALMAN]) & (not self.of_clusters)
        size = np.where(of_track, numbers[KALMAN], numbers[CALORIMETER_SUM])
        chosen = np.nan_to_num(size) >= self.least_gev
        for name in self.needs:
            chosen &= numbers[f"{name}_tokens"] > 0
        if self.classes:
            if IDENTITY not in numbers:
                raise UserError("data.classes chooses by what is true, and the files hold no particles: leave it out")
            chosen &= np.isin(numbers[IDENTITY], [CLASSES[name] for name in self.classes])
        return np.flatnonzero(chosen)


def require_names(option: str, given: Sequence[str], known: Sequence[str]) -> None:
    """Raise UserError for a name that is not known or stands twice."""
    for place, name in enumerate(given):
        if name not in known:
            raise UserError(f"{option} names {name!r}{nearest(name, known)}: there are {', '.join(known)}")
        if name in given[:place]:
            raise UserError(f"{option} names {name} twice: name each once")


@dataclass(frozen=True)
class CandidateFile(FileOfRows):
    """One file of events, with the numbers of its candidates."""

    numbers: Numbers = field(repr=False)


class CandidateFiles(RowsOfEvents):
    """Files of events as one table, a `RowTable`.

    memory_mb: so much of memory holds tokens; None: those of all files. inputs: those whose tokens will be asked for.
    neighbours: how many tracks and clusters about a candidate are read, where that is one of the inputs. untracked:
    candidates without a truth are rows, too, and true of each is the energy of particles without a track.

    Raises UserError for files that cannot be read, lack a table, or hold no candidate that is chosen.
    """

    noun = "candidate"
    files: list[CandidateFile]

    def __init__(
        self,
        paths: Sequence[Path],
        choice: Choice,
        linking: Linking = LINKING,
        cells: int = 40,
        memory_mb: float | None = None,
        inputs: Sequence[str] = (*DETECTORS, TOGETHER),
        neighbours: int = 16,
        untracked: bool = False,
    ) -> None:
        self.events = DetectorEvents(paths)
        _require_tables(self.events, paths)
        self.choice = choice
        told = self.events.detectors
        self.making = CandidateMaking(
            build(Tracker, told["tracker"], f"the tracker of {paths[0]}"),
            build(MuonStations, told["muons"], f"the muon stations of {paths[0]}"),
            linking,
            cells,
            neighbours if NEIGHBOURS in inputs else 0,
            untracked,
        )
        self.inputs_read = tuple(inputs)
        self._seen: RecentlyUsed[int, EventCandidates] = RecentlyUsed(
            len(paths), None if memory_mb is None else int(1e6 * memory_mb), _bytes
        )
        self.files = self._opened(paths)
        self.starts: Rows = np.cumsum([0, *(len(file.event) for file in self.files)])
        if not len(self):
            raise UserError(
                f"none of the {len(self.events)} events of {paths[0]}{' …' if len(paths) > 1 else ''} has a candidate "
                "that data.needs, data.classes and data.least_gev let pass"
            )
        names = self.files[0].numbers
        self.numbers = {name: np.concatenate([file.numbers[name] for file in self.files]) for name in names}
        self.columns = tuple(self.numbers)
        self.scalar_columns = self.columns

    def _opened(self, paths: Sequence[Path]) -> list[CandidateFile]:
        found: list[CandidateFile] = []
        start = 0
        for place, path in enumerate(paths):
            events = slice(start, start + len(DetectorEvents(path)))
            start = events.stop
            made = self._made(events)
            self._seen.get(place, partial(_itself, made))
            with h5py.File(path, "r", locking=False) as file:
                attributes = dict(file.attrs)
            found.append(CandidateFile(path, attributes, events, made.event, made.hashes, made.numbers))
        return found

    def _made(self, events: slice) -> EventCandidates:
        made = candidates_of(self.events[events], self.making)
        return made.kept(self.choice.rows(made.numbers)).holding(self._tokens_read())

    def _tokens_read(self) -> tuple[str, ...]:
        """Return the detectors, and NEIGHBOURS, whose tokens are asked for; of others only leads are."""
        return (*self.inputs_read, *(DETECTORS if TOGETHER in self.inputs_read else ()))

    @cached_property
    def unseen_gev(self) -> Floats:
        """True momenta across the beam of what no detector saw or followed, (event, 2), of all events."""
        parts = [[self.events.column(f"{stem}_p{axis}_gev") for axis in "xy"] for stem in ("missing", "beyond")]
        return np.asarray(np.array(parts, dtype=np.float64).sum(axis=0).T)

    def positions(self, name: str) -> int:
        """Return how many positions an input has, leads and tokens."""
        return positions_of(name, len(self.making.tracker.layers), self.making.cells, self.making.neighbours)

    def inputs(self, name: str, rows: Rows) -> tuple[NDArray[np.float32], Rows]:
        """Return an input of rows (row, position, channel), zeros behind what is real, and how many positions are real.

        TOGETHER: the leads of all detectors, then their tokens, each with which detector it is of before its numbers.
        NEIGHBOURS: the same leads, then the tracks and clusters about a candidate.
        """
        if name == TOGETHER:
            return _together([self.inputs(detector, rows) for detector in DETECTORS])
        found = np.zeros((len(rows), self.positions(name), width_of(name)), np.float32)
        lengths = np.zeros(len(rows), np.int64)
        leads = DETECTORS if name == NEIGHBOURS else (name,)
        for chosen, own, held in self._held(rows):
            for place, detector in enumerate(leads):
                lead = held.seen[detector].lead[own]
                found[chosen, place, : lead.shape[1]] = lead
            tokens, counts = held.seen[name].of(own).padded(self.positions(name) - len(leads))
            found[chosen, len(leads) :, : tokens.shape[2]] = tokens
            lengths[chosen] = len(leads) + counts
        return found, lengths

    def _held(self, rows: Rows) -> Iterator[tuple[Rows, Rows, EventCandidates]]:
        """Yield, of each file that has some of the rows, which of them, their places in it, and what was seen."""
        owner = np.searchsorted(self.starts, rows, side="right") - 1
        for place in np.unique(owner):
            chosen = np.flatnonzero(owner == place)
            held = self._seen.get(int(place), partial(self._made, self.files[place].events))
            yield chosen, rows[chosen] - self.starts[place], held


def positions_of(name: str, layers: int, cells: int, neighbours: int) -> int:
    """Return how many positions an input has, leads and tokens, where so many are read."""
    if name == TOGETHER:
        return sum(positions_of(detector, layers, cells, neighbours) for detector in DETECTORS)
    if name == NEIGHBOURS:
        return len(DETECTORS) + neighbours
    return 1 + {TRACKER: layers, MUON: SEGMENTS_READ}.get(name, cells)


def width_of(name: str) -> int:
    """Return how many channels an input has."""
    if name in (TOGETHER, NEIGHBOURS):
        return TOGETHER_WIDTH if name == TOGETHER else NEIGHBOURS_WIDTH
    return max(LEAD_WIDTH[name], TOKEN_WIDTH[name])


def _itself(made: EventCandidates) -> EventCandidates:
    return made


def _bytes(made: EventCandidates) -> int:
    return sum(tokens.nbytes for tokens in made.seen.values())


def _together(parts: Sequence[tuple[NDArray[np.float32], Rows]]) -> tuple[NDArray[np.float32], Rows]:
    """Return leads, then all tokens without gaps, of inputs of the detectors with their lengths."""
    rows, kinds = len(parts[0][0]), len(parts)
    found = np.zeros((rows, sum(values.shape[1] for values, _ in parts), TOGETHER_WIDTH), np.float32)
    at = np.full(rows, kinds)
    for kind, (values, lengths) in enumerate(parts):
        found[:, kind, : values.shape[2]] = values[:, 0]
        counts = lengths - 1
        row = np.repeat(np.arange(rows), counts)
        rank = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        width = TOKEN_WIDTH[DETECTORS[kind]]
        found[row, at[row] + rank, kind] = 1.0
        found[row, at[row] + rank, kinds : kinds + width] = values[row, 1 + rank, :width]
        at = at + counts
    return found, at


def _require_tables(events: DetectorEvents, paths: Sequence[Path]) -> None:
    missing = [name for name in NEEDED if name not in events.tables]
    if missing:
        raise UserError(
            f"{paths[0]} has no table {missing[0]}: networks read {', '.join(NEEDED)}; make the events without leaving "
            "them out (tables)"
        )


def candidate_paths(data: str | Sequence[str]) -> list[Path]:
    """Return the files that a file, a folder, a pattern or a list of these names; UserError where there is none."""
    return named_files(data, "events", MAKER, _in_folder)


def _in_folder(folder: Path) -> list[Path]:
    return list(folder.glob("*.hdf5"))


def require_inputs(inputs: Sequence[str]) -> None:
    """Raise UserError for inputs that no detector gives, or none."""
    require_names("data.inputs", inputs, INPUTS)
    if not inputs:
        raise UserError(f"data.inputs is empty: name at least one of {', '.join(INPUTS)}")
