"""Files of events as rows of jets: those of the rules of particle flow, with what is in each, held in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from collider.detectors.calorimeters.config import Ecal
from collider.detectors.events import DetectorEvents, EventSlice
from collider.detectors.jet_energies.columns import LEAD, OBJECT_NUMBERS, OBJECTS
from collider.detectors.jet_energies.tokens import jet_tokens
from collider.detectors.learning.candidates import event_hashes
from collider.detectors.learning.event_rows import FileOfRows, Rows, RowsOfEvents
from collider.detectors.learning.tokens import Tokens
from collider.detectors.muons.config import MuonStations
from collider.detectors.physics.config import PhysicsConfig
from collider.detectors.physics.flow import by_rules, flow_of, true_flow
from collider.detectors.physics.jets import (
    JET_PT,
    RULES_PT,
    Jets,
    jet_ids,
    jets_of,
    looked_for,
    nearest_jets,
)
from collider.detectors.physics.objects import objects_of
from collider.detectors.schema import CLUSTERS, NONE, PARTICLES, SEGMENTS, TRACKS
from collider.detectors.tracking import Tracker
from reconstruction.configuration import build
from reconstruction.errors import UserError

NEEDED = (TRACKS, CLUSTERS, SEGMENTS)
PIECE = 500
"""Events whose jets are found in one call."""
WIDTH = max(len(LEAD), len(OBJECT_NUMBERS))


@dataclass(frozen=True)
class _Found:
    """Jets of some events: columns (jet,), what is in them, the event of each, and hashes (event,)."""

    numbers: Mapping[str, NDArray[Any]]
    tokens: Tokens
    event: Rows
    hashes: Rows


class FlowJetFiles(RowsOfEvents):
    """Files of events as one table of jets, a `RowTable`.

    Rows are the jets by rules that a true jet is matched with, or all of them where files hold no particles.
    cuts: rules and jets of physics. objects: how many tracks and clusters of a jet are read. least_gev: smallest pT by
    rules; jets are looked for from half of the cuts' smallest pT on.

    Raises UserError for files that lack a table, and where there is no jet.
    """

    noun = "jet"

    def __init__(self, paths: Sequence[Path], cuts: PhysicsConfig, objects: int, least_gev: float) -> None:
        self.events, self.cuts, self.objects, self.least_gev = DetectorEvents(paths), cuts, objects, least_gev
        missing = [name for name in NEEDED if name not in self.events.tables]
        if missing:
            raise UserError(
                f"{paths[0]} has no table {missing[0]}: jets are found in {', '.join(NEEDED)}; make the events without "
                "leaving them out (tables)"
            )
        told = self.events.detectors
        self._tracker = build(Tracker, told["tracker"], f"the tracker of {paths[0]}")
        self._stations = build(MuonStations, told["muons"], f"the muon stations of {paths[0]}")
        self._ecal = build(Ecal, told["calorimeters"]["ecal"], f"the ECAL of {paths[0]}")
        self.files, found, start = [], [], 0
        for path in paths:
            own, stop = [], start + len(DetectorEvents(path))
            for first in range(start, stop, PIECE):
                piece = self._found(self.events[first : min(first + PIECE, stop)])
                own.append(replace(piece, event=piece.event + first - start))
            with h5py.File(path, "r", locking=False) as file:
                attributes = dict(file.attrs)
            event, hashes = (np.concatenate([getattr(one, name) for one in own]) for name in ("event", "hashes"))
            self.files.append(FileOfRows(path, attributes, slice(start, stop), event, hashes))
            found += own
            start = stop
        self.starts: Rows = np.cumsum([0, *(len(file.event) for file in self.files)])
        if not len(self):
            raise UserError(
                f"none of the {len(self.events)} events of {paths[0]}{' …' if len(paths) > 1 else ''} has a jet of "
                f"{least_gev:g} GeV or more: lower data.least_gev, or name other events"
            )
        self.numbers = {name: np.concatenate([one.numbers[name] for one in found]) for name in found[0].numbers}
        self._tokens = _joined([one.tokens for one in found])
        self.columns = self.scalar_columns = tuple(self.numbers)

    def _found(self, part: EventSlice) -> _Found:
        """Return the jets of some events."""
        cuts = self.cuts
        objects = objects_of(part, cuts.flow, self._stations, self._ecal, self._tracker.field_t)
        flow = flow_of(objects, cuts.flow, by_rules(objects, cuts.flow))
        jets = jets_of(flow, len(part), looked_for(cuts.jets))
        identity = jet_ids(part.columns["event_id"], jets.event)
        rows = np.flatnonzero(jets.pt_gev >= self.least_gev)
        truth: dict[str, NDArray[Any]] = {}
        if PARTICLES in part.tables:
            true, of_jet = self._true(part, jets)
            rows = rows[of_jet[rows] >= 0]
            truth = {JET_PT: true.pt_gev[of_jet[rows]], "true_lonely": true.lonely[of_jet[rows]]}
        tokens = jet_tokens(part, objects, flow, jets, cuts.flow, cuts.jets.radius, self.objects).of(rows)
        event = jets.event[rows]
        numbers = {
            "event_id": identity[rows],
            "event_number": np.asarray(part.columns["event_id"], dtype=np.int64)[event] & np.int64(2**32 - 1),
            "process": np.asarray(part.columns["process"], dtype=np.int64)[event],
            RULES_PT: jets.pt_gev[rows],
            "eta": jets.eta[rows],
            "phi_rad": jets.phi[rows],
            "object_count": tokens.counts,
            **truth,
        }
        return _Found(numbers, tokens, event, event_hashes(part))

    def _true(self, part: EventSlice, jets: Jets) -> tuple[Jets, Rows]:
        """Return jets of true particles, softer and farther out than those by rules, and that of each (jet,)."""
        wider = looked_for(looked_for(self.cuts.jets))
        true = jets_of(true_flow(part), len(part), wider)
        of_jet = np.full(len(jets), NONE)
        place = nearest_jets(true, jets, self.cuts.jet_distance)
        of_jet[place[place >= 0]] = np.flatnonzero(place >= 0)
        return true, of_jet

    def inputs(self, name: str, rows: Rows) -> tuple[NDArray[np.float32], Rows]:
        """Return leads and tokens of rows (row, position, channel), zeros behind, and how many positions are real."""
        assert name == OBJECTS
        found = np.zeros((len(rows), 1 + self.objects, WIDTH), np.float32)
        chosen = self._tokens.of(rows)
        found[:, 0, : len(LEAD)] = chosen.lead
        tokens, counts = chosen.padded(self.objects)
        found[:, 1:, : tokens.shape[2]] = tokens
        return found, 1 + counts


def _joined(pieces: Sequence[Tokens]) -> Tokens:
    counts = np.concatenate([piece.counts for piece in pieces])
    return Tokens(
        np.concatenate([piece.lead for piece in pieces]),
        np.concatenate([piece.values for piece in pieces]),
        np.concatenate([[0], np.cumsum(counts)]),
    )
