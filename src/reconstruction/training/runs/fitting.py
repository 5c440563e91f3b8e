"""What is fitted before the weights, on the training split: scales, the ranges of the targets, the landmark's map."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import torch
import torch.distributed
from torch import Tensor

from reconstruction.errors import UserError, nearest
from reconstruction.judging.tables.columns import CLASSES, class_list
from reconstruction.models import Encoder
from reconstruction.progress import waiting
from reconstruction.random.keyed import FROZEN_EPOCH
from reconstruction.records.batch import SETTINGS, Batch, Inputs, masks_of
from reconstruction.records.rows import RowsDataModule
from reconstruction.training.learning.averaging import evaluation_weights
from reconstruction.training.learning.checkpoints import (
    read_with_fallback,
)
from reconstruction.training.learning.laws import Law
from reconstruction.training.learning.learner import CARD, Learner
from reconstruction.training.learning.rows_met import also_trained_on
from reconstruction.training.learning.settings_met import described_settings
from reconstruction.training.learning.tasks.denoising import RANGES
from reconstruction.training.network.condition import Condition
from reconstruction.training.runs.origin import MEASURED_ROWS, SIGNATURE, rows_of, together

NOISY_BATCHES = 256
"""Training batches at most from whose noisy records the views' scalars are standardised and the map is fitted."""

NOISY_ROWS = 65_536
"""… and rows at most: of large batches fewer are read."""


class FitScalers(pl.Callback):
    """Fit the scalers of targets and scalars on the training split, once, before the first step."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Fit what is not fitted; a resumed training finds everything in its checkpoint."""
        with waiting("fitting scales and map") if trainer.is_global_zero else contextlib.nullcontext():
            fit_scalers(*ours(trainer, pl_module))


def fit_scalers(module: Learner, data: RowsDataModule) -> None:
    """Fit the scalers that are not fitted, and note the ranges of the targets, on the training split."""
    reconstructor = module.reconstructor
    reconstructor.calibration.reset()
    _fit_encoders(module, data)
    _start_front(module)
    for task in module.tasks:
        task.fit(reconstructor, lambda: _noisy_batches(module, data), lambda: training_targets(data))
    for law in module.laws:
        assert isinstance(law, Law)
        if not law.fitted:
            law.fit(lambda: _noisy_batches(module, data))
    if module.row_weights is not None and not module.row_weights.fitted:
        module.row_weights.fit(_weights(module.row_weights.column, data))
    if reconstructor.condition is not None:
        fit_context(module, reconstructor.condition, data)
    classes = reconstructor.head.classes if module.regresses else {}
    if module.regresses and not bool(reconstructor.target_scaler.fitted):
        truth = training_targets(data)
        if classes:
            reconstructor.target_scaler.leave()
        else:
            reconstructor.target_scaler.fit(truth)
            module.card[RANGES] = _ranges(truth, module.targets)
        _fit_on_noisy_records(module, data)
    elif module.regresses and SIGNATURE not in module.card:
        # a whole model that is tuned on
        _measure_more(module, data)
    if classes:
        require_classes(data, classes)
        module.card[CLASSES] = class_list(classes)


def _start_front(module: Learner) -> None:
    """Let a denoiser before the encoder begin as an earlier training left it; the card keeps what that has met."""
    front = module.reconstructor.front
    if front is not None and not front.started and front.options.checkpoint is not None:
        checkpoint = read_with_fallback(Path(front.options.checkpoint))[0]
        front.start_from(evaluation_weights(checkpoint), front.options.checkpoint)
        also_trained_on(module.card, checkpoint.get(CARD, {}))


@torch.no_grad()
def _fit_encoders(module: Learner, data: RowsDataModule) -> None:
    """Let encoders that have scales of their own fit them; those of an earlier training keep theirs."""
    for name, encoder in module.reconstructor.fusion.encoders.items():
        assert isinstance(encoder, Encoder)
        if not encoder.fitted:
            batches = _noisy_batches(module, data)
            views = (module.reconstructor.seen(name, batch["inputs"], masks_of(batch)) for batch in batches)
            encoder.fit((view.series, lengths) for view, lengths in views)


def fit_context(module: Learner, condition: Condition, data: RowsDataModule) -> None:
    """Standardise the settings on the training split, or add those of a model that is tuned on; the card keeps them."""
    values = module.settings_to_tell(data, data.split.train, learning=True)
    known = module.card.get(SETTINGS)
    if condition.context.fitted:
        condition.context.widen_range(values)
    else:
        condition.context.fit(values)
    module.card[SETTINGS] = described_settings(condition.settings, values, known)


def _noisy_batches(module: Learner, data: RowsDataModule) -> Iterator[Batch]:
    """Yield training batches with frozen nominal noise."""
    for batch in _some_batches(data):
        yield module.inject(module.placed(batch), FROZEN_EPOCH)


def _some_batches(data: RowsDataModule) -> Iterator[Batch]:
    """Yield training batches, as many as what is fitted before the training needs."""
    rows = 0
    for batch in islice(data.train_dataloader(), NOISY_BATCHES):
        yield batch
        rows += len(batch["event_id"])
        if rows >= NOISY_ROWS:
            break


def _weights(column: str, data: RowsDataModule) -> Tensor:
    """Return a column of the training split, (rows,) float64. Raises UserError where it can weigh nothing."""
    records = data.records
    if column not in records.scalar_columns:
        raise UserError(
            f"model.weight_column is {column}, but the data have no such column"
            f"{nearest(column, records.scalar_columns)}: name another one, or leave it out"
        )
    values = np.asarray(records.scalar(column), np.float64)
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if len(wrong):
        raise UserError(
            f"{records.describe(int(wrong[0]))}, column {column}: {values[wrong[0]]:g} is no weight of a loss "
            "(model.weight_column), which is 0 or more"
        )
    return torch.from_numpy(values[data.split.train])


def training_targets(data: RowsDataModule) -> Tensor:
    """Return the true targets of the training split, (rows, target) float64. Raises UserError without any."""
    if not data.labelled:
        raise UserError(f"the data have no columns {', '.join(data.targets)}: they can be predicted, not trained on")
    columns = [np.asarray(data.records.scalar(name), np.float64)[data.split.train] for name in data.targets]
    return torch.from_numpy(np.stack(columns, axis=1))


def require_classes(data: RowsDataModule, classes: Mapping[str, int]) -> None:
    """Raise UserError where a row to train or to validate on is of no class, and where none is of one of them."""
    column = data.targets[0]
    held = np.asarray(data.records.scalar(column))
    said = ", ".join(f"{name}: {code}" for name, code in classes.items())
    for rows in (data.split.train, data.split.validation):
        stray = rows[~np.isin(held[rows], list(classes.values()))]
        if len(stray):
            raise UserError(
                f"{data.records.describe(int(stray[0]))} has {held[stray[0]]:g} in {column}, which is none of the "
                f"classes of model.head ({said}): add it there, or leave such {data.system.nouns} out"
            )
    missing = [name for name, code in classes.items() if code not in held[data.split.train]]
    if missing:
        raise UserError(
            f"no {data.system.noun} to train on is of the class {missing[0]} ({column} {classes[missing[0]]})"
        )


@torch.no_grad()
def _measure_more(module: Learner, data: RowsDataModule) -> None:
    """Note the ranges of the targets, with those that the model met before, and what the records look like."""
    if not module.reconstructor.head.classes:  # they have no range
        before = module.card.get(RANGES, {})
        module.card[RANGES] = _widened(before, _ranges(training_targets(data), module.targets))
    apparatus = module.system.apparatus
    if apparatus is not None:
        batches = islice(data.train_dataloader(), -(-MEASURED_ROWS // data.batch_size))
        noisy = [module.inject(module.placed(batch), FROZEN_EPOCH)["inputs"] for batch in batches]
        seen = [{name: values.cpu() for name, values in part.items() if name != SETTINGS} for part in noisy]
        module.card[SIGNATURE] = apparatus.measure(together(seen), data, data.split.train)


def _ranges(truth: Tensor, targets: Sequence[str]) -> dict[str, list[float]]:
    low, high = truth.min(dim=0).values.tolist(), truth.max(dim=0).values.tolist()
    return {name: [low[i], high[i]] for i, name in enumerate(targets)}


def _widened(known: dict[str, list[float]], met: dict[str, list[float]]) -> dict[str, list[float]]:
    """Return ranges that hold those of both."""
    both = {name: (known.get(name, one), one) for name, one in met.items()}
    return known | {name: [min(a[0], b[0]), max(a[1], b[1])] for name, (a, b) in both.items()}


@torch.no_grad()
def _fit_on_noisy_records(module: Learner, data: RowsDataModule) -> None:
    """Fit what needs training records with frozen nominal noise: the scalers of the views' scalars and of ratios, the
    landmark's map, sheets.

    The card keeps what these records look like.
    """
    reconstructor = module.reconstructor
    scalars, targets, columns, ratios = [], [], [], []
    measured: list[Inputs] = []
    settings: list[Tensor] = []
    followed: list[dict[str, Tensor]] = []
    for batch in _some_batches(data):
        there = module.placed(batch)
        if RANGES in module.card:  # rows of a stream are others than those of its file, and many more
            met = _ranges(there["targets"].double(), module.targets)
            module.card[RANGES] = _widened(module.card[RANGES], met)
        noisy = module.inject(there, FROZEN_EPOCH)
        scalars.append(reconstructor.scalars(noisy["inputs"]))
        if sum(map(rows_of, measured)) < MEASURED_ROWS:
            seen = {name: values.cpu() for name, values in noisy["inputs"].items() if name != SETTINGS}
            measured.append(seen)
        if reconstructor.yardstick is not None:
            ratios.append(reconstructor.yardstick.learned(there["targets"], noisy["inputs"]))
        if reconstructor.condition is not None:
            placed = reconstructor.condition.placed(noisy["inputs"])
            settings.append(torch.where(placed.isnan(), 0.0, placed))
        if reconstructor.landmark is not None or reconstructor.sheet is not None:
            targets.append(module.standardised_targets(there, torch.float64))
        if reconstructor.landmark is not None:
            columns.append(module.landmark_column(there))
        if reconstructor.sheet is not None:
            followed.append(module.sheet_columns(there))
    apparatus = module.system.apparatus
    if apparatus is not None:
        module.card[SIGNATURE] = apparatus.measure(together(measured), data, data.split.train)
    if scalars[0].shape[-1]:
        reconstructor.scalar_scaler.fit(torch.cat(scalars))
    if reconstructor.yardstick is not None:
        reconstructor.yardstick.fit(reconstructor.ratio_scaler, torch.cat(ratios))
    if reconstructor.landmark is not None:
        standardised = reconstructor.standardised_scalars(torch.cat(scalars))
        if reconstructor.condition is not None:
            told = torch.cat(settings)
            standardised = torch.cat((standardised.double(), told), dim=1)
        reconstructor.landmark.fit(torch.cat(columns), standardised, torch.cat(targets))
    if reconstructor.sheet is not None:
        known = reconstructor.standardised_scalars(torch.cat(scalars)).double()
        if reconstructor.landmark is not None:
            known = torch.cat((reconstructor.landmark.place_mhz(torch.cat(columns)), known), dim=1)
        exact = {name: torch.cat([part[name] for part in followed]) for name in reconstructor.sheet.columns}
        reconstructor.sheet.fit(known, torch.cat(targets), exact)


def ours(trainer: pl.Trainer, module: pl.LightningModule) -> tuple[Learner, RowsDataModule]:
    """Return the model of a training and its data, which are of this program."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(module, Learner)
    assert isinstance(data, RowsDataModule)
    return module, data
