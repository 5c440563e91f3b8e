"""Where in an epoch a training is: stored in a checkpoint, and gone on from behind the last batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import torch

from reconstruction.records.loader import ResumableLoader
from reconstruction.training.learning.metrics import EpochLoss

PLACE = "place_in_epoch"
"""Key of a checkpoint."""


class PlaceInEpoch:
    """The batches of the epoch that were used, and the sum of its losses, so that a resume does not cut its mean."""

    def __init__(self) -> None:
        self._resume_at: Mapping[str, Any] = {}

    def store(self, checkpoint: dict[str, Any], trainer: pl.Trainer, loss: EpochLoss) -> None:
        """Add the place to a checkpoint."""
        loader = trainer.train_dataloader
        if not isinstance(loader, ResumableLoader):
            checkpoint[PLACE] = {}
            return
        # all processes continue with the mean of their sums, which is the same sum
        sums = torch.stack([loss.mean_value, loss.weight])
        checkpoint[PLACE] = {**loader.state_dict(), "loss": trainer.strategy.reduce(sums, reduce_op="mean").cpu()}

    def load(self, checkpoint: Mapping[str, Any]) -> None:
        """Take the place from a checkpoint."""
        self._resume_at = checkpoint[PLACE]

    def go_on(self, trainer: pl.Trainer, loss: EpochLoss) -> None:
        """Go on behind the last batch; Lightning has made the loader before it read the state, and forgets it."""
        loader, place = trainer.train_dataloader, self._resume_at
        self._resume_at = {}
        if isinstance(loader, ResumableLoader) and 0 < place.get("batches", 0) < len(loader):
            loader.load_state_dict(place)
            if "loss" in place:
                device = trainer.strategy.root_device
                loss.mean_value, loss.weight = place["loss"].to(device).unbind()
