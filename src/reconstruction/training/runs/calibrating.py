"""What is fitted after the weights, on the validation split: the calibration of the stated uncertainties."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
import torch.distributed
from torch import Tensor

from reconstruction.models import Calibration, PredictiveDistribution
from reconstruction.progress import track
from reconstruction.random.keyed import FROZEN_EPOCH
from reconstruction.records.batch import Batch, masks_of
from reconstruction.records.loader import ResumableLoader
from reconstruction.shapes import Targets
from reconstruction.training.learning.averaging import evaluation_weights
from reconstruction.training.learning.checkpoints import (
    BEST,
    LAST,
    Checkpoints,
    read_checkpoint,
    write_atomically,
)
from reconstruction.training.learning.learner import Learner
from reconstruction.training.runs.fitting import ours

FEWEST = 20
"""With fewer validation rows than this a calibration would be noise, and the widths stay as they are."""

CALIBRATION = "reconstructor.calibration"

CALIBRATION_RECORDS = 32_000
"""So many make the error of the fitted widths small; fewer rows are predicted several times, with other noise."""
MOST_PASSES = 8
"""How often at most: noise alone is averaged so, not what the rows themselves are."""


class FitCalibration(pl.Callback):
    """After the last step, calibrate the uncertainties of `best.ckpt` and `last.ckpt` on the validation split."""

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Fit and store the calibration; the weights in memory stay as they are."""
        self._calibrate_files(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Do so after a validation by itself, for a finished training that was ended before."""
        if trainer.state.fn == "validate":
            self._calibrate_files(trainer, pl_module)

    def _calibrate_files(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        module, _ = ours(trainer, pl_module)
        loader = trainer.val_dataloaders
        if module.calibration == "none" or loader is None or not module.regresses:
            return
        present = copy.deepcopy(module.state_dict())
        known: list[_Calibrated] = []
        for name in (LAST, BEST):
            path = Checkpoints.folder(trainer) / name
            if trainer.strategy.broadcast(path.exists()):
                _calibrate(trainer, module, path, loader, known)
        module.load_state_dict(present)


class _Calibrated(NamedTuple):
    """Weights, and the calibration that was fitted to what they say."""

    weights: dict[str, Tensor]
    fitted: dict[str, Tensor]


def _calibrate(
    trainer: pl.Trainer, module: Learner, path: Path, loader: ResumableLoader, known: list[_Calibrated]
) -> None:
    """Calibrate a checkpoint's weights, or store what was fitted for the same ones: the last are often the best."""
    trainer.strategy.barrier()
    checkpoint = read_checkpoint(path)
    weights = evaluation_weights(checkpoint)
    module.load_state_dict(weights)
    if module.calibration == "none" or _rows(loader) < FEWEST:
        return
    fitted = next((before.fitted for before in known if _equal(before.weights, weights)), None)
    if fitted is None:
        distribution, truth = _validation(module, loader, trainer.world_size)
        module.reconstructor.calibration.fit(distribution, truth, module.calibration)
        state = module.reconstructor.calibration.state_dict()
        fitted = {f"{CALIBRATION}.{name}": value.clone() for name, value in state.items()}
        known.append(_Calibrated(weights, fitted))
    checkpoint["state_dict"] |= fitted
    trainer.strategy.barrier()
    if trainer.is_global_zero:
        write_atomically(checkpoint, path)


def _equal(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two states are the same but for their calibrations; a state also holds what is no tensor."""
    names = [name for name in one if not name.startswith(CALIBRATION)]
    return names == [name for name in other if not name.startswith(CALIBRATION)] and all(
        torch.equal(one[name], other[name]) if isinstance(one[name], Tensor) else one[name] == other[name]
        for name in names
    )


def is_uncalibrated(checkpoint: Mapping[str, Any], module: Learner) -> bool:
    """Return whether a checkpoint was written before its uncertainties were calibrated, though they are to be."""
    if module.calibration == "none" or not module.regresses:
        return False
    unfitted = Calibration(len(module.targets)).state_dict()
    stored = checkpoint["state_dict"]
    return all(torch.equal(stored[f"{CALIBRATION}.{name}"].cpu(), value) for name, value in unfitted.items())


@torch.no_grad()
def calibrate_ensemble(module: Learner, loader: ResumableLoader) -> None:
    """Calibrate what the members of an ensemble state together, on the validation split with frozen nominal noise.

    Members that are each right about their own errors are too modest together: the mixture is as wide as their errors
    and their disagreement, its mean is better than any of theirs.
    """
    if module.calibration == "none":
        return
    module.joint = None
    if _rows(loader) < FEWEST:
        return
    distribution, truth = _noisy_predictions(module, loader, 1, module.of)
    joint = Calibration(len(module.targets))
    joint.fit(distribution, truth, module.calibration)
    module.joint = joint.to(module.device)


@torch.no_grad()
def _validation(module: Learner, loader: ResumableLoader, world_size: int) -> tuple[PredictiveDistribution, Targets]:
    """Return uncalibrated predictions in physical units with frozen nominal noise, and the truth, of all processes."""

    def uncalibrated(noisy: Batch) -> PredictiveDistribution:
        outcome = module.reconstructor.standardised(noisy["inputs"], masks_of(noisy))
        return module.reconstructor.uncalibrated(outcome.distribution)

    training = module.training
    module.eval()
    predictions = _noisy_predictions(module, loader, world_size, uncalibrated)
    module.train(training)
    return predictions


def _noisy_predictions(
    module: Learner, loader: ResumableLoader, world_size: int, predict: Callable[[Batch], PredictiveDistribution]
) -> tuple[PredictiveDistribution, Targets]:
    """Return what is predicted of the rows of a loader, each with as many noises as a calibration needs."""
    parts: list[tuple[PredictiveDistribution, Tensor]] = []
    passes = _passes(module, _rows(loader))
    batches = ((again, batch) for again in range(passes) for batch in loader)
    if module.global_rank == 0:
        batches = track(batches, "calibrating", passes * len(loader), "batches")  # type: ignore[assignment]
    for again, batch in batches:
        there = module.placed(batch)
        distribution = predict(module.inject(there, FROZEN_EPOCH - again)).map(Tensor.cpu)
        parts.append((distribution, there["targets"].to(distribution.dtype).cpu()))
    if world_size > 1:
        everyone: list[Any] = [None] * world_size
        torch.distributed.all_gather_object(everyone, parts)
        parts = [part for one in everyone for part in one]
    return _joined([distribution for distribution, _ in parts]), torch.cat([truth for _, truth in parts])


def _rows(loader: ResumableLoader) -> int:
    return len(loader.dataset)  # type: ignore[arg-type]


def _passes(module: Learner, rows: int) -> int:
    """Return how often so many validation rows are predicted: once where no noise is added to their records."""
    if not module.corruption.changes_judging:
        return 1
    return max(1, min(MOST_PASSES, -(-CALIBRATION_RECORDS // max(rows, 1))))


def _joined(parts: Sequence[PredictiveDistribution]) -> PredictiveDistribution:
    """Put the distributions of several batches together; what is not a row's (quantile levels) stays."""
    columns = ([getattr(part, field.name) for part in parts] for field in dataclasses.fields(parts[0]))
    return type(parts[0])(*(column[0] if column[0].ndim == 1 else torch.cat(column) for column in columns))
