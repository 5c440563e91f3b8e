"""A denoiser before the encoder of a view: what the regressor reads is its output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from reconstruction.errors import UserError
from reconstruction.models import Denoiser, Encoder, SeriesLoss, SeriesMSE
from reconstruction.models.encoders.views import RecordView
from reconstruction.records.batch import Inputs
from reconstruction.shapes import Series

ENCODER, DECODER = "reconstructor.fusion.encoders.{view}.", "denoising.denoiser.decoder."
"""Where a training of `model.denoising` keeps its denoiser."""


@runtime_checkable
class DenoiserEncoderFactory(Protocol):
    """Make the encoder of a denoiser for a view's channels."""

    def __call__(self, in_channels: int) -> Encoder:
        """Return the encoder."""
        ...


@dataclass(frozen=True)
class DenoiseFirstOptions:
    """Which denoiser stands before which encoder, and how both learn.

    Args:
        view: The view whose encoder reads denoised series.
        encoder: Encoder of the denoiser; its pooling is not used.
        checkpoint: Checkpoint of a training of model.denoising, whose denoiser is the start; None starts from scratch.
        frozen: The denoiser stays as the checkpoint has it.
        loss: SeriesMSE, SeriesHuber or TimeSpectrumLoss of the denoised series, in units of the view.
        weight: Weight of this loss, in the first epoch and after the share `over` of all; straight between both.
        targets_weight: Weight of the loss of the targets, likewise.
        over: Share of the training in which the weights move.

    """

    view: str
    encoder: DenoiserEncoderFactory
    checkpoint: str | None = None
    frozen: bool = False
    loss: SeriesLoss | None = None
    weight: tuple[float, float] = (1.0, 0.0)
    targets_weight: tuple[float, float] = (1.0, 1.0)
    over: float = 0.5

    def __post_init__(self) -> None:
        """Raise UserError for weights that teach nothing, and for a denoiser that is frozen before it learned."""
        if self.frozen and self.checkpoint is None:
            raise UserError("model.denoise_first.frozen is about a denoiser that was trained: give its checkpoint")
        if min(*self.weight, *self.targets_weight) < 0 or self.targets_weight[1] == 0:
            raise UserError(
                "weights of model.denoise_first are 0 or more, and that of the targets is above 0 in the end"
            )
        if not 0 < self.over <= 1:
            raise UserError(f"model.denoise_first.over is {self.over:g}, but a share of the training lies in (0, 1]")


class DenoiseFirst(nn.Module):
    """The denoiser of one view, and how its loss goes with that of the targets."""

    def __init__(self, options: DenoiseFirstOptions, view: RecordView) -> None:
        super().__init__()
        self.options, self.view = options, options.view
        self.denoiser = Denoiser(options.encoder(in_channels=view.channels), view.channels)
        self.criterion = options.loss or SeriesMSE()
        self.started = options.checkpoint is None
        """Whether the weights are those of a training; part of the state, so that a resumed one keeps its own."""
        self.denoiser.encoder.pooling.requires_grad_(False)
        if options.frozen:
            self.requires_grad_(False)

    def forward(self, series: Series) -> Series:
        """Return the series of a view without noise."""
        denoised: Series = self.denoiser(series)
        return denoised

    def start_from(self, weights: Mapping[str, Any], checkpoint: str) -> None:
        """Take the denoiser of an earlier training over. Raises UserError where it has none, or another one."""
        own: dict[str, Tensor] = {}
        for theirs, ours in ((ENCODER.format(view=self.view), "encoder."), (DECODER, "decoder.")):
            found = {key.removeprefix(theirs): value for key, value in weights.items() if key.startswith(theirs)}
            if not found:
                raise UserError(
                    f"{checkpoint} has no denoiser of a view {self.view!r}: model.denoise_first takes one that "
                    "model.denoising trained, such as that of configs/denoise.yaml"
                )
            own |= {ours + key: value for key, value in found.items()}
        try:
            self.denoiser.load_state_dict(own)
        except RuntimeError as error:
            raise UserError(
                f"the denoiser of {checkpoint} has another shape than model.denoise_first.encoder: give both the same "
                "class and options"
            ) from error
        self.started = True

    def together(
        self, of_targets: Tensor, denoised: Series, view: RecordView, noisy: Inputs, clean: Inputs, done: float
    ) -> Tensor:
        """Return both losses, weighed as after the share `done` of the training."""
        weight, of_all = (_between(ends, done / self.options.over) for ends in self._weights)
        if weight == 0 or self.options.frozen:
            return of_all * of_targets
        wanted = view.framed(clean[view.reads], noisy[view.reads]).series
        return of_all * of_targets + weight * self.criterion(denoised, wanted).mean()

    @property
    def _weights(self) -> tuple[tuple[float, float], tuple[float, float]]:
        return self.options.weight, self.options.targets_weight

    def get_extra_state(self) -> dict[str, bool]:
        """Return what a checkpoint holds beside the weights."""
        return {"started": self.started}

    def set_extra_state(self, state: dict[str, bool]) -> None:
        """Take what a checkpoint holds beside the weights."""
        self.started = state["started"]


def _between(ends: tuple[float, float], done: float) -> float:
    first, last = ends
    return first + (last - first) * min(max(done, 0.0), 1.0)
