"""What the page of electrons draws of their records: spectrogram, aligned spectrum, attention, the sidebands' places.

The records are read again with the frozen noise of the test, so that they are those that were judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import max_pool1d

from cres import schema
from cres.data.electrons import SERIES
from cres.data.noise_of_rows import NoiseOfRows
from cres.data.records import Records, open_records
from cres.errors import UserError
from cres.evaluation import PredictionTable
from cres.evaluation.browser import ElectronPage, RecordPictures, chosen_rows, cut_note, electron_page
from cres.transforms import FROZEN_EPOCH, AlignedSpectrum, KeyedRandom, WhiteNoise
from cres.transforms.alignment import find_carrier
from cres.transforms.bands import is_band
from cres.transforms.spectrogram import STFT
from cres.transforms.spectrum import to_complex
from cres.transforms.views import SIGNAL_BAND_HZ, nominal_scale_volt
from reconstruction.judging.measures.bootstrap import Array
from reconstruction.judging.tables.find import PREDICTIONS
from reconstruction.judging.tables.joins import require_truth_of
from reconstruction.records.batch import STRENGTH, Batch, Inputs
from reconstruction.training.learning.learner import Learner
from reconstruction.training.learning.metrics import posterior_columns
from reconstruction.training.runs.loading import load_module

FRAMES, BINS = 32, 64
"""A spectrogram has no more columns and rows: long records are averaged over time, in power."""
POSITIONS = 512
"""A spectrum has no more positions: of those of long records that share one the strongest is shown."""
HARMONICS = 16
_BATCH = 64
_BATCH_SAMPLES = 1 << 22
_SAME = 0.02
"""Of an error bar: as near is what the model says again, on any device, to what the table holds; other noise is not."""


@dataclass(frozen=True)
class Source:
    """Where the records of a page come from: files, the noise's power over nominal, and the model that read them."""

    records: Records
    noise_scale: float = 1.0
    model: Learner | None = None


def browse(
    tables: Sequence[PredictionTable],
    source: Source | None = None,
    *,
    most: int,
    title: str = "Electrons one by one",
    notes: Sequence[str] = (),
) -> ElectronPage:
    """Return the page of the first table's electrons, with the records of a source where one is given.

    A table without a whole posterior gets that of the source's model, where the model made it. Raises UserError for
    tables without estimates or common electrons.
    """
    main = next((table for table in tables if not table.is_bound), None)
    if source is None or main is None:
        return electron_page(tables, most=most, title=title, notes=notes)
    first, *others = main.join(*(table for table in tables if table is not main))
    common = len(first)
    first = first.select(chosen_rows(first, most))
    pictures, posterior = record_pictures(first, source)
    said = [*notes, *([cut_note(common, most)] if len(first) < common else [])]
    return electron_page([first.with_columns(posterior), *others], pictures, most=most, title=title, notes=said)


def record_pictures(table: PredictionTable, source: Source) -> tuple[RecordPictures, dict[str, NDArray[Any]]]:
    """Return what is drawn of the records of a table's electrons, and the columns of the model's posterior.

    No columns where there is no model or where the table has them. Electrons whose record is not in the files are left
    out. Raises UserError where none of them is, and where a record has another truth than the electron of its event_id.
    """
    records = source.records
    order = np.argsort(records.event_ids)
    place = np.minimum(np.searchsorted(records.event_ids, table.event_id, sorter=order), len(order) - 1)
    rows = order[place]
    found = records.event_ids[rows] == table.event_id
    if not found.any():
        raise UserError(
            f"none of the {len(table)} electrons of {table.estimator!r} is in {records.files[0].path}: name the "
            "records that they were estimated from with --data"
        )
    compared = require_truth_of(table, records, "name the table's own records with --data")
    made = _Maker(source, records)
    parts = [made.batch(part) for part in _batches(rows[found], records.samples)]
    joined = {name: torch.cat([part[name] for part in parts]).double().numpy() for name in parts[0]}
    notes = [*made.notes, *_unlike(table.select(found), joined)]
    if not compared:
        notes.append(
            "Table and records share no truth to compare: that they are of the same electrons, the event_id alone says."
        )
    if not found.all():
        notes.append(f"The records of {int((~found).sum())} electrons were not found in the files.")
    sidebands = _sidebands(table.select(found), made.reach_hz)
    if sidebands is None:
        notes.append("The table has no axial frequency: the true place of the sidebands is not marked.")
    pictures = RecordPictures(
        table.event_id[found],
        joined["spectrogram"],
        made.group * made.stft.hop / records.sampling_rate_hz,
        records.sampling_rate_hz / made.stft.length,
        joined["carrier"],
        joined["spectrum"],
        made.pool * records.sampling_rate_hz / records.samples,
        joined.get("attention"),
        sidebands,
        tuple(notes),
    )
    return pictures, _posterior(table, found, joined)


def _batches(rows: NDArray[np.int64], samples: int) -> list[NDArray[np.int64]]:
    size = max(1, min(_BATCH, _BATCH_SAMPLES // samples))
    return np.split(rows, range(size, len(rows), size))


class _Maker:
    """Reads batches of records and makes the pictures' arrays of them."""

    def __init__(self, source: Source, records: Records) -> None:
        rate = records.sampling_rate_hz
        self.source, self.records = source, records
        self.notes: list[str] = []
        self.model = self._fitting(source.model)
        self.view = self._view(rate)
        self.scale_volt = nominal_scale_volt(rate, None)
        positions = self.view.bins(records.samples)
        self.pool = -(-positions // POSITIONS)
        self.reach_hz = positions * rate / records.samples
        # as long a frame as makes so many columns, or so many rows
        longest = min(2 * records.samples / FRAMES, BINS * rate / (2 * self.reach_hz), records.samples)
        length = 1 << max(1, int(np.log2(max(2.0, longest))))
        self.stft = STFT(rate, (-rate / 2, rate / 2), length, max(1, length // 2))
        self.group = -(-(1 + (records.samples - length) // self.stft.hop) // FRAMES)
        self.bins = min(length, max(2, 2 * int(self.reach_hz * length / rate)))

    def _fitting(self, model: Learner | None) -> Learner | None:
        """Return the model if it reads such records, else None with a note."""
        if model is None:
            self.notes.append("No model was given (--run): there is no attention to show.")
            return None
        known = model.card.get("data", {})
        rate, samples = known.get("sampling_rate_hz", model.sampling_rate_hz), known.get("samples")
        if not np.isclose(rate, self.records.sampling_rate_hz) or samples not in (None, self.records.samples):
            self.notes.append(
                f"The model reads {samples} samples at {rate / 1e6:g} MHz, the files hold {self.records.samples} at "
                f"{self.records.sampling_rate_hz / 1e6:g} MHz: its attention is not shown."
            )
            return None
        return model

    def _view(self, rate: float) -> AlignedSpectrum:
        """Return the model's own view where it has one, so that attention and spectrum share their axis."""
        views = {} if self.model is None else dict(self.model.reconstructor.views.items())
        self.name = next((name for name, view in views.items() if isinstance(view, AlignedSpectrum)), "")
        own = views.get(self.name)
        if isinstance(own, AlignedSpectrum):
            return own
        if views:
            self.notes.append("The model reads no aligned spectrum: its attention has no place on this axis.")
        band = SIGNAL_BAND_HZ if rate > 2 * max(map(abs, SIGNAL_BAND_HZ)) else (-0.499 * rate, 0.499 * rate)
        return AlignedSpectrum(rate, band, half_width_hz=min(18.9e6, 0.49 * rate))

    @torch.no_grad()
    def batch(self, rows: NDArray[np.int64]) -> dict[str, Tensor]:
        """Return the arrays of some rows, and the posterior's columns where there is a model."""
        inputs = self._inputs(rows)
        noisy = inputs[SERIES]
        aligned = self.view(noisy)
        carrier = find_carrier(to_complex(noisy), self.records.sampling_rate_hz, self.view.band_hz).frequency_hz
        # four columns a channel, each of unit variance where there is noise alone
        power = _strongest(aligned.series.square().mean(dim=2), self.pool)
        made = {"carrier": carrier, "spectrum": power, "spectrogram": self._spectrogram(noisy, carrier)}
        return made | self._said(inputs)

    def _inputs(self, rows: NDArray[np.int64]) -> Inputs:
        """Return the noisy volts of some rows, and the settings that the model is told."""
        series = torch.from_numpy(self.records.read_series(rows))
        events = torch.from_numpy(self.records.event_ids[rows])
        if self.model is None:
            random = KeyedRandom(0, FROZEN_EPOCH, events)
            return {SERIES: WhiteNoise(self.records.sampling_rate_hz)(series, random, self.source.noise_scale)}
        batch: Batch = {"inputs": {SERIES: series}, "event_id": events}
        if self.model.settings:
            batch |= self._settings(self.model.settings, rows)
        inputs: Inputs = self.model.as_judged(batch, self.source.noise_scale)["inputs"]
        return {**inputs, SERIES: inputs[SERIES].float()}

    def _settings(self, settings: Sequence[str], rows: NDArray[np.int64]) -> Batch:
        """Return what a batch says of the apparatus of rows: settings, and their noise."""
        columns = [name for name in settings if name in self.records.columns or not is_band(name)]
        told = {name: torch.from_numpy(self.records.scalar(name)[rows]) for name in columns}
        bands = [name for name in settings if name not in columns]
        if not bands:
            return {"observables": told, STRENGTH: torch.from_numpy(self.records.noise_densities()[rows])}
        noise = NoiseOfRows.of(self.records, None, self.records.sampling_rate_hz, 0.0)
        told |= dict(zip(bands, noise.bands(bands, rows).T, strict=True))
        return {"observables": told, STRENGTH: noise.density_w_per_hz(rows)}

    def _spectrogram(self, noisy: Tensor, carrier: Tensor) -> Tensor:
        """Return the power around the carrier, (batch, frames, bins), over the mean of nominal noise."""
        tiles = self.stft(noisy / self.scale_volt)
        power = (tiles.real.square() + tiles.imag.square()).sum(dim=3) / (2 * tiles.shape[3])
        count = power.shape[2]
        first_hz = float(self.stft.frequency_hz[0])
        centre = torch.round((carrier - first_hz) * self.stft.length / self.records.sampling_rate_hz).long()
        index = (centre[:, None] + torch.arange(self.bins) - self.bins // 2) % count
        around = power.gather(2, index[:, None].expand(-1, power.shape[1], -1))
        whole = around.shape[1] // self.group * self.group
        return around[:, :whole].unflatten(1, (-1, self.group)).mean(dim=2)

    def _said(self, inputs: Inputs) -> dict[str, Tensor]:
        if self.model is None:
            return {}
        outcome = self.model.reconstructor.standardised(inputs)
        alone = len(self.model.members) == 1 and self.model.joint is None
        said = self.model.reconstructor.physical(outcome.distribution) if alone else self.model(inputs)
        made = {**posterior_columns(said), "estimate": said.estimate}
        attention = outcome.encoded[self.name].attention if self.name else None
        return made if attention is None else made | {"attention": _strongest(attention, self.pool)}


def _strongest(values: Tensor, pool: int) -> Tensor:
    """Return the largest of each `pool` neighbours of (batch, positions); the last group may be a smaller one."""
    return values if pool == 1 else max_pool1d(values.unsqueeze(1), pool, ceil_mode=True).squeeze(1)


def _sidebands(table: PredictionTable, reach_hz: float) -> Array | None:
    """Return the true distances of the sidebands from the carrier, multiples of the axial frequency, within reach.

    The odd ones shine where a port is off the middle of several modes, and are marked everywhere.
    """
    name = schema.prediction_name(schema.AXIAL_FREQUENCY)
    if name not in table:
        return None
    lines = table.column(name).astype(np.float64)[:, None] * np.arange(1, HARMONICS + 1)
    return np.where(lines <= reach_hz, lines, np.nan)


def _unlike(table: PredictionTable, made: dict[str, Array]) -> list[str]:
    """Say where the model, asked again, answers otherwise than the table: other noise, or another model."""
    if "estimate" not in made or not table.has_std(table.targets[0]):
        return []
    away = np.abs(made["estimate"][:, 0] - table.mean(table.targets[0])) > _SAME * table.std(table.targets[0])
    if not away.any():
        return []
    return [
        f"Of {int(away.sum())} of {len(away)} electrons the model says otherwise than the table now: was the table "
        "made with another model, another noise (--noise-scale) or other records? Attention and spectrum may not be "
        "those behind its numbers."
    ]


def _posterior(table: PredictionTable, found: NDArray[np.bool_], made: dict[str, Array]) -> dict[str, NDArray[Any]]:
    """Return the posterior's columns for all rows, where the table lacks them and the model made its estimates."""
    names = [name for name in schema.POSTERIOR_COLUMNS if name in made]
    if not names or any(name in table for name in names) or _unlike(table.select(found), made):
        return {}
    columns = {}
    for name in names:
        columns[name] = np.full((len(table), *made[name].shape[1:]), np.nan)
        columns[name][found] = made[name]
    return columns


def browse_run(
    run: Path | None,
    tables: Sequence[PredictionTable] = (),
    *,
    data: Sequence[str] = (),
    noise_scale: float = 1.0,
    most: int,
) -> ElectronPage:
    """Return the page of tables, or of a run's own: the first is browsed, the others are shown beside it.

    The run's model reads the records again, for its attention. data: where the records are; those that the first table
    names where nothing is given and they are still there. Raises UserError where there is neither run nor table, and
    for files that cannot be read.
    """
    read = list(tables)
    if not read and run is None:
        raise UserError("name a run (--run runs/NAME) or a predictions table to browse")
    if run is not None and not any(not table.is_bound for table in read):
        read.insert(0, PredictionTable.read(run / PREDICTIONS))
    model = None if run is None else load_module(run / "checkpoints" / "best.ckpt")
    main = next((table for table in read if not table.is_bound), read[0])
    files, notes = _records_of(main, data)
    source = Source(open_records(files), noise_scale, model) if files else None
    return browse(read, source, most=most, title=f"Electrons one by one: {main.estimator}", notes=notes)


def _records_of(table: PredictionTable, data: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the files of records, as given or as the table names them, and a note where those are gone."""
    if data:
        return list(data), []
    named = table.attributes.get("records", [])
    files = [str(file) for file in named] if isinstance(named, list) else [str(named)]
    gone = [file for file in files if not Path(file).exists()]
    if gone:
        return [], [f"The records are no longer where the table says ({gone[0]})."]
    return files, []
