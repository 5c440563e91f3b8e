"""The data module of the search: samples → batches, in folds, balanced over masses and classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from collider.higgs.learning.files import CLASSES, DIFFICULTY, HARDNESS, MAKER, RELATIVE, SIGNAL, EventFiles, difficulty
from collider.higgs.learning.samples import event_paths, points_to_train_on
from collider.higgs.learning.views import OBJECTS
from collider.higgs.making.config import Point
from collider.higgs.making.samples import MASSES
from reconstruction.errors import UserError
from reconstruction.random.keyed import FROZEN_EPOCH, mix64
from reconstruction.records.batch import Batch, masks_from
from reconstruction.records.loader import Chosen, Draw, ResumableLoader
from reconstruction.records.mixing import balanced
from reconstruction.records.rows import RowsDataModule
from reconstruction.records.splits import Split, within_files

FOLD = "fold"
FEWEST_FOLDS = 3


class EventRows(Dataset[Batch]):
    """Batches of chosen events.

    redraw: backgrounds are told other masses in each epoch, keyed by `seed`, of the signals in their batch: whatever a
    training draws of them (a curriculum, unbalanced points), what is told gives no class away. repeats: how often each
    of the events stands before in the list, for lists that hold events several times.
    """

    def __init__(self, chosen: Chosen, redraw: bool, seed: int, repeats: NDArray[np.int64] | None = None) -> None:
        self.chosen, self.redraw, self.seed, self.repeats = chosen, redraw, seed, repeats

    def __len__(self) -> int:
        return len(self.chosen.rows)

    def __getitems__(self, draws: list[Draw]) -> Batch:
        """Return the drawn events as one batch."""
        rows = self.chosen.rows[np.array([draw.row for draw in draws])]
        files: EventFiles = self.chosen.records
        objects = torch.from_numpy(files.objects(rows))
        # the missing momentum stands before the objects
        taken = torch.from_numpy(1 + np.minimum(files.scalar("objects")[rows].astype(np.int64), objects.shape[1] - 1))
        batch: Batch = {
            "inputs": {OBJECTS: objects},
            "masks": masks_from(OBJECTS, taken, objects.shape[1]),
            "event_id": torch.from_numpy(files.event_ids[rows]),
            "repeat": torch.tensor([self._repeat(draw) for draw in draws]),
        } | self.chosen.numbers(rows)
        if self.repeats is not None:
            self._tell(batch, rows, FROZEN_EPOCH, of_batch=False)
        elif self.redraw and draws:
            self._tell(batch, rows, draws[0].epoch, of_batch=True)
        return batch

    def _repeat(self, draw: Draw) -> int:
        return draw.repeat if self.repeats is None else int(self.repeats[draw.row])

    def _tell(self, batch: Batch, rows: NDArray[np.int64], epoch: int, of_batch: bool) -> None:
        """Tell backgrounds masses of signals, of those in the batch or of all, other ones whenever one is drawn."""
        files: EventFiles = self.chosen.records
        event = batch["event_id"] ^ mix64(batch["repeat"])
        signal = files.scalar("class")[rows] == SIGNAL
        masses = np.column_stack([files.scalar(name)[rows] for name in MASSES])
        drawn = files.drawn(event.numpy(), epoch, self.seed, masses[signal] if of_batch else None)
        if drawn is None:
            return
        columns, told = batch["observables"], np.where(signal[:, None], masses, drawn).T
        hard = difficulty(*told)
        made = dict(zip(MASSES, told, strict=True)) | {HARDNESS: hard, DIFFICULTY: files.scalar(RELATIVE)[rows] * hard}
        for name in made.keys() & columns.keys():
            columns[name] = torch.from_numpy(np.ascontiguousarray(made[name]))


class HiggsDataModule(RowsDataModule):
    """Samples of signals at several masses, and of backgrounds, as `scripts/higgs.py` makes them.

    Args:
        data: A folder of samples, samples, files, a glob, or a list of these.
        targets: The column of the class.
        points: Masses (mH⁺, mA) in GeV of the signals that are used; null for those that the folder's samples.json
            calls trained or edge, without one for all.
        channels: Channels that are used, such as [1e2mu]; none named: all.
        backgrounds: Backgrounds that there have to be; their classes are the head's.
        batch_size: Events a batch, on each device.
        fold: Which of the folds is the test; the one behind it is for validation, the others train.
        fractions: Shares of training, validation and test where the split is event by event.
        seed: Decides the order, and the masses that backgrounds are told.
        split: By the column fold, or event by event.
        split_seed: Decides a split event by event, whatever the training's seed; null is 0, or for a checkpoint the
            one that it was trained with.
        balanced: Draw each mass point as often as the others, and each class as often.
        redraw: Tell backgrounds other masses of the signals each time they are drawn.
        shuffle_block: Neighbours in a file that are read together; null: all events are shuffled.
        memory_mb: Megabytes of objects of the files that were read last; null: all of them are kept.
        only: Names of files whose events alone are used.

    """

    system_name = "collider.higgs"

    def __init__(
        self,
        data: str | list[str] = "data/higgs",
        targets: tuple[str, ...] = ("class",),
        points: tuple[tuple[float, float], ...] | None = None,
        channels: tuple[str, ...] = (),
        backgrounds: tuple[str, ...] = ("nonprompt", "diboson", "ttx"),
        batch_size: int = 256,
        fold: int = 0,
        fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
        seed: int = 0,
        split: Literal["fold", "event"] = "fold",
        split_seed: int | None = None,
        balanced: bool = True,
        redraw: bool = True,
        shuffle_block: int | None = None,
        memory_mb: float | None = None,
        only: tuple[str, ...] = (),
        **rows: Any,
    ) -> None:
        unknown = next((name for name in backgrounds if name not in CLASSES or CLASSES[name] == SIGNAL), None)
        if unknown is not None:
            raise UserError(f"data.backgrounds names {unknown!r}: there are nonprompt, diboson and ttx")
        super().__init__(
            data,
            targets,
            batch_size=batch_size,
            fractions=fractions,
            seed=seed,
            split="event",
            split_seed=split_seed,
            **rows,
        )
        self.split_by = split
        self.points, self.channels, self.backgrounds = points, tuple(channels), tuple(backgrounds)
        self.fold, self.redraw = fold, redraw
        self.balanced, self.shuffle_block, self.only = balanced, shuffle_block, tuple(only)
        self.memory_mb = memory_mb

    def open(self) -> EventFiles:
        """Return the opened files."""
        wanted: list[Point] | None = points_to_train_on(self.data) if self.points is None else list(self.points)
        return EventFiles(event_paths(self.data), wanted, self.channels, self.only, self.memory_mb)

    def dataset(self, rows: NDArray[np.int64], training: bool = False) -> EventRows:
        """Return the batches of these rows."""
        return EventRows(self.chosen(rows), training and self.redraw, self.seed)

    def apparatus_facts(self) -> dict[str, Any]:
        """Return what of the search was used."""
        return {
            "points": [list(point) for point in self.records.points],
            "channels": list(self.channels),
            "fold": self.fold if self.split_by == FOLD else None,
            "positions": 1 + self.records.files[0].width,
        }

    def as_trained(self, facts: Mapping[str, Any], targets: tuple[str, ...]) -> RowsDataModule:
        """Return the files and the split that a checkpoint's facts of its data name: its points, channels and fold."""
        training = super().as_trained(facts, targets)
        assert isinstance(training, HiggsDataModule)
        training.points, training.channels = tuple(map(tuple, facts["points"])), tuple(facts["channels"])
        training.fold = self.fold if facts["fold"] is None else facts["fold"]
        return training

    @property
    def split(self) -> Split:
        """Row numbers of the three parts."""
        if self._split is None and self.split_by == FOLD:
            found = split_by_fold(self.records.scalar(FOLD), self.fold)
            paths = [file.path for file in self.records.files]
            self._split = within_files(found, self.records.starts, paths, self.only) if self.only else found
        return super().split

    def setup(self, stage: str) -> None:
        """Refuse a training without signals or without one of the backgrounds."""
        super().setup(stage)
        if stage == "fit":
            self._require_classes()

    def _require_classes(self) -> None:
        there = set(np.unique(self.records.scalar("class")[self.split.train]).tolist())
        for name in ("signal", *self.backgrounds):
            if CLASSES[name] not in there:
                what = "signal" if name == "signal" else f"background {name}"
                raise UserError(
                    f"there are no events of the {what} to train on in {self.data}: {MAKER} makes them"
                    + ("" if name == "signal" else ", or leave it out of data.backgrounds and of the head's classes")
                )

    def val_dataloader(self) -> ResumableLoader:
        """Return the batches of the validation split, balanced as those of the training where these are.

        Loss and calibration are then of the same mixture: probabilities of classes that are equally frequent.
        """
        if not self.balanced or self.overfit or not len(self.split.validation):
            return super().val_dataloader()
        rows = self.split.validation
        places, repeats = balanced(self.groups_of(rows), len(rows), np.random.default_rng(0))
        return self._loader(EventRows(self.chosen(rows[places]), False, 0, repeats), shuffle=False)

    def groups_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of what a balanced training draws equally often.

        Each signal point is one, and each background is as many as there are points: so every class is drawn equally
        often, and every point.
        """
        kinds = np.asarray(self.records.scalar("class")[rows], np.int64)
        masses = np.column_stack([self.records.scalar(name)[rows] for name in MASSES])
        signal = kinds == SIGNAL
        point = np.zeros(len(rows), np.int64)
        different, point[signal] = _numbered(masses[signal])
        for kind in np.unique(kinds[~signal]):
            point[kinds == kind] = np.arange((kinds == kind).sum()) % max(different, 1)
        return kinds * max(different, 1) + point

    def files_of_every_apparatus(self) -> list[int]:
        """Return the places of the files of backgrounds: a training of one mass point has them, too."""
        return self.records.shared()


def _numbered(masses: NDArray[np.float64]) -> tuple[int, NDArray[np.int64]]:
    """Return how many different rows there are, and which each is."""
    if not len(masses):
        return 0, np.zeros(0, np.int64)
    found, number = np.unique(masses, axis=0, return_inverse=True)
    return len(found), number.reshape(-1)


def split_by_fold(folds: NDArray[Any], test: int) -> Split:
    """Return the split whose test is one fold and whose validation is the one behind it.

    Raises UserError where there are too few folds, or not this one.
    """
    count = int(folds.max()) + 1 if len(folds) else 0
    if count < FEWEST_FOLDS or folds.min() < 0:
        raise UserError(
            f"the events have {count} folds, and a training, a validation and a test need {FEWEST_FOLDS}: make them "
            "with more, or use --data.split=event"
        )
    if not 0 <= test < count:
        raise UserError(f"data.fold is {test}, and the events have the folds 0 to {count - 1}")
    validation = (test + 1) % count
    parts = [np.flatnonzero(folds == test), np.flatnonzero(folds == validation)]
    return Split(np.flatnonzero((folds != test) & (folds != validation)), parts[1], parts[0])
