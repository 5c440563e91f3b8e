"""The records that estimators see: the data's electrons with the frozen noise of the network's own test."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex
from numpy.typing import NDArray
from torch import Tensor

from cres import schema
from cres.data.noise_spectrum import spectrum_for
from cres.data.records import Records, open_records
from cres.errors import UserError
from cres.estimation.noise import Coloured, NoiseModel, White, relative_power
from cres.progress import progress_bar
from cres.transforms.coloured import ColouredNoise
from cres.transforms.noise import WhiteNoise, channel_std_volt
from reconstruction.random.keyed import FROZEN_EPOCH, KeyedRandom
from reconstruction.random.transforms import RandomTransform
from reconstruction.records.splits import Split, split_by_event

Rows = NDArray[np.int64]
# As the data module's defaults: the same electrons are for training and for the test.
FRACTIONS = (0.8, 0.1, 0.1)
SPLITS = ("test", "validation", "train", "all")


class Recordings:
    """Electrons of data files, with noise keyed by event: what the training room draws for validation and test.

    data: a file, folder, glob or list; noise_scale multiplies the nominal noise power (0: the records carry their own);
    noise_spectrum: a table that colours the noise, `white` for none, by default the table beside the data; noise_seed:
    the model's seed; split_seed and fractions: those of the data module; density_w_per_hz: of the nominal noise (None:
    what the files' simulation says of its read-out).
    """

    def __init__(
        self,
        data: str | list[str],
        noise_scale: float = 1.0,
        noise_seed: int = 0,
        split_seed: int = 0,
        fractions: tuple[float, float, float] = FRACTIONS,
        noise_spectrum: str | None = None,
        density_w_per_hz: float | None = None,
    ) -> None:
        if noise_scale < 0:
            raise UserError(f"the noise scale is {noise_scale}, but must be 0 or more")
        self.records: Records = open_records(data)
        if not self.records.one_apparatus:
            raise UserError(
                f"{self.records.files[0].path} and others are of several apparatus, and an estimator knows one: "
                "estimate the files of each on their own (a folder of tables is read as one)"
            )
        self.noise_scale, self.noise_seed = noise_scale, noise_seed
        self.split: Split = split_by_event(self.records.event_ids, self.records.content_hashes(), fractions, split_seed)
        density = self.records.noise_density_w_per_hz if density_w_per_hz is None else density_w_per_hz
        rate = self.records.sampling_rate_hz
        self._std_volt = channel_std_volt(density, rate)
        self.spectrum = spectrum_for(self.records, noise_spectrum)
        self._noise: RandomTransform = (
            WhiteNoise(rate, density)
            if self.spectrum is None
            else ColouredNoise(rate, self.spectrum.density_rows(density))
        )

    @property
    def noise_model(self) -> NoiseModel:
        """What the estimators know of the noise: that of the records where none is injected."""
        std_volt = self._std_volt * math.sqrt(self.noise_scale or 1.0)
        if self.spectrum is None:
            return White(std_volt)
        relative = relative_power(self.spectrum, self.records.samples, self.records.sampling_rate_hz)
        return Coloured(std_volt * relative.sqrt())

    @property
    def noise_std_volt(self) -> float:
        """Standard deviation of the injected noise, of I and of Q."""
        return self._std_volt * math.sqrt(self.noise_scale)

    def rows(self, split: str, limit: int | None = None) -> Rows:
        """Return the row numbers of a split, of `SPLITS`; the first `limit` of them."""
        rows = np.arange(len(self.records)) if split == "all" else getattr(self.split, split)
        if not len(rows):
            raise UserError(f"the {split} split of {self.records.files[0].path} is empty: name more electrons")
        return rows if limit is None else rows[:limit]

    def series(self, rows: Rows) -> Complex[Tensor, "batch time"]:
        """Return noisy complex volts (batch, time), complex128; noise is added in float32, as for a network."""
        volts = torch.from_numpy(self.records.read_series(rows))
        events = torch.from_numpy(self.records.event_ids[rows])
        random = KeyedRandom(self.noise_seed, FROZEN_EPOCH, events)
        return torch.view_as_complex(self._noise(volts, random, self.noise_scale).double())

    def blocks(self, rows: Rows, size: int, description: str) -> Iterator[tuple[Rows, Complex[Tensor, "batch time"]]]:
        """Yield blocks of rows with their records while a bar shows how far they are."""
        with progress_bar() as bar:
            task = bar.add_task(description, total=len(rows), unit="electrons")
            for part in np.split(rows, range(size, len(rows), size)):
                yield part, self.series(part)
                bar.advance(task, len(part))

    def truth(self, column: str, rows: Rows) -> NDArray[np.float64]:
        """Return true values of a column."""
        return np.asarray(self.records.scalar(column)[rows], np.float64)

    def scalars(self, rows: Rows) -> dict[str, NDArray[Any]]:
        """Return all number columns but the identities, by their names on disk."""
        held = (schema.EVENT_ID, schema.CONTENT_HASH)
        return {name: self.records.scalar(name)[rows] for name in self.records.scalar_columns if name not in held}
