"""The data module of jets: files of events → batches, all jets of an event in one part of the split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collider.detectors.jet_energies.columns import OBJECTS
from collider.detectors.jet_energies.files import FlowJetFiles
from collider.detectors.learning.batches import CandidateRows
from collider.detectors.learning.data import EventRowsDataModule
from collider.detectors.learning.files import candidate_paths
from collider.detectors.physics.config import PhysicsConfig
from collider.detectors.physics.jets import JET_PT
from reconstruction.paths import path_of


class FlowJetDataModule(EventRowsDataModule):
    """Jets of event files as the rules of particle flow find them, with the tracks and clusters in each.

    Rows are those that a jet of true particles is matched with. They are held in memory, about 6 kB an event.

    Args:
        data: A file, a folder of them, a glob, or a list of these.
        targets: jet_pt_gev, the pT of the jet of true particles.
        cuts: The YAML file of rules and jets that scripts/detectors_physics.py is given with -c; null for none.
        objects: Tracks and clusters that are read of a jet, those with the most energy.
        least_gev: Smallest pT by rules; jets softer than half of the cuts' smallest pT are not looked for.
        batch_size: Jets a batch, on each device.
        fractions: Shares of training, validation and test.

    """

    system_name = "collider.detectors.jet_energies"

    def __init__(
        self,
        data: str | list[str] = "data/detectors",
        targets: tuple[str, ...] = (JET_PT,),
        cuts: str | None = None,
        objects: int = 64,
        least_gev: float = 10.0,
        batch_size: int = 128,
        fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
        **rows: Any,
    ) -> None:
        super().__init__(data, targets, batch_size=batch_size, fractions=fractions, **rows)
        self.cuts, self.objects, self.least_gev = cuts, objects, least_gev

    def open(self) -> FlowJetFiles:
        """Return the opened files."""
        cuts = PhysicsConfig() if self.cuts is None else PhysicsConfig.from_yaml(Path(path_of(self.cuts)))
        return FlowJetFiles(candidate_paths(self.data), cuts, self.objects, self.least_gev)

    def dataset(self, rows: NDArray[np.int64], training: bool = False) -> CandidateRows:
        """Return the batches of these rows."""
        return CandidateRows(self.chosen(rows), (OBJECTS,))

    def apparatus_facts(self) -> dict[str, Any]:
        """Return what a model must find again: how many objects are read, how jets are found, the field."""
        files: FlowJetFiles = self.records
        return {
            "objects": self.objects,
            "radius": float(files.cuts.jets.radius),
            "field_t": float(files.events.detectors["tracker"]["field_t"]),
        }
