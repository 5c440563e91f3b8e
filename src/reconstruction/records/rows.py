"""The LightningDataModule of any system: rows of files → batches on the device, split, ordered and resumable.

What a row is, and how batches are read, is a system's own: it opens its files as a `RowTable` and makes datasets of
rows. Everything else is the same for all: targets and observables by name, the split, the order keyed on a seed, the
processes that read ahead, and what a checkpoint remembers.
"""

from __future__ import annotations

import copy
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from reconstruction.errors import UserError, nearest
from reconstruction.files import stored_config
from reconstruction.records.batch import Batch
from reconstruction.records.loader import Chosen, KeyedSampler, ResumableLoader
from reconstruction.records.mixing import Blocks
from reconstruction.records.reading_ahead import begin_reading, require_files
from reconstruction.records.splits import Split, require_fractions, split_by_event, split_by_file, within_files
from reconstruction.system import Column, System, find_system

Rows = NDArray[np.int64]
STATED = "stated"
"""Fact of data: lowest and highest value of what their files state of all their rows, by name."""
IDENTITIES = ("event_id", "content_hash")
"""Columns that name a row and measure nothing."""


@runtime_checkable
class RowTable(Protocol):
    """Rows of one file or of several as one: what any system's files can be asked for."""

    files: Sequence[Any]
    """Each with its `path` and its `attributes`."""
    columns: Sequence[str]
    scalar_columns: Sequence[str]
    """Those that hold one number a row."""
    starts: NDArray[np.int64]
    """First row of each file, and the number of all rows."""

    def __len__(self) -> int: ...

    @property
    def event_ids(self) -> Rows:
        """Identity of each row."""
        ...

    def content_hashes(self) -> Rows:
        """Return a hash of each row's inputs, by which it is known in whatever file it comes again."""
        ...

    def scalar(self, name: str) -> NDArray[Any]:
        """Return one whole column."""
        ...

    def describe(self, row: int) -> str:
        """Say which row of which file this is."""
        ...


class RowsDataModule(lightning.LightningDataModule, ABC):
    """Rows of files, split into training, validation and test.

    A subclass opens its files (`open`) and makes datasets of rows (`dataset`); `apparatus_facts` is what a model is
    built with. Its constructor takes what is its own, and hands on `**rows`: the command line finds those options and
    their words here.

    Args:
        data: A file, a folder of them, a glob, or a list of these.
        targets: Columns to estimate.
        observables: Further number columns that come with each batch; null for all others.
        batch_size: Rows a batch, on each device.
        fractions: Shares of training, validation and test.
        seed: Decides the order.
        split: Event by event, or whole files together.
        split_seed: Decides the split, whatever the training's seed, so that trainings are judged on the same rows; null
            is 0, or for a checkpoint the one that it was trained with.
        workers: Processes that read ahead.
        start_method: How these start (null: as Python does by default).

    """

    system_name: ClassVar[str]
    cache: Literal["none", "ram", "device"] = "none"
    """Where the inputs are kept."""
    settings: tuple[str, ...] = ()
    """Columns that the model is told of the apparatus of each row: every batch holds them."""
    balanced: bool = False
    """Whether a training draws each apparatus as often as the others."""
    shuffle_block: int | None = None
    """Neighbouring rows of a file that a training reads together; None where all rows are shuffled."""
    only: tuple[str, ...] = ()
    """Names of files whose rows alone are used, after all of them were split."""

    def __init__(
        self,
        data: str | list[str],
        targets: tuple[str, ...],
        observables: tuple[str, ...] | None = None,
        batch_size: int = 64,
        fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
        seed: int = 0,
        split: Literal["event", "file"] = "event",
        split_seed: int | None = None,
        workers: int = 0,
        start_method: Literal["fork", "spawn", "forkserver"] | None = None,
    ) -> None:
        super().__init__()
        self.data = data
        self.targets = _regressable(targets, self.system)
        self.observables = observables
        self.batch_size = batch_size
        require_fractions(fractions)
        self.fractions = fractions
        self.seed = seed
        self.split_by: str = split
        self.split_seed = split_seed
        self.workers = workers
        self.start_method = start_method
        self.overfit = False
        """Whether the training rows come in one order, and also judge: a trial on a few batches."""
        self._records: Any = None
        self._split: Split | None = None

    # What a system says ------------------------------------------------------------------------------------------

    @abstractmethod
    def open(self) -> Any:
        """Return the opened files, a `RowTable`. Raises UserError where they cannot be read."""

    @abstractmethod
    def dataset(self, rows: Rows, training: bool = False) -> Dataset[Batch]:
        """Return the batches of these rows; those of a training may differ from epoch to epoch."""

    def apparatus_facts(self) -> dict[str, Any]:
        """Return what is known of how the rows were taken, in plain types: a model's facts, and what must agree."""
        return {}

    def training_set(self) -> tuple[Dataset[Batch], dict[str, Any]]:
        """Return what a training draws from, and how the loader serves it (shuffle, equal, from_host, batch_size)."""
        return self.dataset(self.split.train, training=True), {"shuffle": not self.overfit}

    @property
    def endless(self) -> bool:
        """Whether the training rows are made as they are needed, and the files only scale and judge."""
        return False

    # The same for all --------------------------------------------------------------------------------------------

    @property
    def system(self) -> System:
        """The system that these are rows of."""
        return find_system(self.system_name)

    @property
    def records(self) -> Any:
        """The opened files, a `RowTable`. Raises UserError where they do not hold what was asked for."""
        if self._records is None:
            records = self.open()
            self._require_columns(records)
            self._records = records
        return self._records

    @property
    def split(self) -> Split:
        """Row numbers of the three parts."""
        if self._split is None:
            records = self.records
            identities = (records.event_ids, records.content_hashes(), self.fractions, self.split_seed or 0)
            if self.split_by == "file":
                names = [str(file.path) for file in records.files]
                self._split = split_by_file(records.starts, *identities, names)
            else:
                self._split = split_by_event(*identities)
            if self.only:
                self._split = within_files(
                    self._split, records.starts, [file.path for file in records.files], self.only
                )
        return self._split

    def setting_names(self) -> Sequence[str]:
        """Return the names of what rows can tell of their apparatus: columns of numbers, and what a system derives."""
        names: Sequence[str] = self.records.scalar_columns
        return names

    @property
    def told(self) -> Sequence[str]:
        """Names of what a model knows through its settings: them, and what follows from them in a system."""
        return self.settings

    def settings_of(self, names: Sequence[str], rows: Rows) -> NDArray[np.float64]:
        """Return settings of rows, (rows, setting), NaN where they are not known.

        Raises UserError for a column that is not there or holds no numbers, and for infinite ones.
        """
        columns = np.empty((len(rows), len(names)))
        for column, name in zip(columns.T, names, strict=True):
            column[:] = self._setting(name)[rows]
            infinite = np.flatnonzero(np.isinf(column))
            if len(infinite):
                where = self.records.describe(int(rows[infinite[0]]))
                raise UserError(f"{where}, column {name}: a setting is a number, or NaN (not known), not infinite")
        return columns

    def _setting(self, name: str) -> NDArray[Any]:
        known = self.setting_names()
        if name in known:
            values: NDArray[Any] = self.records.scalar(name)
            if values.dtype.kind in "biuf":
                return values
        if name in self.records.columns:
            raise UserError(
                f"{self.records.files[0].path} holds {name} as texts or arrays, and a setting (model.condition) is one "
                "number a row"
            )
        raise UserError(
            f"the data have no column {name!r}, which model.condition names{nearest(name, known)}: give them one, with "
            "NaN where it is not known"
        )

    def groups_of(self, rows: Rows) -> Rows:
        """Return the number of the apparatus of each row: by its settings, without any by its file."""
        if not self.settings:
            return np.searchsorted(self.records.starts, rows, side="right") - 1
        settings = np.nan_to_num(self.settings_of(self.settings, rows), nan=np.inf)
        return np.unique(settings, axis=0, return_inverse=True)[1].reshape(-1)

    def files_of_every_apparatus(self) -> Sequence[int]:
        """Return the places of files that belong to every apparatus, which a training of one alone has, too; none."""
        return ()

    def split_as(self, facts: Mapping[str, Any]) -> None:
        """Split with the seed in the facts of a checkpoint's data, unless a seed was asked for."""
        if self.split_seed is None and "split" in facts:
            self.split_seed, self._split = int(facts["split"]["seed"]), None

    def as_trained(self, facts: Mapping[str, Any], targets: tuple[str, ...]) -> RowsDataModule:
        """Return the files and the split that a checkpoint's facts of its data name, read as these are."""
        training = copy.copy(self)
        training.data, training.targets = list(facts["files"]), targets
        training.observables, training.workers = None, 0
        training.split_by, training.split_seed = facts["split"]["by"], facts["split"]["seed"]
        training.fractions = tuple(facts["split"]["fractions"])
        training._records = training._split = None
        return training

    @property
    def labelled(self) -> bool:
        """Whether the files hold all targets."""
        return all(name in self.records.columns for name in self.targets)

    def setup(self, stage: str) -> None:
        """Open the files and decide the split; everything that is wrong with them is said here."""
        self.settings_of(self.settings, np.zeros(0, np.int64))
        # who only reconstructs may read rows that none is trained on
        if stage == "fit" and not self.endless and not len(self.split.train):
            raise UserError(f"the training split of {self.data} is empty: give --data.fractions a larger first number")

    def source_config(self) -> dict[str, Any]:
        """Return the configuration that made the rows (a simulation's), where their files carry it; else {}."""
        return stored_config(self.records.files[0].attributes)

    def file_facts(self) -> dict[str, Any]:
        """Return what a checkpoint remembers of the data: apparatus, columns, and which rows were for the test."""
        records, split = self.records, self.split
        return {
            **self.apparatus_facts(),
            "columns": list(records.columns),
            "files": [str(file.path) for file in records.files],
            "split": {
                "by": self.split_by,
                "seed": self.split_seed or 0,
                "fractions": list(self.fractions),
                "train": len(split.train),
                "validation": len(split.validation),
                "test": len(split.test),
                "train_events": self._hash(split.train),
                "test_events": self._hash(split.test),
            },
        }

    def train_dataloader(self) -> ResumableLoader:
        """Return the batches that a training draws."""
        dataset, how = self.training_set()
        loader = self._loader(dataset, **how)
        if not self.endless and (self.balanced or self.shuffle_block):
            rows = self.split.train
            owner = np.searchsorted(self.records.starts, rows, side="right") - 1
            blocks = None if self.shuffle_block is None else Blocks(owner, self.shuffle_block)
            loader.mix(self.groups_of(rows) if self.balanced else None, blocks)
        return loader

    def val_dataloader(self) -> ResumableLoader:
        """Return the batches of the validation split."""
        return self.rows_dataloader(self.split.train if self.overfit else self.split.validation)

    def test_dataloader(self) -> ResumableLoader:
        """Return the batches of the test split."""
        return self.rows_dataloader(self.split.test)

    def predict_dataloader(self) -> ResumableLoader:
        """Return the batches of all rows, in the order of the files."""
        return self.rows_dataloader(np.arange(len(self.records)))

    def rows_dataloader(self, rows: Rows) -> ResumableLoader:
        """Return the batches of these rows, in their order."""
        return self._loader(self.dataset(rows), shuffle=False)

    def chosen(self, rows: Rows) -> Chosen:
        """Return rows with the columns that go into a batch: targets where all are there, and observables."""
        return Chosen(self.records, rows, *self._names())

    def device(self) -> torch.device:
        """Return the device that is trained on."""
        return torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device

    def _names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the targets and the observables of a batch."""
        targets = self.targets if self.labelled else ()
        if self.observables is not None:
            observables = tuple(self.observables)
        else:
            held = (*targets, *IDENTITIES)
            observables = tuple(name for name in self.records.scalar_columns if name not in held)
        return targets, (*observables, *(name for name in self.settings if name not in observables))

    def _require_columns(self, records: Any) -> None:
        for name in self.observables or ():
            if name not in records.scalar_columns:
                raise UserError(f"the data have no column {name}{nearest(name, records.scalar_columns)}")
        missing = [name for name in self.targets if name not in records.scalar_columns]
        if missing and (len(missing) < len(self.targets) or any(t in records.columns for t in self.system.truths)):
            raise UserError(f"the data have no target {missing[0]}{nearest(missing[0], records.scalar_columns)}")
        for name in () if missing else self.targets:
            require_plausible(records, name, self.system.columns)

    def _hash(self, rows: Rows) -> str:
        return hashlib.sha256(np.sort(self.records.event_ids[rows]).tobytes()).hexdigest()

    def _loader(
        self,
        dataset: Dataset[Batch],
        shuffle: bool,
        equal: bool | None = None,
        from_host: bool = True,
        batch_size: int | None = None,
    ) -> ResumableLoader:
        trainer = self.trainer
        rank, world = (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)
        sampler = KeyedSampler(len(dataset), self.seed, shuffle, rank, world, equal)  # type: ignore[arg-type]
        from_host = from_host and self.cache != "device"
        workers = self.workers if from_host else 0
        require_files(workers)
        return ResumableLoader(
            dataset,
            batch_size or self.batch_size,
            sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            worker_init_fn=begin_reading if workers else None,
            pin_memory=self.device().type == "cuda" and from_host,
            multiprocessing_context=self.start_method if workers else None,
        )


def _regressable(targets: Sequence[str], system: System) -> tuple[str, ...]:
    """Return the targets. Raises UserError where there are none, one stands twice or names a row."""
    if not targets:
        example = next(iter(system.truths), "energy_eV")
        raise UserError(f"data.targets is empty: name at least one column to regress, such as [{example}]")
    twice = next((name for place, name in enumerate(targets) if name in targets[:place]), None)
    if twice is not None:
        raise UserError(f"data.targets names {twice} twice: name each column once")
    names = [name for name in targets if name in IDENTITIES]
    if names:
        raise UserError(f"data.targets holds {names[0]}, which names {system.one} and measures nothing: leave it out")
    return tuple(targets)


def require_plausible(records: Any, name: str, columns: Mapping[str, Column]) -> None:
    """Raise UserError where a target is not finite, or not plausible in its unit: a network would learn nothing."""
    values = records.scalar(name)
    bad = [(int(row), "holds NaN or infinity") for row in np.flatnonzero(~np.isfinite(values))[:1]]
    if name in columns:
        bad += columns[name].implausible(values)[:1]
    for row, what in bad:
        raise UserError(f"{records.describe(row)}, column {name}: {what}")
