"""Super-resolution: from the first samples of a record to the noiseless view of the whole record.

The encoder reads the view of the record with nothing behind the samples that are seen, which is zero padding, scaled so
that its noise is that of a whole record; so an encoder that was trained on whole records, or pre-trained on parts of
them, reads it as it stands. A decoder makes of each position's features what the whole record would show without noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from reconstruction.errors import UserError, nearest
from reconstruction.models import Denoiser, Encoder, SeriesLoss, SeriesMSE
from reconstruction.models.encoders.views import RecordView
from reconstruction.random.keyed import KeyedRandom
from reconstruction.records.batch import Batch, Inputs, Masks, masks_of
from reconstruction.shapes import Lengths, Series
from reconstruction.training.learning.tasks.side_task import SideTask
from reconstruction.training.network.reconstructor import Reconstructor


@dataclass(frozen=True)
class SuperResolutionOptions:
    """What is seen, and what is made of it.

    Args:
        view: The view that is rebuilt, by the encoder of the same name; its positions are those of whole records.
        samples: So many samples are seen, from the start of the record.
        loss: SeriesMSE, SeriesHuber or TimeSpectrumLoss, in units of the view.
        weight: Weight of this loss beside that of the targets.
        alone: Train on this task only; no truth columns are needed.

    """

    view: str
    samples: int
    loss: SeriesLoss | None = None
    weight: float = 1.0
    alone: bool = False

    def __post_init__(self) -> None:
        """Raise UserError for fewer samples than one."""
        if self.samples < 1:
            raise UserError(f"model.super_resolution.samples is {self.samples}, but must be 1 or more")

    def task(self, reconstructor: Reconstructor) -> SuperResolution:
        """Return what learns it."""
        return SuperResolution(self, reconstructor)


class SuperResolution(SideTask):
    """The decoder on a reconstructor's encoder, and its loss. The encoder stays the reconstructor's own."""

    name: ClassVar[str] = "super_resolution"

    def __init__(self, options: SuperResolutionOptions, reconstructor: Reconstructor) -> None:
        super().__init__()
        if options.view not in reconstructor.views:
            raise UserError(
                f"model.super_resolution.view is {options.view!r}, but no view is called so"
                f"{nearest(options.view, reconstructor.views)}"
            )
        self.options, self.alone = options, options.alone
        encoder, view = reconstructor.fusion.encoders[options.view], _view(reconstructor, options.view)
        assert isinstance(encoder, Encoder)
        self.denoiser = Denoiser(encoder, view.channels)
        self.criterion = options.loss or SeriesMSE()

    def let_learn(self) -> None:
        """Let decoder and encoder learn, without what only the targets need."""
        self.denoiser.requires_grad_(True)
        self.denoiser.encoder.pooling.requires_grad_(False)

    def objective(self, reconstructor: Reconstructor, noisy: Batch, clean: Batch, random: KeyedRandom) -> Tensor:
        """Return the loss of a batch: of the whole noiseless view, from the first samples of the noisy one."""
        return self._loss(reconstructor, noisy, clean, rebuild=True)

    def of_nothing(
        self, reconstructor: Reconstructor, noisy: Batch, clean: Batch, random: KeyedRandom
    ) -> Tensor | None:
        """Return the loss of a view that is empty."""
        return self._loss(reconstructor, noisy, clean, rebuild=False)

    def _loss(self, reconstructor: Reconstructor, noisy: Batch, clean: Batch, rebuild: bool) -> Tensor:
        view = _view(reconstructor, self.options.view)
        seen = self.seen(reconstructor, noisy["inputs"])
        wanted = view.framed(clean["inputs"][view.reads], seen).series
        lengths = self._lengths(reconstructor, clean["inputs"], masks_of(clean))
        made = self.denoiser(view(seen).series, lengths) if rebuild else torch.zeros_like(wanted)
        return self.options.weight * self.criterion(made, wanted, lengths).mean()

    def forward(self, reconstructor: Reconstructor, inputs: Inputs) -> Series:
        """Return the view (batch, position, channel) of whole records, of which only the first samples are looked at.

        In the frame that the view finds in `seen`.
        """
        rebuilt: Series = self.denoiser(
            _view(reconstructor, self.options.view)(self.seen(reconstructor, inputs)).series
        )
        return rebuilt

    def seen(self, reconstructor: Reconstructor, inputs: Inputs) -> Series:
        """Return what the view is made of: the first samples, nothing behind them, with the noise of a whole record.

        Raises UserError where records are no longer than that.
        """
        whole = inputs[_view(reconstructor, self.options.view).reads]
        length, samples = whole.shape[1], self.options.samples
        if samples >= length:
            raise UserError(
                f"model.super_resolution.samples is {samples}, and the records have {length}: there is nothing to "
                "continue, give fewer"
            )
        seen = torch.zeros_like(whole)
        seen[:, :samples] = whole[:, :samples] * math.sqrt(length / samples)
        return seen

    def _lengths(self, reconstructor: Reconstructor, inputs: Inputs, masks: Masks) -> Lengths | None:
        """Return how many of the positions of whole records hold something; None where all do."""
        reads = _view(reconstructor, self.options.view).reads
        return reconstructor.seen(self.options.view, inputs, masks)[1] if reads in masks else None


def _view(reconstructor: Reconstructor, name: str) -> RecordView:
    view = reconstructor.views[name]
    assert isinstance(view, RecordView)
    return view
