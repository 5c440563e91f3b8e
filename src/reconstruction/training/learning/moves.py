"""A curriculum: numbers of the training move from an easy to the nominal value, as the configuration says.

What can move: the strength of the corruption, which rows are drawn, and whatever a system names with a function that
makes batches easier. Validation, test and prediction never see it: they stay at the nominal values, or else the easiest
epoch would be the best checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray

from reconstruction.errors import UserError, nearest
from reconstruction.records.batch import Inputs
from reconstruction.records.loader import ResumableLoader
from reconstruction.records.rows import RowsDataModule
from reconstruction.training.learning.learner import Learner
from reconstruction.training.network.easing import Easing

Shape = Literal["none", "linear", "root", "quadratic", "cosine", "step", "competence"]

_CURVES: dict[str, Callable[[float], float]] = {
    "linear": lambda progress: progress,
    "root": math.sqrt,
    "quadratic": lambda progress: progress**2,
    "cosine": lambda progress: 0.5 * (1 - math.cos(math.pi * progress)),
}

ENDLESS = 2**62
"""Steps of a training that only time or a signal ends."""


def curve(shape: Shape, progress: float, steps: int = 4) -> float:
    """Return how far a stage is, 0 at its start and exactly 1 at its end, `progress` clipped to [0, 1]."""
    progress = min(1.0, max(0.0, progress))
    if progress == 1.0 or shape == "none":
        return 1.0
    if shape in ("step", "competence"):
        return math.floor(progress * steps) / steps
    return _CURVES[shape](progress)


@dataclass(frozen=True)
class Stage:
    """How one number of the training moves.

    Args:
        shape: none (always the end value), linear, root, quadratic, cosine, step (equal jumps), or competence (one of
            `steps` equal jumps whenever the validation loss has not improved for `patience` validations).
        start: Value in the first step.
        end: Value from the end of the curriculum on.
        over: Share of the whole training after which the end value is reached; shapes competence: it is reached then
            at the latest.
        epochs: The same in epochs; overrides `over`.
        steps: Number of jumps of the shapes step and competence.
        patience: Validations without improvement before a jump of the shape competence.
        threshold: Improvements of the validation loss smaller than this do not count.

    """

    shape: Shape = "none"
    start: float = 0.1
    end: float = 1.0
    over: float = 0.5
    epochs: float | None = None
    steps: int = 4
    patience: int = 2
    threshold: float = 1e-2

    def __post_init__(self) -> None:
        if self.start < 0 or self.end < 0 or self.steps < 1 or not 0 <= self.over <= 1:
            raise UserError("curriculum: start and end must not be negative, steps at least 1, over between 0 and 1")

    def progress(self, step: int, total_steps: int, steps_per_epoch: float) -> float:
        """Return the share of the stage that is over at an optimiser step."""
        end = self.over * total_steps if self.epochs is None else self.epochs * steps_per_epoch
        return 1.0 if step >= end else step / end

    def value(self, step: int, total_steps: int, steps_per_epoch: float, level: int = 0) -> float:
        """Return the value at an optimiser step; `level` is the number of jumps made by competence."""
        progress = self.progress(step, total_steps, steps_per_epoch)
        done = curve(self.shape, progress, self.steps)
        if self.shape == "competence" and progress < 1:
            done = level / self.steps
        return self.end if done == 1.0 else self.start + (self.end - self.start) * done


@dataclass
class Competence:
    """How many jumps validation has earned, and how long it has not improved since the last one."""

    level: int = 0
    best: float = math.inf
    waited: int = 0

    def observe(self, loss: float, stage: Stage) -> None:
        """Take one validation loss into account."""
        if loss < self.best - stage.threshold:
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited >= stage.patience and self.level < stage.steps:
            self.level, self.waited, self.best = self.level + 1, 0, math.inf


NOISE_SCALE, DIFFICULTY = "noise_scale", "difficulty"
"""What moves in every system."""


class Moves(pl.Callback):
    """Move numbers of the training, each by a stage of its own; a system's curriculum says which further ones.

    stages: by name; all but the noise scale are shares of the nominal. difficulty: share of the rows that are drawn,
    the easiest; an epoch keeps its number of batches, so the easy ones come again with other noise. It moves from epoch
    to epoch. difficulty_column: says how easy a row is; null: the power of its inputs. easiest: which end is easy.
    monitor: what the shape competence watches; smaller is better.
    """

    def __init__(
        self,
        stages: Mapping[str, Stage],
        difficulty_column: str | None = None,
        easiest: Literal["high", "low"] = "high",
        monitor: str = "val/loss",
    ) -> None:
        self.stages = dict(stages)
        for name, stage in self.stages.items():
            if name != NOISE_SCALE and not (0 < stage.start <= 1 and 0 < stage.end <= 1):
                raise UserError(f"curriculum.{name}: start and end are shares, above 0 and up to 1")
        self.difficulty_column, self.easiest = difficulty_column, easiest
        self.monitor = monitor
        self.competence = {name: Competence() for name in self.stages}
        self.share = 1.0
        """Share of the rows in the present epoch."""

    def easing(self, now: Mapping[str, float], module: Learner) -> Easing:
        """Return what the present values make of the training: a system's own moves are named functions of batches."""
        return Easing(now[NOISE_SCALE])

    def value(self, name: str, step: int, total_steps: int, steps_per_epoch: float) -> float:
        """Return the value of a stage at an optimiser step."""
        return self.stages[name].value(step, total_steps, steps_per_epoch, self.competence[name].level)

    def moves(self, name: str) -> bool:
        """Return whether a stage ever leaves the nominal value."""
        if name not in self.stages:
            return False
        stage = self.stages[name]
        return stage.end != 1 or (stage.shape != "none" and stage.start != 1)

    # While training ----------------------------------------------------------------------------------------------

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse what moves over a share of a training that has no end."""
        if trainer.max_epochs != -1 or trainer.max_steps != -1:
            return
        for name, stage_ in self.stages.items():
            if self.moves(name) and stage_.shape not in ("none", "competence") and stage_.epochs is None:
                raise UserError(
                    f"curriculum.{name} moves over a share of the training, which has no end: give "
                    f"curriculum.{name}.epochs"
                )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Order the rows by difficulty; a resumed epoch goes on with the rows that it began with."""
        if self.moves(DIFFICULTY):
            _loader(trainer).order_by_ease(self._easiest_first(trainer.datamodule))  # type: ignore[attr-defined]
            _loader(trainer).use_easiest(self.share)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Decide which rows this epoch draws; not called in the middle of an epoch."""
        if self.moves(DIFFICULTY):
            step, total, per_epoch = _place(trainer)
            # the last epoch is the last chance to be at the end
            self.share = self.value(DIFFICULTY, step, total - round(per_epoch), per_epoch)
            _loader(trainer).use_easiest(self.share)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Hand the values of this step to the module."""
        assert isinstance(pl_module, Learner)
        now = {name: self.value(name, *_place(trainer)) for name in self.stages} | {DIFFICULTY: self.share}
        pl_module.easing = self.easing(now, pl_module)
        if not pl_module.logs_this_step:
            return
        for name, value in now.items():
            if name == NOISE_SCALE or self.moves(name):
                pl_module.log(f"train/{name}", value)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Advance what waits for it when the validation loss has stopped improving (shape competence)."""
        fitting = trainer.state.fn == "fit" and not trainer.sanity_checking
        if fitting and self.monitor in trainer.callback_metrics:
            self.observe(float(trainer.callback_metrics[self.monitor]))

    def observe(self, loss: float) -> None:
        """Take one validation loss into account."""
        for name, stage in self.stages.items():
            if stage.shape == "competence":
                self.competence[name].observe(loss, stage)

    # Difficulty --------------------------------------------------------------------------------------------------

    def _easiest_first(self, data: RowsDataModule) -> NDArray[np.int64]:
        """Return the places of the training rows in the order of their difficulty, the easiest first."""
        if data.endless:
            raise UserError(f"curriculum.difficulty needs files: a stream of {data.system.nouns} has no easiest ones")
        ease = self._ease(data)
        return np.argsort(-ease if self.easiest == "high" else ease, kind="stable")

    def _ease(self, data: RowsDataModule) -> NDArray[np.float64]:
        rows, column = data.split.train, self.difficulty_column
        if column is None:
            return np.concatenate([_power(batch["inputs"]) for batch in data.rows_dataloader(rows)])
        if column not in data.records.scalar_columns:
            raise UserError(
                f"the data have no column {column!r}, which curriculum.difficulty_column names"
                f"{nearest(column, data.records.scalar_columns)}"
            )
        return np.asarray(data.records.scalar(column)[rows], np.float64)

    # Checkpoints -------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training continues from."""
        return {"share": self.share, "competence": {name: asdict(one) for name, one in self.competence.items()}}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a checkpoint; those of before there were several stages know the noise scale alone."""
        self.share = state_dict.get("share", 1.0)
        stored = state_dict.get("competence", {"noise_scale": state_dict})
        self.competence |= {name: Competence(**values) for name, values in stored.items()}


class NoiseCurriculum(Moves):
    """Move the strength of the corruption, and which rows are drawn.

    Args:
        noise_scale: Power of the corruption, in units of the nominal.
        difficulty: Share of the rows that are drawn, the easiest; it moves from epoch to epoch.
        difficulty_column: Column that says how easy a row is; null: the power of its inputs.
        easiest: Which end of that column is easy.
        monitor: What the shape competence watches; smaller is better.

    """

    def __init__(
        self,
        noise_scale: Stage = Stage(),
        difficulty: Stage = Stage(start=0.25),
        difficulty_column: str | None = None,
        easiest: Literal["high", "low"] = "high",
        monitor: str = "val/loss",
    ) -> None:
        super().__init__({NOISE_SCALE: noise_scale, DIFFICULTY: difficulty}, difficulty_column, easiest, monitor)


def _place(trainer: pl.Trainer) -> tuple[int, int, float]:
    """Return the optimiser step, their total number, and how many make an epoch."""
    total = trainer.estimated_stepping_batches
    per_epoch = max(1.0, int(trainer.num_training_batches) / trainer.accumulate_grad_batches)
    epochs = trainer.max_epochs
    if math.isinf(total):
        return trainer.global_step, ENDLESS, per_epoch
    return trainer.global_step, int(total), total / epochs if epochs and epochs > 0 else per_epoch


def _power(inputs: Inputs) -> NDArray[np.float64]:
    """Return the mean square of each row's inputs (batch,)."""
    squares = [values.double().square().flatten(1).mean(dim=1) for values in inputs.values()]
    return torch.stack(squares).mean(dim=0).cpu().numpy()


def _loader(trainer: pl.Trainer) -> ResumableLoader:
    loader = trainer.train_dataloader
    assert isinstance(loader, ResumableLoader)
    return loader
