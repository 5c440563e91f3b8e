"""From collected predictions to the predictions table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
from numpy.typing import NDArray

from reconstruction import schema
from reconstruction.judging.tables.columns import CLASSES
from reconstruction.judging.tables.settings import OUTSIDE_SETTINGS
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.provenance import sha256_of_file
from reconstruction.records.batch import SETTINGS
from reconstruction.system import DEFAULT, find_system
from reconstruction.training.learning.learner import Learner
from reconstruction.training.learning.metrics import Collected
from reconstruction.training.learning.settings_met import outside_settings
from reconstruction.training.runs.origin import Origin

OUTSIDE = "outside_range"
"""Flag of rows whose estimate lies outside the range of the training targets."""


class PredictionWriter(pl.Callback):
    """Collect the predictions of a test or predict run and write the table."""

    def __init__(self, path: Path, checkpoints: Sequence[Path], origin: Origin) -> None:
        self.path, self.checkpoints, self.origin = path, checkpoints, origin
        self._parts: list[Collected] = []

    def on_test_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *args: Any) -> None:
        """Keep the predictions of a batch."""
        self._parts.append(outputs["collected"])

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the table."""
        assert isinstance(pl_module, Learner)
        collected = Collected.gather(self._parts, trainer.world_size)
        if not trainer.is_global_zero:
            return
        made_by = checkpoint_hash(self.checkpoints)
        table = self.origin.stamp(prediction_table(collected, pl_module.card, made_by, self.origin.config))
        table.write(self.path)
        outside = int(table.columns[OUTSIDE].sum())
        elsewhere = int(table.columns[OUTSIDE_SETTINGS].sum()) if OUTSIDE_SETTINGS in table else 0
        more = f", {elsewhere} of them of settings outside of the trained ones" if elsewhere else ""
        said = f"{self.origin.system.count(len(table))} reconstructed, {outside} outside the trained range{more}"
        print(f"{said}: {self.path}")


def _settings(collected: Collected, card: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return which rows have settings that the model has not met, by column; nothing for a model that is told none."""
    met = card.get(SETTINGS)
    if met is None or any(name not in collected.observables for name in met["names"]):
        return {}
    return {OUTSIDE_SETTINGS: outside_settings(collected.observables, met)}


def checkpoint_hash(checkpoints: Sequence[Path]) -> str:
    """Return the SHA-256 of a checkpoint; those of an ensemble, joined."""
    return "+".join(sha256_of_file(path) for path in checkpoints)


def prediction_table(
    collected: Collected, card: Mapping[str, Any], made_by: str, source_config: Mapping[str, Any]
) -> PredictionTable:
    """Return the table of predictions (rows r, targets t); uncertainties only where the head states them.

    Its ancestry holds the model's configuration and that of the records.
    """
    targets = tuple(card["model"]["targets"])
    classes = dict(card.get(CLASSES, ()))
    stated = bool(np.isfinite(collected.covariance).all())
    table = PredictionTable.from_estimates(
        collected.event_id,
        {name: collected.mean[:, i] for i, name in enumerate(targets)},
        estimator=str(card.get("name", "network")),
        std={name: collected.std[:, i] for i, name in enumerate(targets)} if stated else None,
        covariance=collected.covariance if stated else None,
        truth=None if collected.truth is None else {name: collected.truth[:, i] for i, name in enumerate(targets)},
        observables=collected.observables
        | ({} if classes else {schema.spread_name(name): collected.spread[:, i] for i, name in enumerate(targets)})
        | _intervals(collected, targets)
        | _log_densities(collected, targets)
        | _posterior(collected, classes)
        | {OUTSIDE: outside_range(collected.mean, card)}
        | _settings(collected, card),
        seconds_per_electron=collected.seconds / max(1, len(collected)),
        checkpoint_hash=made_by,
        config={"model": card["model"], "data": dict(source_config)},
        system=find_system(card.get("system", DEFAULT)),
    )
    if SETTINGS in card:
        table = table.with_attributes({SETTINGS: json.dumps(card[SETTINGS])})
    return table.with_attributes({CLASSES: classes}) if classes else table


def _intervals(collected: Collected, targets: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Return the ends of the central 95.45 % by column; nothing for a head without uncertainty."""
    if not np.isfinite(collected.interval95).all():
        return {}
    ends = [zip(schema.interval95_names(name), (0, 1), strict=True) for name in targets]
    return {end: collected.interval95[:, i, side] for i, pair in enumerate(ends) for end, side in pair}


def _posterior(collected: Collected, classes: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    """Return the columns of whole posteriors; of classes a column for each, named."""
    if not classes:
        return collected.posterior
    stated = collected.posterior[schema.CLASS_PROBABILITY]
    return {schema.probability_name(name): stated[:, i] for i, name in enumerate(classes)}


def _log_densities(collected: Collected, targets: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Return the stated density at the truth by column; nothing without truth or without a density."""
    if collected.log_density is None or not np.isfinite(collected.log_density).all():
        return {}
    return {schema.log_density_name(name): collected.log_density[:, i] for i, name in enumerate(targets)}


def outside_range(mean: NDArray[Any], card: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Return which estimates (rows, target) lie outside the range of the training targets, (rows,)."""
    ranges = card.get("ranges", {})
    flagged = ~np.isfinite(mean).all(axis=1)
    for i, name in enumerate(card["model"]["targets"]):
        if name in ranges:
            low, high = ranges[name]
            flagged |= (mean[:, i] < low) | (mean[:, i] > high)
    return flagged
