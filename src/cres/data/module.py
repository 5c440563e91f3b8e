"""The LightningDataModule: files of electrons → batches on the device."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from cres import schema
from cres.data.electrons import ElectronDataset
from cres.data.noise_of_rows import NoiseOfRows
from cres.data.noise_spectrum import spectra_for, spectrum_for
from cres.data.record_file import Rows
from cres.data.records import OPEN_FILES, Records, open_records, stated_ranges
from cres.data.stream import ElectronSource, StreamDataset, makes_on_device
from cres.data.tracks import TrackPieces, TrackWindows
from cres.data.windows import Band, Window, make_band, make_window
from cres.errors import UserError
from cres.stated import NOISE_TEMPERATURE
from cres.transforms.bands import is_band
from reconstruction.files import stored_config
from reconstruction.records.batch import Batch
from reconstruction.records.loader import ResumableLoader
from reconstruction.records.rows import STATED, RowsDataModule

APPARATUS = ("trap", "cavity", "loss")
"""Sections of a simulation's configuration in which a stream and the file beside it must agree."""


class CresDataModule(RowsDataModule):
    """Electrons of HDF5 files, split into training, validation and test.

    Noise is not added here: it is drawn on the device.

    Args:
        data: A file, an index of shards, a folder, a glob, or a list of these.
        targets: Columns to estimate. Records without truth columns are unlabelled: batches have no "targets".
        seed: Decides the order and the random windows.
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
        balanced: In training, draw each apparatus as often as the others: by the settings that the model is told, or
            else by file.
        shuffle_block: In training, read so many neighbouring electrons of a file together, of up to 32 places at a
            time, rather than shuffle all of them: for many files that do not fit in memory. Null shuffles all.
        open_files: Files that are open at once.
        memory_mb: Megabytes of series of the files that were read last, kept whole in memory; 0 for none.
        only: Names of files: all are split, and only the rows of these are used.

    """

    system_name = "cres"

    def __init__(
        self,
        data: str | list[str] = "data/cres.hdf5",
        targets: tuple[str, ...] = schema.DEFAULT_TARGETS,
        seed: int = 0,
        cache: Literal["none", "ram", "device"] = "none",
        window_start: int = 0,
        window_samples: int | None = None,
        random_window: bool = False,
        band_hz: tuple[float, float] | None = None,
        stream: ElectronSource | None = None,
        stream_electrons: int = 10_000,
        noise_spectrum: str | None = None,
        balanced: bool = False,
        shuffle_block: int | None = None,
        open_files: int = OPEN_FILES,
        memory_mb: float = 0.0,
        only: tuple[str, ...] = (),
        **rows: Any,
    ) -> None:
        super().__init__(data, targets, seed=seed, **rows)
        self.cache = cache
        self.window_start = window_start
        self.window_samples = window_samples
        self.random_window = random_window
        self.band_hz = band_hz
        self.stream = stream
        self.stream_electrons = stream_electrons
        self.noise_spectrum = noise_spectrum
        self.balanced, self.shuffle_block, self.only = balanced, shuffle_block, tuple(only)
        self.open_files, self.memory_mb = open_files, memory_mb

    def open(self) -> Records:
        """Return the opened files."""
        return open_records(self.data, self.open_files, self.memory_mb)

    def setting_names(self) -> tuple[str, ...]:
        """Return columns of one number a row, and what the configurations of the files' simulations say."""
        return (*self.records.scalar_columns, *self.records.stated)

    @property
    def bands(self) -> tuple[str, ...]:
        """Those of the settings that are densities of the noise, in bands."""
        return tuple(name for name in self.settings if is_band(name) and name not in self.records.columns)

    @property
    def told(self) -> Sequence[str]:
        """Settings, and the noise temperature where bands of the spectrum tell the noise."""
        return (*self.settings, NOISE_TEMPERATURE) if self.bands else self.settings

    def noise_of_rows(self) -> NoiseOfRows:
        """The spectrum of the noise of each row."""
        band, rate = self._band(), self.records.sampling_rate_hz
        shift_hz, rate = (0.0, rate) if band is None else (band.shift_hz(rate), band.rate_hz(rate))
        return NoiseOfRows.of(self.records, self.noise_spectrum, rate, shift_hz)

    def settings_of(self, names: Sequence[str], rows: Rows) -> NDArray[np.float64]:
        """Return settings of rows, (rows, setting), of columns and of the noise, NaN where they are not known."""
        bands = [place for place, name in enumerate(names) if is_band(name) and name not in self.records.columns]
        settings = np.empty((len(rows), len(names)))
        others = [place for place in range(len(names)) if place not in bands]
        settings[:, others] = super().settings_of([names[place] for place in others], rows)
        if bands:
            settings[:, bands] = self.noise_of_rows().bands([names[place] for place in bands], rows).numpy()
        return settings

    def setup(self, stage: str) -> None:
        """Open the files and decide the split; everything that is wrong with them is said here."""
        self._require_one_noise()
        self._window(random=False)
        self._band()
        if stage == "fit":
            self._require_stream(self.records)
        super().setup(stage)

    @property
    def endless(self) -> bool:
        """Whether the training electrons are made as they are needed."""
        return self.stream is not None

    def apparatus_facts(self) -> dict[str, Any]:
        """Return sampling rate, oscillator and samples of the batches, and the noise of their read-out."""
        records, band = self.records, self._band()
        rate, oscillator, samples = records.sampling_rate_hz, records.lo_frequency_hz, self._window(False).length
        shift_hz = 0.0
        if band is not None:
            shift_hz, samples = band.shift_hz(rate), band.bins
            oscillator, rate = oscillator + shift_hz, band.rate_hz(rate)
        return {
            "sampling_rate_hz": rate,
            "lo_frequency_hz": oscillator,
            "samples": samples,
            "noise_density_w_per_hz": records.noise_density_w_per_hz,
            "noise_rows": self._noise_rows(shift_hz),
            "stream": None if self.stream is None else type(self.stream).__name__,
            STATED: stated_ranges(records),
        }

    def _noise_rows(self, shift_hz: float) -> list[tuple[float, float]] | None:
        """Return the measured spectrum of the noise, frequency in Hz and density, after a shift of the oscillator."""
        nominal = self.records.noise_density_w_per_hz
        first, *others = (
            None if spectrum is None else spectrum.density_rows(nominal)
            for spectrum in spectra_for(self.records, self.noise_spectrum)
        )
        if first is None or any(rows != first for rows in others):  # of several each row says its own
            return None
        return [(frequency_hz - shift_hz, density) for frequency_hz, density in first]

    def training_set(self) -> tuple[Dataset[Batch], dict[str, Any]]:
        """Return the training split, shuffled, or fresh electrons of the stream."""
        if self.stream is None:
            return super().training_set()
        targets, observables = self._names()
        dataset = StreamDataset(self.stream, self.stream_electrons, self.seed, targets, observables)
        return dataset, {"shuffle": False, "equal": True, "from_host": not makes_on_device(self.stream)}

    def dataset(self, rows: Rows, training: bool = False) -> ElectronDataset:
        """Return the batches of these rows; in training the window may be random."""
        place = {"none": None, "ram": torch.device("cpu"), "device": self.device()}[self.cache]
        window = self._window(training and self.random_window)
        self._require_one_noise()
        noise = self.noise_of_rows() if self.bands else None
        return ElectronDataset(self.chosen(rows), window, self._band(), place, self._densities(), noise, self.bands)

    def _names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the targets and the observables of a batch that are columns, or stated by the files."""
        targets, observables = super()._names()
        return targets, tuple(name for name in observables if name not in self.bands)

    def _require_one_noise(self) -> None:
        """Raise UserError where files have different spectra beside them and the model is told none."""
        if not self.bands:
            spectrum_for(self.records, self.noise_spectrum)

    def _densities(self) -> NDArray[np.float64] | None:
        """Return the noise of each row, where rows differ or a model is told of which apparatus they are."""
        densities: NDArray[np.float64] = self.records.noise_densities()
        return densities if self.settings or np.ptp(densities) > 1e-9 * densities.max() else None

    def track_dataloader(self, rows: Rows) -> ResumableLoader:
        """Return the batches of all windows of `window_samples` of these rows, an electron's windows together.

        Raises UserError for records that are padded: a window may hold nothing of them.
        """
        self._require_whole()
        samples = self._window(random=False).length
        return self._loader(TrackWindows(self.chosen(rows), samples, self._band()), shuffle=False)

    def piece_dataloader(self, rows: Rows, samples: int) -> ResumableLoader:
        """Return the batches of these rows whose series are read a piece of so many samples at a time.

        Raises UserError where a band is to be cut from the records, which needs them as a whole, and for records that
        are padded.
        """
        self._require_whole()
        if self.band_hz is not None:
            raise UserError("data.band_hz cuts a band from the whole record, so it cannot be read in pieces: set null")
        dataset = TrackPieces(self.chosen(rows), self._window(False), samples)
        return self._loader(dataset, shuffle=False, from_host=False)

    def _require_whole(self) -> None:
        if self._densities() is not None:
            raise UserError(
                "long records are read window by window or in pieces only where all have one noise: read the files of "
                "each apparatus on their own"
            )
        if schema.VALID_SAMPLES in self.records.scalar_columns:
            raise UserError(
                f"the records have a column {schema.VALID_SAMPLES}, so that some are padded: long ones are read window "
                "by window or in pieces only where all of their samples were taken"
            )

    def _require_stream(self, records: Records) -> None:
        if self.stream is None:
            return
        if self.band_hz or self.window_samples or self.window_start or self.random_window:
            raise UserError("a stream of electrons comes as it is: window and band are for files")
        for name in ("sampling_rate_hz", "lo_frequency_hz", "samples"):
            ours, theirs = getattr(records, name), getattr(self.stream, name)
            if ours != theirs:
                raise UserError(f"{name} is {ours:g} in {self.data} and {theirs:g} in the stream of electrons")
        for file in records.files:
            key = _other_apparatus(self.stream, stored_config(file.attributes))
            if key is not None:
                raise UserError(
                    f"{key} is another one in {file.path} than in the stream of electrons: name the apparatus of the "
                    "file with --data.stream.init_args.config"
                )

    def _window(self, random: bool) -> Window:
        jitter_seed = self.seed if random else None
        return make_window(self.window_start, self.window_samples, self.records.samples, jitter_seed)

    def _band(self) -> Band | None:
        if self.band_hz is None:
            return None
        return make_band(self.band_hz, self._window(False).length, self.records.sampling_rate_hz)


def _other_apparatus(stream: ElectronSource, stated: Mapping[str, Any]) -> str | None:
    """Return a key in which the apparatus of a stream differs from the one that a file was simulated with."""
    to_dict = getattr(getattr(stream, "config", None), "to_dict", dict)
    made: Mapping[str, Any] = to_dict()
    for section in APPARATUS:
        ours, theirs = stated.get(section), made.get(section)
        if not isinstance(ours, Mapping) or not isinstance(theirs, Mapping):  # a file of another program, or a source
            continue
        for key in sorted(ours.keys() & theirs.keys()):
            if json.dumps(ours[key], sort_keys=True) != json.dumps(theirs[key], sort_keys=True):
                return f"{section}.{key}"
    return None
