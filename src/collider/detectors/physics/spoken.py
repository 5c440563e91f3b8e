"""What networks say of candidates, from tables: who is what, and with which momentum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from collider.detectors.combining.tables import require_candidates, require_parts
from collider.detectors.learning.columns import CLASSES, IDENTITY, MOMENTUM, UNTRACKED
from collider.detectors.particles import Floats, Integers
from collider.detectors.physics.flow import Opinion, by_rules, momenta_of
from collider.detectors.physics.objects import Mask, Objects
from collider.detectors.physics.rules import FlowRules
from collider.detectors.schema import NONE
from reconstruction import schema
from reconstruction.errors import UserError
from reconstruction.judging.tables.table import PredictionTable

TARGETS: Final = (IDENTITY, MOMENTUM, UNTRACKED)


@dataclass(frozen=True)
class Spoken:
    """What networks say of candidates that are known by their identities, sorted; any part may be left out.

    kind: (row,) code, NONE for nothing said; probabilities: (row, class) in the order of CLASSES, NaN for none;
    momentum_gev, untracked_gev: (row,), NaN for none; held: (row, 3) whether a table of identities, one of momenta and
    one of energies without a track holds it, all of them where there is no such table; judged: (row,) whether no
    network was trained on it.
    """

    identity: Integers
    kind: Integers
    probabilities: Floats
    momentum_gev: Floats
    untracked_gev: Floats
    held: Mask
    judged: Mask
    names: tuple[str, ...]

    def rows(self, identity: Integers) -> Integers:
        """Return the row of each identity, NONE where nothing is known of it."""
        place = np.minimum(np.searchsorted(self.identity, identity), len(self.identity) - 1)
        return np.where(self.identity[place] == identity, place, NONE)

    def chances(self, identity: Integers) -> Floats:
        """Return the probabilities of the classes of each identity (object, class), NaN for none."""
        none = np.full((1, len(CLASSES)), np.nan)
        return np.concatenate([self.probabilities, none])[self.rows(identity)]

    def judged_events(self, identity: Integers, event: Integers, events: int) -> Mask:
        """Return which events (event,) the tables know, and no network was trained on; of objects and their events.

        Known to tables of all targets alike: a table of another network's test split lacks what that one
        was trained on, and says nothing of it.
        """
        row = self.rows(identity)
        known = row >= 0
        there = [np.bincount(event[known], held[row[known]], events) > 0 for held in self.held.T]
        trained = np.bincount(event[known], ~self.judged[row[known]], events) > 0
        return np.all(there, axis=0) & ~trained

    def opinion(self, objects: Objects, rules: FlowRules) -> Opinion:
        """Return the rules' opinion, replaced by what the networks say of these objects.

        Who is another kind for a network than for the rules, and of whose momentum none speaks, has the momentum that
        the rules give to that kind. Clusters without a track have the energy that is said to be without one.
        """
        row = self.rows(objects.identity)
        kind, momentum = np.append(self.kind, NONE)[row], np.append(self.momentum_gev, np.nan)[row]
        untracked = np.append(self.untracked_gev, np.nan)[row]
        kind = np.where(kind == NONE, by_rules(objects, rules).kind, kind)
        momentum = np.where(np.isfinite(momentum), momentum, momenta_of(objects, rules, kind))
        alone = np.isfinite(untracked) & (np.arange(len(objects)) >= objects.tracks)
        return Opinion(kind, np.where(alone, untracked, momentum), untracked)


def spoken_by(identity: Path | None, momenta: Sequence[Path], untracked: Path | None = None) -> Spoken | None:
    """Return what tables say, None where there is none; of several momenta of a candidate the first table's counts.

    Raises UserError for a table of another system, without the target, of a bound, or that does not say its parts.
    """
    given = [(path, target) for path, target in ((identity, IDENTITY), (untracked, UNTRACKED)) if path is not None]
    tables = [(_read(path, target), target) for path, target in (*given, *((path, MOMENTUM) for path in momenta))]
    if not tables:
        return None
    ids = np.unique(np.concatenate([table.event_id for table, _ in tables]))
    if not len(ids):
        raise UserError("the tables hold no candidate")
    kind, said = np.full(len(ids), NONE), {target: np.full(len(ids), np.nan) for target in (MOMENTUM, UNTRACKED)}
    chances = np.full((len(ids), len(CLASSES)), np.nan)
    judged = np.ones(len(ids), dtype=bool)
    held = np.tile([target not in {own for _, own in tables} for target in TARGETS], (len(ids), 1))
    for table, target in tables:
        rows = np.searchsorted(ids, table.event_id)
        held[rows, TARGETS.index(target)] = True
        judged[rows] &= np.isin(table.column(schema.SPLIT), [schema.SPLITS[name] for name in ("test", "new")])
        if target == IDENTITY:
            chances[rows] = _in_order(table)
            known = np.isfinite(chances[rows]).all(axis=1)
            best = np.array(list(CLASSES.values()))[np.nan_to_num(chances[rows], nan=-1.0).argmax(axis=1)]
            kind[rows] = np.where(known, best, NONE)
        else:
            value, mine = table.mean(target), said[target]
            free = np.isnan(mine[rows]) & np.isfinite(value) & ((value > 0) | (target == UNTRACKED))
            mine[rows[free]] = value[free]
    names = tuple(dict.fromkeys(str(table.attributes["estimator"]) for table, _ in tables))
    return Spoken(ids, kind, chances, said[MOMENTUM], said[UNTRACKED], held, judged, names)


def _read(path: Path, target: str) -> PredictionTable:
    table = PredictionTable.read(path)
    require_candidates(str(path), table)
    if target not in table.targets:
        raise UserError(f"{path} estimates {', '.join(table.targets)}, not {target}: name the table of another network")
    require_parts(str(path), table)
    return table


def _in_order(table: PredictionTable) -> Floats:
    """Return probabilities in the order of CLASSES, 0 for classes that the network does not know."""
    codes = [int(code) for code in table.classes.values()]
    unknown = sorted(set(codes) - set(CLASSES.values()))
    if unknown:
        raise UserError(f"a table of identities has the classes {unknown}, which no candidate is of")
    found = np.zeros((len(table), len(CLASSES)))
    found[:, [list(CLASSES.values()).index(code) for code in codes]] = table.probabilities()
    return found
