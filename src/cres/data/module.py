"""The LightningDataModule: files of electrons → batches on the device."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import lightning
import numpy as np
import torch
from torch.utils.data import Dataset

from cres import schema
from cres.data.loader import Batch, Chosen, ElectronDataset, KeyedSampler, ResumableLoader
from cres.data.noise_spectrum import spectrum_for
from cres.data.reading_ahead import begin_reading, require_files
from cres.data.records import Records, Rows, open_records
from cres.data.splits import Split, split_by_event, split_by_file
from cres.data.stream import ElectronSource, StreamDataset, makes_on_device
from cres.data.tables import range_problems
from cres.data.tracks import TrackPieces, TrackWindows
from cres.data.windows import Band, Window, make_band, make_window
from cres.errors import UserError, nearest


class CresDataModule(lightning.LightningDataModule):
    """Electrons of HDF5 files, split into training, validation and test.

    Noise is not added here: it is drawn on the device.

    Args:
        data: A file, an index of shards, a folder, a glob, or a list of these.
        targets: Columns to estimate. Records without truth columns are unlabelled: batches have no "targets".
        observables: Further number columns that come with each batch; null for all others.
        batch_size: Electrons a batch, on each device.
        fractions: Shares of training, validation and test.
        seed: Decides the order and the random windows.
        split: Decided electron by electron, or whole files together.
        split_seed: Decides the split, whatever the training's seed, so that trainings are judged on the same electrons;
            null is 0, or for a checkpoint the one that it was trained with.
        workers: Processes that read ahead.
        start_method: How these start (null: as Python does by default).
        cache: Keep the series: in files ("none"), in memory ("ram"), or on the training device ("device").
        window_start: First sample that is read.
        window_samples: Samples that are read; null for all.
        random_window: In training, begin at a random sample, anew in each epoch (labels remain those of the start).
        band_hz: Keep this band only, before batching, or a little more where its FFT would be slow; sampling rate and
            oscillator change with it.
        stream: A source of electrons for an endless training set; the data then serve for scaling and judging.
            SimulatedElectrons makes them on processors, DeviceElectrons where its `device` is.
        stream_electrons: Electrons of the source that make an epoch.
        noise_spectrum: Measured spectrum of the noise (CSV) that training and judging add; white for none; by default
            DATA.noise.csv beside the data, where it is there.

    """

    def __init__(
        self,
        data: str | list[str] = "data/cres.hdf5",
        targets: tuple[str, ...] = schema.DEFAULT_TARGETS,
        observables: tuple[str, ...] | None = None,
        batch_size: int = 64,
        fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
        seed: int = 0,
        split: Literal["event", "file"] = "event",
        split_seed: int | None = None,
        workers: int = 0,
        start_method: Literal["fork", "spawn", "forkserver"] | None = None,
        cache: Literal["none", "ram", "device"] = "none",
        window_start: int = 0,
        window_samples: int | None = None,
        random_window: bool = False,
        band_hz: tuple[float, float] | None = None,
        stream: ElectronSource | None = None,
        stream_electrons: int = 10_000,
        noise_spectrum: str | None = None,
    ) -> None:
        super().__init__()
        self.data = data
        self.targets = _regressable(targets)
        self.observables = observables
        self.batch_size = batch_size
        self.fractions = fractions
        self.seed = seed
        self.split_by = split
        self.split_seed = split_seed
        self.workers = workers
        self.start_method = start_method
        self.cache = cache
        self.window_start = window_start
        self.window_samples = window_samples
        self.random_window = random_window
        self.band_hz = band_hz
        self.stream = stream
        self.stream_electrons = stream_electrons
        self.noise_spectrum = noise_spectrum
        self.overfit = False
        """Whether the training electrons come in one order, and also judge: a trial on a few batches."""
        self._records: Records | None = None
        self._split: Split | None = None

    @property
    def records(self) -> Records:
        """The opened files. Raises UserError where they do not hold what was asked for."""
        if self._records is None:
            records = open_records(self.data)
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
        return self._split

    def split_as(self, facts: Mapping[str, Any]) -> None:
        """Split with the seed in the facts of a checkpoint's data, unless a seed was asked for."""
        if self.split_seed is None and "split" in facts:
            self.split_seed, self._split = int(facts["split"]["seed"]), None

    @property
    def labelled(self) -> bool:
        """Whether the files hold all targets."""
        return all(name in self.records.columns for name in self.targets)

    def setup(self, stage: str) -> None:
        """Open the files and decide the split; everything that is wrong with them is said here."""
        self._window(random=False)
        self._band()
        if stage != "fit":  # who only reconstructs has no use for a stream, and may read other records
            return
        self._require_stream(self.records)
        if self.stream is None and not len(self.split.train):
            raise UserError(f"the training split of {self.data} is empty: give --data.fractions a larger first number")

    def source_config(self) -> dict[str, Any]:
        """Return the configuration that made the records (a simulation's), where their files carry it; else {}."""
        stored: dict[str, Any] = json.loads(str(self.records.files[0].attributes.get("config", "{}")))
        return stored

    def _noise_rows(self, shift_hz: float) -> list[tuple[float, float]] | None:
        """Return the measured spectrum of the noise, frequency in Hz and density, after a shift of the oscillator."""
        spectrum = spectrum_for(self.records, self.noise_spectrum)
        if spectrum is None:
            return None
        rows = spectrum.density_rows(self.records.noise_density_w_per_hz)
        return [(frequency_hz - shift_hz, density) for frequency_hz, density in rows]

    def file_facts(self) -> dict[str, Any]:
        """Return what a checkpoint remembers of the data: apparatus, columns, and which electrons were for the test.

        Sampling rate, oscillator and samples are those of the batches.
        """
        records, split, band = self.records, self.split, self._band()
        rate, oscillator, samples = records.sampling_rate_hz, records.lo_frequency_hz, self._window(False).length
        if band is not None:
            oscillator, samples = oscillator + band.shift_hz(rate), band.bins
            rate = band.rate_hz(rate)
        return {
            "sampling_rate_hz": rate,
            "lo_frequency_hz": oscillator,
            "samples": samples,
            "noise_density_w_per_hz": records.noise_density_w_per_hz,
            "noise_rows": self._noise_rows(0.0 if band is None else band.shift_hz(records.sampling_rate_hz)),
            "columns": list(records.columns),
            "files": [str(file.path) for file in records.files],
            "stream": None if self.stream is None else type(self.stream).__name__,
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
        """Return the shuffled batches of the training split, or fresh batches of the stream."""
        if self.stream is None:
            return self._loader(self._dataset(self.split.train, self.random_window), shuffle=not self.overfit)
        targets, observables = self._names()
        dataset = StreamDataset(self.stream, self.stream_electrons, self.seed, targets, observables)
        return self._loader(dataset, shuffle=False, equal=True, from_host=not makes_on_device(self.stream))

    def val_dataloader(self) -> ResumableLoader:
        """Return the batches of the validation split."""
        rows = self.split.train if self.overfit else self.split.validation
        return self._loader(self._dataset(rows), shuffle=False)

    def test_dataloader(self) -> ResumableLoader:
        """Return the batches of the test split."""
        return self._loader(self._dataset(self.split.test), shuffle=False)

    def predict_dataloader(self) -> ResumableLoader:
        """Return the batches of all electrons, in the order of the files."""
        return self.rows_dataloader(np.arange(len(self.records)))

    def rows_dataloader(self, rows: Rows) -> ResumableLoader:
        """Return the batches of these rows, in their order."""
        return self._loader(self._dataset(rows), shuffle=False)

    def track_dataloader(self, rows: Rows) -> ResumableLoader:
        """Return the batches of all windows of `window_samples` of these rows, an electron's windows together."""
        samples = self._window(random=False).length
        return self._loader(TrackWindows(self._chosen(rows), samples, self._band()), shuffle=False)

    def piece_dataloader(self, rows: Rows, samples: int) -> ResumableLoader:
        """Return the batches of these rows whose series are read a piece of so many samples at a time.

        Raises UserError where a band is to be cut from the records: that needs them as a whole.
        """
        if self.band_hz is not None:
            raise UserError("data.band_hz cuts a band from the whole record, so it cannot be read in pieces: set null")
        dataset = TrackPieces(self._chosen(rows), self._window(False), samples)
        return self._loader(dataset, shuffle=False, from_host=False)

    def _require_columns(self, records: Records) -> None:
        for name in self.observables or ():
            if name not in records.scalar_columns:
                raise UserError(f"the data have no column {name}{nearest(name, records.scalar_columns)}")
        missing = [name for name in self.targets if name not in records.scalar_columns]
        if missing and (len(missing) < len(self.targets) or any(t in records.columns for t in schema.TRUTH_COLUMNS)):
            raise UserError(f"the data have no target {missing[0]}{nearest(missing[0], records.scalar_columns)}")
        for name in () if missing else self.targets:
            _require_plausible(records, name)

    def _require_stream(self, records: Records) -> None:
        if self.stream is None:
            return
        if self.band_hz or self.window_samples or self.window_start or self.random_window:
            raise UserError("a stream of electrons comes as it is: window and band are for files")
        for name in ("sampling_rate_hz", "lo_frequency_hz", "samples"):
            ours, theirs = getattr(records, name), getattr(self.stream, name)
            if ours != theirs:
                raise UserError(f"{name} is {ours:g} in {self.data} and {theirs:g} in the stream of electrons")

    def _hash(self, rows: Rows) -> str:
        return hashlib.sha256(np.sort(self.records.event_ids[rows]).tobytes()).hexdigest()

    def _window(self, random: bool) -> Window:
        jitter_seed = self.seed if random else None
        return make_window(self.window_start, self.window_samples, self.records.samples, jitter_seed)

    def _band(self) -> Band | None:
        if self.band_hz is None:
            return None
        return make_band(self.band_hz, self._window(False).length, self.records.sampling_rate_hz)

    def _names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the targets and the observables of a batch."""
        targets = self.targets if self.labelled else ()
        if self.observables is not None:
            return targets, tuple(self.observables)
        held = (*targets, schema.EVENT_ID, schema.CONTENT_HASH)
        return targets, tuple(name for name in self.records.scalar_columns if name not in held)

    def _chosen(self, rows: Rows) -> Chosen:
        return Chosen(self.records, rows, *self._names())

    def _dataset(self, rows: Rows, random_window: bool = False) -> ElectronDataset:
        place = {"none": None, "ram": torch.device("cpu"), "device": self._device()}[self.cache]
        return ElectronDataset(self._chosen(rows), self._window(random_window), self._band(), place)

    def _device(self) -> torch.device:
        return torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device

    def _loader(
        self, dataset: Dataset[Batch], shuffle: bool, equal: bool | None = None, from_host: bool = True
    ) -> ResumableLoader:
        trainer = self.trainer
        rank, world = (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)
        sampler = KeyedSampler(len(dataset), self.seed, shuffle, rank, world, equal)  # type: ignore[arg-type]
        from_host = from_host and self.cache != "device"
        workers = self.workers if from_host else 0
        require_files(workers)
        return ResumableLoader(
            dataset,
            self.batch_size,
            sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            worker_init_fn=begin_reading if workers else None,
            pin_memory=self._device().type == "cuda" and from_host,
            multiprocessing_context=self.start_method if workers else None,
        )


def _regressable(targets: Sequence[str]) -> tuple[str, ...]:
    """Return the targets. Raises UserError where there are none, one stands twice or names an electron."""
    if not targets:
        raise UserError("data.targets is empty: name at least one column to regress, such as [energy_eV]")
    twice = next((name for place, name in enumerate(targets) if name in targets[:place]), None)
    if twice is not None:
        raise UserError(f"data.targets names {twice} twice: name each column once")
    names = [name for name in targets if name in (schema.EVENT_ID, schema.CONTENT_HASH)]
    if names:
        raise UserError(f"data.targets holds {names[0]}, which names an electron and measures nothing: leave it out")
    return tuple(targets)


def _require_plausible(records: Records, name: str) -> None:
    """Raise UserError where a target is not finite, or not plausible in its unit: a network would learn nothing."""
    values = records.scalar(name)
    bad = [(int(row), "holds NaN or infinity") for row in np.flatnonzero(~np.isfinite(values))[:1]]
    bad += [(problem.row or 0, problem.what) for problem in range_problems(name, values)[:1]]
    for row, what in bad:
        raise UserError(f"{records.describe(row)}, column {name}: {what}")
