"""What a network says of the energies of jets, from a table, and jets with these energies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collider.detectors.combining.tables import require_parts
from collider.detectors.jet_energies.system import SYSTEM
from collider.detectors.particles import Floats, Integers
from collider.detectors.physics.jets import JET_PT, RULES_PT, Jets, jet_ids
from collider.detectors.physics.objects import Mask
from collider.detectors.schema import NONE
from reconstruction import schema
from reconstruction.errors import UserError
from reconstruction.judging.tables.table import PredictionTable

ALIKE: Final = 1e-5
"""So much, as a share, the rules' pT of a jet may differ from that in the table."""


@dataclass(frozen=True)
class LearnedJets:
    """The pT of jets that are known by their identities, sorted.

    pt_gev, rules_pt_gev: (row,) what the network and what the rules say; judged: (row,) whether the network was not
    trained on it; path, name: of the table and of its network.
    """

    identity: Integers
    pt_gev: Floats
    rules_pt_gev: Floats
    judged: Mask
    path: Path
    name: str

    @classmethod
    def read(cls, path: Path) -> LearnedJets:
        """Read a table. Raises UserError for one of other rows, of a bound, or that does not say its parts."""
        table = PredictionTable.read(path)
        if table.system.name != SYSTEM.name:
            raise UserError(f"{path} is of {table.system.nouns}, not of {SYSTEM.nouns}: name a table of jets.yaml")
        if table.is_bound:
            raise UserError(f"{path} is a bound, which estimates nothing: name a table that was predicted")
        require_parts(str(path), table)
        order = np.argsort(table.event_id, kind="stable")
        part = table.column(schema.SPLIT)[order]
        return cls(
            table.event_id[order],
            table.mean(JET_PT)[order],
            table.column(RULES_PT)[order],
            np.isin(part, [schema.SPLITS[name] for name in ("test", "new")]),
            path,
            str(table.attributes["estimator"]),
        )

    def rows(self, jets: Jets, event_ids: NDArray[Any]) -> Integers:
        """Return the row of each jet by rules (jet,), NONE where nothing is known of it; event_ids: (event,).

        Raises UserError for a jet that has another pT by rules than the table says.
        """
        identity = jet_ids(event_ids, jets.event)
        place = np.minimum(np.searchsorted(self.identity, identity), len(self.identity) - 1)
        row = np.where(self.identity[place] == identity, place, NONE)
        known = row >= 0
        if not np.allclose(jets.pt_gev[known], self.rules_pt_gev[row[known]], rtol=ALIKE):
            raise UserError(
                f"{self.path} is of jets that other rules made: give both the network (data.cuts) and this command "
                "(-c) the same cuts, and predict anew"
            )
        return row

    def corrected(self, jets: Jets, row: Integers) -> Jets:
        """Return jets by rules with the pT of their rows, directions as they are; the hardest of an event first."""
        known = (row >= 0) & (np.append(self.pt_gev, 0.0)[row] > 0)
        scale = np.where(known, np.append(self.pt_gev, 1.0)[row] / jets.pt_gev, 1.0)
        found = replace(jets, vector=jets.vector * scale[:, None])
        return found.kept(np.lexsort((-found.pt_gev, found.event)))

    def judged_events(self, jets: Jets, row: Integers, events: int) -> Mask:
        """Return which events (event,) have a jet of the table, and none that the network was trained on."""
        known = row >= 0
        there = np.bincount(jets.event[known], minlength=events) > 0
        return there & (np.bincount(jets.event[known], ~self.judged[row[known]], events) == 0)
