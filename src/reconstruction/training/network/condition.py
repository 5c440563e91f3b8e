"""What a model is told of the apparatus, on its way to encoders and head, and what it states outside of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from reconstruction.errors import UserError
from reconstruction.models import Encoder, PredictiveDistribution
from reconstruction.models.conditioning.context import ConditionOptions, Context, ToldContext
from reconstruction.models.conditioning.modulation import FeatureModulation
from reconstruction.models.predictive.categorical import Categorical
from reconstruction.records.batch import SETTINGS, Inputs
from reconstruction.shapes import Features, Series


class Condition(nn.Module):
    """The context of a model, and what it does to series and features.

    `encoders` are those of the model, by name; they are made for the channels that `channels` says.
    """

    def __init__(self, options: ConditionOptions, encoders: Mapping[str, Encoder], features_width: int) -> None:
        super().__init__()
        self.options = options
        self.context = Context(options)
        for name, encoder in encoders.items():
            _require_channels(name, encoder, options)
            if options.by != "concatenation":
                encoder.condition(options.by, options.width)
        self.modulation = None if options.by == "concatenation" else FeatureModulation(features_width, options.width)

    @property
    def settings(self) -> tuple[str, ...]:
        """Columns of the settings."""
        return self.options.settings

    def placed(self, inputs: Inputs) -> Tensor:
        """Return the standardised settings (batch, setting), NaN throughout for inputs without any."""
        given = inputs.get(SETTINGS)
        return self._unknown(inputs) if given is None else self.context.placed(given.squeeze(1))

    def given(self, inputs: Inputs, names: Sequence[str]) -> Tensor:
        """Return settings of these names (batch, name) in their own units, NaN where they are not known."""
        given = inputs.get(SETTINGS)
        values = self._unknown(inputs) if given is None else given.squeeze(1)
        # not by a list of places: that is a tensor of the host's, whose copy a CUDA graph cannot hold
        return torch.stack([values[:, self.settings.index(name)] for name in names], dim=1)

    def _unknown(self, inputs: Inputs) -> Tensor:
        like = next(iter(inputs.values()))
        return self.context.shift.new_full((like.shape[0], len(self.settings)), torch.nan)

    def series(self, series: Series, told: ToldContext) -> Tensor:
        """Return a view's series with the context as further channels, before its own, where it is concatenated."""
        if self.modulation is not None:
            return series
        channels = told.vector.to(series.dtype).unsqueeze(1).expand(-1, series.shape[1], -1)
        return torch.cat((channels, series), dim=-1)

    def encoded(self, told: ToldContext) -> Tensor | None:
        """Return the context that encoders read, None where it came with the series."""
        return None if self.modulation is None else told.vector

    def features(self, features: Features, told: ToldContext) -> list[Tensor]:
        """Return what the head reads: features as the context changes them, and the context itself."""
        if self.modulation is not None:
            features = self.modulation(features.unsqueeze(1), told.vector).squeeze(1)
        return [features, told.vector]

    def widened(
        self, said: PredictiveDistribution, mirrored: PredictiveDistribution, outside: Tensor
    ) -> PredictiveDistribution:
        """Return a distribution whose error bars have grown where settings lie outside of the trained range (batch,).

        A model answers there as at the edge of the range. `mirrored` is what it says as far inside of the edge: what
        the way back changes, the way out is taken to change too, `widen` times as much of it in the estimate, and in
        the error bar by the same factor.
        """
        if isinstance(said, Categorical) and isinstance(mirrored, Categorical):
            # the most that a probability changed on the way: so much flatter are all of them
            moved = (said.probabilities - mirrored.probabilities).abs().amax(dim=1, keepdim=True)
            return said.temper(torch.where(outside.unsqueeze(1), 1 + self.options.widen * moved, 1.0))
        change = self.options.widen * (said.estimate - mirrored.estimate).abs()
        grown = (said.error_bar / mirrored.error_bar).clamp(min=1)
        factor = torch.sqrt(grown.square() + (change / said.error_bar).square())
        return said.temper(torch.where(outside.unsqueeze(1), factor, 1.0).to(said.dtype))


def _require_channels(name: str, encoder: Encoder, options: ConditionOptions) -> None:
    if options.by == "concatenation" and not encoder.takes_channels:
        raise UserError(
            f"the encoder {name!r} ({type(encoder).__name__}) reads its channels as cells of a grid, and cannot have "
            "settings beside them: use model.condition.by=film or attention"
        )
