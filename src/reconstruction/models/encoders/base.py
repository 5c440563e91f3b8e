"""What every encoder is: a series of any length and channel number in, one feature vector a record out."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from reconstruction.errors import UserError
from reconstruction.models.conditioning.context import By, ContextVector
from reconstruction.models.conditioning.modulation import make_modulation
from reconstruction.models.encoders.pooling import Pooling
from reconstruction.models.encoders.positions import Pooled, by_length, on_a_processor
from reconstruction.shapes import Features, Lengths, Series


class Sequence(NamedTuple):
    """An encoder's features before pooling."""

    values: Tensor
    """(batch, position, width); positions at and beyond `lengths` are zero."""
    lengths: Tensor | None
    """(batch,) positions that belong to the record, or None when all do."""


class Encoded(NamedTuple):
    """Pooled features, and the weights that pooled them."""

    features: Tensor
    """(batch, output_width)"""
    attention: Tensor | None
    """(batch, position) weights that sum to one, for attention pooling; None otherwise."""
    log_attention: Tensor | None
    """Logarithm of the weights, for a stable cross-entropy; −inf at padding."""
    stride: int
    """Samples a position: position i stands for the samples i · stride … (i + 1) · stride − 1."""


class Encoder(nn.Module, ABC):
    """Abstract encoder: (batch, time, channel) to (batch, output_width).

    `lengths` (batch,) says how many samples of each record are real; what lies behind never changes the features.
    Subclasses call `__init__(in_channels, sequence_width, stride, pooling)` and write `sequence` and `layers`. Where
    `sequence` also takes a context, it lets `modulated` change what its layers hand on.
    """

    takes_channels: ClassVar[bool] = True
    """Whether further channels may stand before those of the series: not where channels are places of a grid."""

    of_tokens: ClassVar[bool] = False
    """Whether positions are tokens, a feature each, of which most rows have few: padding is then not computed."""

    def __init__(self, in_channels: int, sequence_width: int, stride: int, pooling: Pooling) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.sequence_width = sequence_width
        self.stride = stride
        self.pooling = pooling
        self.output_width = pooling.output_width
        self.modulations: nn.ModuleList | None = None
        """What a context does to the features of each layer, of an encoder that is conditioned."""

    @property
    @abstractmethod
    def layers(self) -> tuple[nn.Module, ...]:
        """The layers from input to output: what fine-tuning freezes or trains.

        What stands behind the last of them, a norm and the pooling, learns with it.
        """

    @abstractmethod
    def sequence(self, series: Series, lengths: Lengths | None = None) -> Sequence:
        """Return the features of each position, before pooling."""

    @property
    def modulated_widths(self) -> tuple[int, ...]:
        """Widths of the features that `sequence` lets a context modulate, in their order."""
        return (self.sequence_width,) * len(self.layers)

    @property
    def fitted(self) -> bool:
        """Whether what `fit` fits is there; true where there is nothing to fit."""
        return True

    def fit(self, batches: Iterable[tuple[Series, Lengths | None]]) -> None:
        """Fit scales of its own, which it keeps in buffers, on series of the training split; most have none."""

    def condition(self, by: By, context_width: int) -> None:
        """Let a context modulate the features of each layer. Raises UserError where `sequence` takes none."""
        if "context" not in inspect.signature(self.sequence).parameters:
            raise UserError(
                f"{type(self).__name__} takes no context in `sequence`, so that model.condition.by={by} cannot reach "
                "its layers: use by=concatenation, or an encoder whose layers are modulated"
            )
        widths = self.modulated_widths
        self.modulations = nn.ModuleList(make_modulation(by, width, context_width) for width in widths)

    def modulated(
        self, values: Tensor, place: int, context: ContextVector | None, lengths: Lengths | None = None
    ) -> Tensor:
        """Return features (batch, position, width) of a layer as the context changes them; without one, as given."""
        if context is None or self.modulations is None:
            return values
        changed: Tensor = self.modulations[place](values, context, lengths)
        return changed

    def channels_modulated(
        self, values: Tensor, place: int, context: ContextVector | None, lengths: Lengths | None = None
    ) -> Tensor:
        """The same for features (batch, width, position)."""
        return values if context is None else self.modulated(values.mT, place, context, lengths).mT

    def encode(self, series: Series, lengths: Lengths | None = None, context: ContextVector | None = None) -> Encoded:
        """Return the pooled features with the attention weights; an encoder that is conditioned reads `context`."""
        check_series(series, lengths, self.in_channels)
        if self.of_tokens and lengths is not None and on_a_processor(series) and len(series):
            return Encoded(*by_length(self._pooled, series, lengths, context), self.stride)
        return Encoded(*self._pooled(series, lengths, context), self.stride)

    def _pooled(self, series: Series, lengths: Lengths | None, context: ContextVector | None) -> Pooled:
        told = {} if context is None else {"context": context}
        values, position_lengths = self.sequence(series, lengths, **told)
        pooled = self.pooling(values, position_lengths)
        return pooled.features, pooled.attention, pooled.log_attention

    def forward(self, series: Series, lengths: Lengths | None = None, context: ContextVector | None = None) -> Features:
        """Return the pooled features."""
        return self.encode(series, lengths, context).features


def check_series(series: Tensor, lengths: Tensor | None, in_channels: int) -> None:
    """Raise ValueError where a wrong shape would broadcast or fail far from its cause."""
    if series.ndim != 3 or series.shape[-1] != in_channels:
        raise ValueError(f"series has shape {tuple(series.shape)}, expected (batch, time, {in_channels})")
    if series.shape[1] < 1:
        raise ValueError("series has no samples")
    if lengths is not None and lengths.shape != (series.shape[0],):
        raise ValueError(f"lengths has shape {tuple(lengths.shape)}, expected ({series.shape[0]},)")
