"""The LightningDataModule: files of electrons → batches on the device."""

from __future__ import annotations

import hashlib
from typing import Any

import lightning
import numpy as np

from cres import schema
from cres.data.loader import ElectronDataset, KeyedSampler, ResumableLoader
from cres.data.records import Records, Rows, open_records
from cres.data.splits import Split, split_by_event
from cres.errors import UserError, nearest


class CresDataModule(lightning.LightningDataModule):
    """Electrons of HDF5 files, split into training, validation and test by event.

    Noise is not added here: it is drawn on the device.

    Args:
        data: A file, a folder, a glob, or a list of these.
        targets: Columns to estimate. Records without them are unlabelled: batches have no "targets".
        observables: Further number columns that come with each batch; None for all others.
        batch_size: Electrons a batch, on each device.
        fractions: Shares of training, validation and test.
        seed: Decides the split and the order.
        workers: Processes that read ahead.

    """

    def __init__(
        self,
        data: str | list[str] = "data/cres.hdf5",
        targets: tuple[str, ...] = schema.DEFAULT_TARGETS,
        observables: tuple[str, ...] | None = None,
        batch_size: int = 64,
        fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
        seed: int = 0,
        workers: int = 0,
    ) -> None:
        super().__init__()
        self.data = data
        self.targets = tuple(targets)
        self.observables = observables
        self.batch_size = batch_size
        self.fractions = fractions
        self.seed = seed
        self.workers = workers
        self._records: Records | None = None
        self._split: Split | None = None

    @property
    def records(self) -> Records:
        """The opened files."""
        if self._records is None:
            self._records = open_records(self.data)
            self._require_columns(self._records)
        return self._records

    @property
    def split(self) -> Split:
        """Row numbers of the three parts."""
        if self._split is None:
            records = self.records
            self._split = split_by_event(records.event_ids, records.content_hashes(), self.fractions, self.seed)
        return self._split

    @property
    def labelled(self) -> bool:
        """Whether the files hold all targets."""
        return all(name in self.records.columns for name in self.targets)

    def setup(self, stage: str) -> None:
        """Open the files and decide the split; everything that is wrong with them is said here."""
        self.split  # noqa: B018

    def _require_columns(self, records: Records) -> None:
        for name in self.observables or ():
            if name not in records.scalar_columns:
                raise UserError(f"the data have no column {name}{nearest(name, records.scalar_columns)}")
        missing = [name for name in self.targets if name not in records.scalar_columns]
        if missing and (len(missing) < len(self.targets) or any(t in records.columns for t in schema.TRUTH_COLUMNS)):
            raise UserError(f"the data have no target {missing[0]}{nearest(missing[0], records.scalar_columns)}")

    def file_facts(self) -> dict[str, Any]:
        """Return what a checkpoint remembers of the data: apparatus, columns, and which electrons were for the test."""
        records, split = self.records, self.split
        return {
            "sampling_rate_hz": records.sampling_rate_hz,
            "lo_frequency_hz": records.lo_frequency_hz,
            "samples": records.samples,
            "columns": list(records.columns),
            "files": [str(file.path) for file in records.files],
            "split": {
                "seed": self.seed,
                "fractions": list(self.fractions),
                "train": len(split.train),
                "validation": len(split.validation),
                "test": len(split.test),
                "train_events": self._hash(split.train),
                "test_events": self._hash(split.test),
            },
        }

    def _hash(self, rows: Rows) -> str:
        events = self.records.event_ids[rows].copy()
        events.sort()
        return hashlib.sha256(events.tobytes()).hexdigest()

    def train_dataloader(self) -> ResumableLoader:
        """Return the shuffled batches of the training split."""
        return self._loader(self._dataset(self.split.train), shuffle=True)

    def val_dataloader(self) -> ResumableLoader:
        """Return the batches of the validation split."""
        return self._loader(self._dataset(self.split.validation), shuffle=False)

    def test_dataloader(self) -> ResumableLoader:
        """Return the batches of the test split."""
        return self._loader(self._dataset(self.split.test), shuffle=False)

    def predict_dataloader(self) -> ResumableLoader:
        """Return the batches of all electrons, in the order of the files."""
        return self._loader(self._dataset(np.arange(len(self.records))), shuffle=False)

    def _dataset(self, rows: Rows) -> ElectronDataset:
        targets = self.targets if self.labelled else ()
        observables = self.observables
        if observables is None:
            held = (*targets, schema.EVENT_ID, schema.CONTENT_HASH)
            observables = tuple(name for name in self.records.scalar_columns if name not in held)
        return ElectronDataset(self.records, rows, targets, tuple(observables))

    def _loader(self, dataset: ElectronDataset, shuffle: bool) -> ResumableLoader:
        trainer = self.trainer
        rank, world = (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)
        sampler = KeyedSampler(len(dataset), self.seed, shuffle, rank, world)
        return ResumableLoader(dataset, self.batch_size, sampler, num_workers=self.workers)
