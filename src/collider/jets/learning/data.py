"""The data module of jets: files of particles → batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from collider.jets.learning.files import JetTable, jet_paths
from collider.jets.making.classes import KINDS
from collider.jets.schema import CLASS
from reconstruction.errors import UserError, nearest
from reconstruction.records.batch import Batch, masks_from
from reconstruction.records.loader import ChosenRows
from reconstruction.records.rows import RowsDataModule
from reconstruction.records.splits import Split

PARTICLES = "particles"
"""Name of the one input: (batch, particle, PARTICLE_COLUMNS), the hardest first."""
CHOSEN = "chosen"
"""Fact of the data under which a checkpoint remembers CHOICES."""
CHOICES = ("training_jets", "validation_jets", "label_seed", "leave_out")
"""Options that say which jets of the splits are trained and validated on."""

COUNTS = ("particles", "training_jets", "validation_jets")
"""Options that are a number of something."""


class JetRows(ChosenRows):
    """Batches of chosen jets."""

    def read(self, rows: NDArray[np.int64]) -> Batch:
        """Return the particles of jets."""
        table: JetTable = self.chosen.records
        particles = torch.from_numpy(table.particles[rows])
        lengths = torch.from_numpy(table.lengths[rows])
        return {"inputs": {PARTICLES: particles}, "masks": masks_from(PARTICLES, lengths, particles.shape[1])}


class JetDataModule(RowsDataModule):
    """Jets of HDF5 files with the columns of JetClass, as `scripts/jets.py` writes them, or of its ROOT files.

    All of the particles that are read are held in memory: 64 bytes each.

    Args:
        data: A file, a folder of them, a glob, or a list of these.
        targets: Columns to estimate: jet_class (ten classes), jet_genmass (the mass of the particle-level jet) …
        particles: Constituents of a jet that are read, the hardest; 128 is all that JetClass has.
        batch_size: Jets a batch, on each device.
        training_jets: Train on so many of the training split alone: what labels are worth. Null is all.
        validation_jets: Validate on so many of the validation split alone: labels that are counted, too. Null is all.
        label_seed: Decides which jets these are; null is as split_seed. A smaller number is part of a larger one.
        leave_out: Classes by name (Tbqq) that are neither trained nor validated on, but stay in the test split: what is
            unlike the training.

    """

    system_name = "collider.jets"

    def __init__(
        self,
        data: str | list[str] = "data/jets",
        targets: tuple[str, ...] = (CLASS,),
        particles: int = 40,
        batch_size: int = 128,
        training_jets: int | None = None,
        validation_jets: int | None = None,
        label_seed: int | None = None,
        leave_out: tuple[str, ...] = (),
        **rows: Any,
    ) -> None:
        super().__init__(data, targets, batch_size=batch_size, **rows)
        self.particles, self.label_seed = particles, label_seed
        self.training_jets, self.validation_jets = training_jets, validation_jets
        self.leave_out = tuple(leave_out)
        for name in COUNTS:
            count = getattr(self, name)
            if count is not None and count < 1:
                raise UserError(f"data.{name} is {count}, but must be 1 or more")
        _codes(self.leave_out)

    def open(self) -> JetTable:
        """Return the opened files."""
        return JetTable(jet_paths(self.data), self.particles)

    def dataset(self, rows: NDArray[np.int64], training: bool = False) -> JetRows:
        """Return the batches of these rows."""
        return JetRows(self.chosen(rows))

    def apparatus_facts(self) -> dict[str, Any]:
        """Return how many particles of a jet are read."""
        return {PARTICLES: self.particles}

    def file_facts(self) -> dict[str, Any]:
        """Return what a checkpoint remembers of the data, with the jets that were chosen of the splits."""
        chosen = {name: getattr(self, name) for name in CHOICES}
        return super().file_facts() | {CHOSEN: chosen | {"leave_out": list(self.leave_out)}}

    def setup(self, stage: str) -> None:
        """Refuse to train on more jets than there are; who only judges may read fewer."""
        super().setup(stage)
        whole = self._of_learned_classes
        for name, count, split in (
            ("training", self.training_jets, whole.train), ("validation", self.validation_jets, whole.validation)
        ):  # fmt: skip
            if stage == "fit" and count is not None and count > len(split):
                raise UserError(f"data.{name}_jets is {count}, but the {name} split has {len(split)} jets")

    @property
    def split(self) -> Split:
        """Row numbers of the three parts, of the first two the jets that are trained and validated on."""
        whole = self._of_learned_classes
        train, validation = (
            self._some(whole.train, self.training_jets),
            self._some(whole.validation, self.validation_jets),
        )
        return Split(train, validation, whole.test)

    @property
    def _of_learned_classes(self) -> Split:
        """The split without what is left out of training and validation."""
        whole = super().split
        if not self.leave_out:
            return whole
        if CLASS not in self.records.columns:
            raise UserError(f"data.leave_out names classes, but {self.data} has no labels of JetClass")
        out = np.isin(np.asarray(self.records.scalar(CLASS)), _codes(self.leave_out))
        return Split(whole.train[~out[whole.train]], whole.validation[~out[whole.validation]], whole.test)

    def _some(self, rows: NDArray[np.int64], count: int | None) -> NDArray[np.int64]:
        """Return so many of these rows, drawn by the label seed, in their order."""
        if count is None:
            return rows
        seed = (self.split_seed or 0) if self.label_seed is None else self.label_seed
        return np.sort(np.random.default_rng(seed).permutation(rows)[:count])


def _codes(names: tuple[str, ...]) -> list[int]:
    """Return the codes of classes. Raises UserError for a name of none."""
    known = {kind.name: kind.code for kind in KINDS}
    for name in names:
        if name not in known:
            raise UserError(f"data.leave_out names {name!r}, which is no class of jets{nearest(name, known)}")
    return [known[name] for name in names]
