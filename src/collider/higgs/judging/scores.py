"""What trained networks say of events when they are told some masses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from collider.higgs.learning.data import HiggsDataModule
from collider.higgs.learning.files import CLASSES, SIGNAL, EventFiles
from collider.higgs.making.config import Point
from collider.higgs.making.samples import MASSES
from reconstruction import schema
from reconstruction.errors import UserError
from reconstruction.judging.tables.settings import SETTINGS
from reconstruction.models.predictive.categorical import Categorical
from reconstruction.random.keyed import FROZEN_EPOCH
from reconstruction.training.learning.checkpoints import BEST
from reconstruction.training.learning.learner import Learner
from reconstruction.training.learning.rows_met import split_codes
from reconstruction.training.runs.loading import load_module

Rows = NDArray[np.int64]
Array = NDArray[np.float64]
LEAST = 1e-300


@dataclass(frozen=True, eq=False)
class Network:
    """A trained network: the folder of its run, its module, and the masses that it was trained on."""

    folder: Path
    module: Learner

    @classmethod
    def load(cls, folder: Path) -> Network:
        """Load the best checkpoint of a run. Raises UserError where there is none, or it is of another system."""
        module = load_module(folder / "checkpoints" / BEST)
        if module.card.get("system") != HiggsDataModule.system_name:
            raise UserError(f"{folder} is a training of {module.card.get('system')}, and not of {SYSTEM_NAME}")
        if set(module.reconstructor.head.classes) != set(CLASSES):
            told = ", ".join(module.reconstructor.head.classes)
            raise UserError(f"{folder} tells {told} apart, and the comparison needs {', '.join(CLASSES)}")
        return cls(folder, module)

    @property
    def points(self) -> list[Point]:
        """Masses of the signals that it was trained on, those before a tuning too."""
        card = self.module.card
        known = card.get(SETTINGS, {}).get("trained") or card["data"]["points"]
        return sorted((float(one), float(other)) for one, other in known)

    @property
    def told(self) -> bool:
        """Whether it is told masses."""
        return bool(self.module.settings)

    @cached_property
    def parameters(self) -> int:
        """How many weights it has."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    def outside(self, point: Point) -> bool:
        """Return whether masses lie outside of the range that it was trained in."""
        known = np.array(self.points)
        return bool(((np.array(point) < known.min(0) - 1e-6) | (np.array(point) > known.max(0) + 1e-6)).any())

    @torch.no_grad()
    def probabilities(self, data: HiggsDataModule, rows: Rows, point: Point) -> Array:
        """Return the probability of each class (row, class), in the order of CLASSES, of events told some masses."""
        parts = []
        order = [list(self.module.reconstructor.head.classes).index(name) for name in CLASSES]
        for batch in data.rows_dataloader(rows):
            there = self.module.placed(batch)
            for name, value in zip(MASSES, point, strict=True):
                there["observables"][name] = torch.full_like(there["observables"][name], value)
            said = self.module.of(self.module.inject(there, FROZEN_EPOCH))
            assert isinstance(said, Categorical)
            parts.append(said.probabilities.double().cpu().numpy()[:, order])
        return np.concatenate(parts) if parts else np.zeros((0, len(CLASSES)))


SYSTEM_NAME = HiggsDataModule.system_name


def runs_in(folders: Sequence[Path]) -> list[Path]:
    """Return the runs that folders are or hold. Raises UserError for one that is and holds none."""
    found = []
    for folder in folders:
        held = (
            [folder]
            if (folder / "checkpoints" / BEST).exists()
            else sorted(path.parent.parent for path in folder.glob(f"*/checkpoints/{BEST}"))
        )
        if not held:
            raise UserError(f"{folder} is no run and holds none: there is no checkpoints/{BEST}")
        found += held
    return found


def discriminant(probabilities: Array, shares: Array) -> Array:
    """Return ln p(signal) − ln Σ_k f_k p(k): the best order of events where backgrounds are mixed by shares f (k,)."""
    background = probabilities[:, [code for code in CLASSES.values() if code != SIGNAL]] @ shares
    return np.log(np.maximum(probabilities[:, SIGNAL], LEAST)) - np.log(np.maximum(background, LEAST))


def trained_rows(data: HiggsDataModule, network: Network) -> Rows:
    """Return the rows that a network was trained on."""
    return np.flatnonzero(split_codes(network.module.card, data) == schema.SPLITS["train"])


@dataclass(frozen=True, eq=False)
class Unseen:
    """Events that no network met: the signals by point, and the backgrounds."""

    data: HiggsDataModule
    signals: dict[Point, Rows]
    backgrounds: Rows

    @property
    def files(self) -> EventFiles:
        """The table."""
        files: EventFiles = self.data.records
        return files

    def kinds(self, rows: Rows) -> Rows:
        """Return the class of rows."""
        return np.asarray(self.files.scalar("class")[rows], np.int64)

    def weights(self, rows: Rows) -> Array:
        """Return the expected events that each row stands for; rows hold the signal of one point.

        What a training saw is missing: what is left of a sample is scaled to all of it.
        """
        files = self.files
        weights, kinds = np.asarray(files.scalar("weight"), np.float64), files.scalar("class")
        chosen = weights[rows].copy()
        for kind in np.unique(kinds[rows]):
            mine = kinds[rows] == kind
            whole = kinds == kind
            if kind == SIGNAL:
                first = rows[mine][0]
                whole &= np.all([files.scalar(name) == files.scalar(name)[first] for name in MASSES], axis=0)
            if chosen[mine].sum() > 0:
                chosen[mine] *= weights[whole].sum() / chosen[mine].sum()
        return chosen


def unseen(data: HiggsDataModule, networks: Sequence[Network]) -> Unseen:
    """Return the events that none of the networks was trained or calibrated on.

    Raises UserError where no background is left: then nothing can be compared.
    """
    met = np.zeros(len(data.records), bool)
    for network in networks:
        met |= np.isin(
            split_codes(network.module.card, data), [schema.SPLITS[part] for part in ("train", "validation")]
        )
    kinds = data.records.scalar("class")
    for name, code in CLASSES.items():
        if not ((kinds == code) & ~met).any():
            raise UserError(
                f"there is no event of the class {name} in {data.data} that none of the {len(networks)} networks was "
                "trained on: make more, or compare on data of which a fold was kept aside"
            )
    masses = np.column_stack([data.records.scalar(name) for name in MASSES])
    free = np.flatnonzero((kinds == SIGNAL) & ~met)
    signals = {
        (float(one), float(other)): free[(masses[free] == (one, other)).all(1)]
        for one, other in np.unique(masses[free], axis=0)
    }
    return Unseen(data, signals, np.flatnonzero((kinds != SIGNAL) & ~met))
