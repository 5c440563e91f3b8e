"""Events read piece by piece: particles of every flow, jets, candidates with their truth, true particles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collider.detectors.calorimeters.config import Ecal
from collider.detectors.events import DetectorEvents, EventSlice
from collider.detectors.jet_energies.learned import LearnedJets
from collider.detectors.learning.candidates import matched_particles
from collider.detectors.learning.columns import CLASSES
from collider.detectors.making.events import ORIGINS
from collider.detectors.muons.config import MuonStations
from collider.detectors.particles import Integers
from collider.detectors.physics.config import PhysicsConfig
from collider.detectors.physics.flow import FlowParticles, Opinion, by_rules, flow_of, true_flow
from collider.detectors.physics.jets import Jets, jets_of, looked_for
from collider.detectors.physics.objects import Mask, Objects, objects_of
from collider.detectors.physics.prompt import PromptParticles, prompt_particles
from collider.detectors.physics.spoken import Spoken
from collider.detectors.physics.tagging.large import large_jets
from collider.detectors.schema import CLUSTERS, NONE, PARTICLES, SEGMENTS, TRACKS
from collider.detectors.tracking import Tracker
from reconstruction.configuration import build
from reconstruction.errors import UserError
from reconstruction.progress import progress_bar

RULES, NETWORK, TRUTH = "rules", "network", "true particles"
NEEDED: Final = (PARTICLES, TRACKS, CLUSTERS, SEGMENTS)
MAY_BE_UNKNOWN: Final = {(TRACKS, "ecal_eta"), (TRACKS, "ecal_phi_rad"), (CLUSTERS, "hcal_over_ecal")}
"""Columns that are no number where a track does not come to the ECAL, and where a cluster holds nothing in it."""
PIECE: Final = 500
LEAST_PT_GEV: Final = 0.5
"""Softest true particles that are judged."""
Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class FlowResults:
    """What came of some events, each array over all of them.

    processes: names by `events["process"]`. events: (event,) `process`, `missing` (event, 2) of neutrinos in GeV,
    `origins` (event, ORIGINS) of whom particles come, and what is missing in each flow under its name. jets, prompt: by
    flow. heads: reconstructed objects with a truth: its kind `true`, `p_gev` and `eta`, the kind that each flow takes
    it for, and `probabilities` (head, class) of the network, NaN where it says nothing. particles: true ones: `kind`,
    `charge`, `pt_gev`, `eta`, `track` whether one was found, and the kind that each flow takes it for, NONE for not
    found. large: large jets of true particles, as `large_jets` returns them.
    """

    processes: tuple[str, ...]
    events: Columns
    jets: Mapping[str, Jets]
    prompt: Mapping[str, PromptParticles]
    large: Columns
    heads: Columns
    particles: Columns

    @property
    def flows(self) -> tuple[str, ...]:
        """Names of what was reconstructed, the true particles left out."""
        return tuple(name for name in self.jets if name != TRUTH)

    def __len__(self) -> int:
        return len(self.events["process"])

    def kept(self, mask: Mask) -> FlowResults:
        """Return some of the events (event,), counted anew."""
        number = np.cumsum(mask) - 1

        def columns(table: Columns) -> Columns:
            rows = mask[table["event"]]
            return {name: number[values[rows]] if name == "event" else values[rows] for name, values in table.items()}

        def tables(found: Mapping[str, Any]) -> dict[str, Any]:
            return {name: _kept(table, mask, number) for name, table in found.items()}

        events = {name: values[mask] for name, values in self.events.items()}
        return replace(self, events=events, jets=tables(self.jets), prompt=tables(self.prompt),
                       large=columns(self.large), heads=columns(self.heads),
                       particles=columns(self.particles))  # fmt: skip


class Chain:
    """From files to what is measured. Raises UserError for events without the tables that are needed."""

    def __init__(
        self,
        events: DetectorEvents,
        config: PhysicsConfig,
        spoken: Spoken | None = None,
        learned: LearnedJets | None = None,
    ) -> None:
        missing = [name for name in NEEDED if name not in events.tables]
        if missing:
            raise UserError(
                f"physics reads the tables {', '.join(NEEDED)}, and the events have no {', '.join(missing)}: make them "
                "without leaving tables out"
            )
        self.events, self.config, self.spoken, self.learned = events, config, spoken, learned
        detectors = events.detectors
        self.tracker = build(Tracker, detectors["tracker"], "the tracker of the events")
        self.stations = build(MuonStations, detectors["muons"], "the muon stations of the events")
        self.ecal = build(Ecal, detectors["calorimeters"]["ecal"], "the ECAL of the events")

    def measured(self) -> FlowResults:
        """Return what comes of all events; with networks, of those that none was trained on."""
        pieces = []
        with progress_bar() as bar:
            task = bar.add_task("particle flow", total=len(self.events), unit="events")
            for start in range(0, len(self.events), PIECE):
                stop = min(start + PIECE, len(self.events))
                part = self.events.read(slice(start, stop), NEEDED)
                require_numbers(part, start)
                pieces.append(self._piece(part))
                bar.advance(task, stop - start)
        return together(pieces)

    def _piece(self, part: EventSlice) -> FlowResults:
        """Return what comes of some events."""
        objects = objects_of(part, self.config.flow, self.stations, self.ecal, self.tracker.field_t)
        opinions = {RULES: by_rules(objects, self.config.flow)}
        if self.spoken is not None or self.learned is not None:
            said = opinions[RULES] if self.spoken is None else self.spoken.opinion(objects, self.config.flow)
            opinions[NETWORK] = said
        flows = {name: flow_of(objects, self.config.flow, opinion) for name, opinion in opinions.items()}
        flows[TRUTH] = true_flow(part)
        particle = matched_particles(part, objects.heads, objects.owner)
        jets = {name: self._jets(flow, len(part), name) for name, flow in flows.items()}
        judged = np.ones(len(part), dtype=bool)
        if self.spoken is not None:
            judged &= self.spoken.judged_events(objects.identity, objects.event, len(part))
        if self.learned is not None:
            row = self.learned.rows(jets[RULES], part.columns["event_id"])
            judged &= self.learned.judged_events(jets[RULES], row, len(part))
            jets[NETWORK] = self.learned.corrected(jets[RULES], row)
        found = FlowResults(
            tuple(self.events.processes),
            _event_columns(part, flows),
            jets,
            {name: prompt_particles(flow, self.config.prompt) for name, flow in flows.items()},
            large_jets(part, flows, TRUTH, self.config.tagging),
            self._heads(objects, opinions, flows[TRUTH], particle),
            _particles(objects, opinions, flows[TRUTH], particle),
        )
        return found.kept(judged)

    def _jets(self, flow: FlowParticles, events: int, name: str) -> Jets:
        jets = self.config.jets
        return jets_of(flow, events, jets if name == TRUTH else looked_for(jets))

    def _heads(
        self, objects: Objects, opinions: Mapping[str, Opinion], true: FlowParticles, particle: Integers
    ) -> Columns:
        """Return the columns of objects that are particles and have a truth."""
        there = np.flatnonzero(particle >= 0)
        heads, particle = objects.heads[there], particle[there]
        chances = np.full((len(heads), len(CLASSES)), np.nan)
        if self.spoken is not None:
            chances = self.spoken.chances(objects.identity[heads])
        return {
            "event": objects.event[heads],
            "true": true.kind[particle],
            "p_gev": np.linalg.norm(true.momentum_gev[particle], axis=1),
            "eta": true.eta[particle],
            "probabilities": chances,
            **{name: opinion.kind[heads] for name, opinion in opinions.items()},
        }


def require_numbers(part: EventSlice, start: int) -> None:
    """Raise UserError for the first number of events, of which the first is number `start`, that is none."""
    for name in NEEDED:
        table = part[name]
        for column, values in table.columns.items():
            if (name, column) in MAY_BE_UNKNOWN:
                continue
            numbers = values.reshape(len(table), -1)
            wrong = ~np.isfinite(numbers)
            if (name, column) == (TRACKS, "q_over_pt_per_gev"):
                wrong |= numbers == 0
            if wrong.any():
                row, place = np.argwhere(wrong)[0]
                event = int(table.event[row])
                raise UserError(
                    f"event {start + event} of the data: {name}/{column} is {numbers[row, place]:g} in row "
                    f"{row - table.offsets[event]}: make its file again, or leave that out"
                )


def _event_columns(part: EventSlice, flows: Mapping[str, FlowParticles]) -> Columns:
    neutrinos = np.stack([part.columns[f"missing_p{axis}_gev"] for axis in "xy"], axis=1).astype(np.float64)
    columns: Columns = {"process": part.columns["process"].astype(np.int64), "missing": neutrinos}
    origin = part[PARTICLES]["origin"]
    columns["origins"] = np.stack(
        [np.bincount(part[PARTICLES].event, origin == code, len(part)) > 0 for code in ORIGINS], axis=1
    )
    return columns | {name: flow.missing_gev(len(part)) for name, flow in flows.items()}


def _particles(objects: Objects, opinions: Mapping[str, Opinion], true: FlowParticles, particle: Integers) -> Columns:
    """Return the columns of true particles that are hard enough to be judged."""
    rows = np.flatnonzero(true.pt_gev >= LEAST_PT_GEV)
    head = np.full(len(true), NONE)
    head[particle[particle >= 0]] = objects.heads[particle >= 0]
    head = head[rows]
    return {
        "event": true.event[rows],
        "kind": true.kind[rows],
        "charge": true.charge[rows],
        "pt_gev": true.pt_gev[rows],
        "eta": true.eta[rows],
        "track": (head >= 0) & (head < objects.tracks),
        **{name: np.append(opinion.kind, NONE)[head] for name, opinion in opinions.items()},
    }


def together(pieces: Sequence[FlowResults]) -> FlowResults:
    """Return several as one, the events of each behind those before."""
    begin = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])])

    def columns(name: str) -> Columns:
        parts = [getattr(piece, name) for piece in pieces]
        found = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        if "event" in found:
            found["event"] = np.concatenate([part["event"] + at for part, at in zip(parts, begin, strict=False)])
        return found

    def tables(name: str) -> dict[str, Any]:
        parts = [getattr(piece, name) for piece in pieces]
        return {flow: _joined([part[flow] for part in parts], begin) for flow in parts[0]}

    return FlowResults(
        pieces[0].processes,
        columns("events"),
        tables("jets"),
        tables("prompt"),
        columns("large"),
        columns("heads"),
        columns("particles"),
    )


def _kept(table: Any, mask: Mask, number: Integers) -> Any:
    """Return the rows of a table whose events are kept."""
    rows = mask[table.event]
    columns = {one.name: getattr(table, one.name)[rows] for one in fields(table)}
    return replace(table, **{**columns, "event": number[columns["event"]]})


def _joined(tables: Sequence[Any], begin: Integers) -> Any:
    """Return tables of events as one."""
    columns = {one.name: np.concatenate([getattr(table, one.name) for table in tables]) for one in fields(tables[0])}
    columns["event"] = np.concatenate([table.event + at for table, at in zip(tables, begin, strict=False)])
    return replace(tables[0], **columns)
