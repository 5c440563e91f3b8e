"""Denoising as a task of its own, or beside the regression: the encoder learns what a signal looks like.

The encoder of one view also rebuilds the clean view from the noisy one. That needs no truth columns, so an encoder can
be pre-trained on unlabelled records and fine-tuned on few labelled ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import lightning.pytorch as pl
from torch import Tensor

from reconstruction.errors import UserError, nearest
from reconstruction.judging.tables.columns import CLASSES, class_list
from reconstruction.models import Denoiser, Encoder, SeriesLoss, SeriesMSE, set_trainable
from reconstruction.random.keyed import KeyedRandom
from reconstruction.records.batch import SETTINGS, Batch, Inputs
from reconstruction.training.learning.averaging import evaluation_weights
from reconstruction.training.learning.checkpoints import read_with_fallback
from reconstruction.training.learning.rows_met import also_trained_on
from reconstruction.training.learning.tasks.side_task import SideTask
from reconstruction.training.network.reconstructor import Reconstructor

_MODEL = "reconstructor."
_ENCODERS = f"{_MODEL}fusion.encoders."
RANGES = "ranges"
"""Key of a card: the range of each target in the training."""


@dataclass(frozen=True)
class DenoisingOptions:
    """What is rebuilt.

    Args:
        view: The view that is rebuilt without its noise, by the encoder of the same name.
        loss: SeriesMSE, SeriesHuber or TimeSpectrumLoss, in units of the view.
        weight: Weight of this loss beside that of the targets.
        alone: Train the encoder on this task only; no truth columns are needed.

    """

    view: str
    loss: SeriesLoss | None = None
    weight: float = 1.0
    alone: bool = False


class Denoising(SideTask):
    """The decoder on a reconstructor's encoder, and its loss. The encoder stays the reconstructor's own."""

    name: ClassVar[str] = "denoising"

    def __init__(self, options: DenoisingOptions, reconstructor: Reconstructor) -> None:
        super().__init__()
        self.alone = options.alone
        views, encoders = reconstructor.views, reconstructor.fusion.encoders
        if options.view not in views:
            raise UserError(
                f"model.denoising.view is {options.view!r}, but no view is called so{nearest(options.view, views)}"
            )
        self.options = options
        self.view = options.view
        encoder, view = encoders[self.view], views[self.view]
        assert isinstance(encoder, Encoder)
        self.denoiser = Denoiser(encoder, int(view.channels))  # type: ignore[arg-type]
        self.criterion = options.loss or SeriesMSE()

    def let_learn(self) -> None:
        """Let decoder and encoder learn, without what only the targets need."""
        self.denoiser.requires_grad_(True)
        self.denoiser.encoder.pooling.requires_grad_(False)

    def forward(self, reconstructor: Reconstructor, noisy: Inputs, clean: Inputs) -> Tensor:
        """Return the weighted mean loss of rebuilding the clean view from the noisy inputs."""
        view = reconstructor.views[self.view]
        wanted = view(clean[view.reads]).series  # type: ignore[index]
        made = view(noisy[view.reads]).series  # type: ignore[index]
        return self.options.weight * self.criterion(self.denoiser(made), wanted).mean()

    def objective(self, reconstructor: Reconstructor, noisy: Batch, clean: Batch, random: KeyedRandom) -> Tensor:
        """Return the loss of a batch."""
        loss: Tensor = self(reconstructor, noisy["inputs"], clean["inputs"])
        return loss

    def of_nothing(
        self, reconstructor: Reconstructor, noisy: Batch, clean: Batch, random: KeyedRandom
    ) -> Tensor | None:
        """Return None: a record without lines is what most of a view is."""
        return None


class FineTune(pl.Callback):
    """Begin with the encoders of an earlier training, and say which of their layers may still learn.

    Args:
        checkpoint: Checkpoint whose encoders, view by view, are taken over; None starts from scratch.
        trainable_layers: None lets all of the encoders learn, 0 nothing of them, k only the last k layers (blocks, then
            the input projection) with the norm and the pooling behind them. The head always learns.
        whole: Take the whole model over, with its head, its map and what was fitted to scale it: for more of the same,
            or for another apparatus of a model that is told its settings.

    """

    def __init__(self, checkpoint: str | None = None, trainable_layers: int | None = None, whole: bool = False) -> None:
        for name, given in (("trainable_layers", trainable_layers is not None), ("whole", whole)):
            if given and checkpoint is None:
                raise UserError(f"fine_tune.{name} is about an earlier training: give fine_tune.checkpoint")
        self.checkpoint, self.trainable_layers, self.whole = checkpoint, trainable_layers, whole

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take the weights over before the optimiser is made; a resumed training overwrites them with its own."""
        reconstructor = pl_module.reconstructor
        if stage != "fit" or self.checkpoint is None or not isinstance(reconstructor, Reconstructor):
            return
        from reconstruction.training.learning.learner import CARD  # which imports this module

        checkpoint = read_with_fallback(Path(self.checkpoint))[0]
        weights = evaluation_weights(checkpoint)
        parent = checkpoint.get(CARD, {})
        also_trained_on(pl_module.card, parent)  # type: ignore[arg-type]
        if self.whole:
            if class_list(reconstructor.head.classes) != parent.get(CLASSES, []):
                raise UserError(
                    f"the model of {self.checkpoint} tells other classes apart: give model.head the same classes, in "
                    "the same order, or leave fine_tune.whole out for its encoders alone"
                )
            _take_over_whole(reconstructor, weights, self.checkpoint)
            of_parent = {name: parent[name] for name in (RANGES, SETTINGS) if name in parent}
            pl_module.card |= of_parent  # type: ignore[operator]
        for name, encoder in reconstructor.fusion.encoders.items():
            assert isinstance(encoder, Encoder)
            _take_over(name, encoder, weights, self.checkpoint)
            set_trainable(encoder, self.trainable_layers)


def _take_over_whole(reconstructor: Reconstructor, weights: Mapping[str, Tensor], checkpoint: str) -> None:
    own = {key.removeprefix(_MODEL): value for key, value in weights.items() if key.startswith(_MODEL)}
    try:
        reconstructor.load_state_dict(own)
    except RuntimeError as error:
        raise UserError(
            f"the model of {checkpoint} has another shape than the one configured, so that fine_tune.whole cannot take "
            "it over: give both the same configuration and settings, or leave whole out for its encoders alone"
        ) from error


def _take_over(name: str, encoder: Encoder, weights: Mapping[str, Tensor], checkpoint: str) -> None:
    prefix = f"{_ENCODERS}{name}."
    own = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    if not own:
        known = sorted({key.removeprefix(_ENCODERS).split(".")[0] for key in weights if key.startswith(_ENCODERS)})
        raise UserError(f"{checkpoint} has no encoder for a view {name!r}; it has {', '.join(known) or 'none'}")
    try:
        encoder.load_state_dict(own)
    except RuntimeError as error:
        raise UserError(
            f"the encoder {name!r} of {checkpoint} has another shape than the one configured: "
            "give both the same class and options"
        ) from error
