"""From features of each position to features of the record: mean, attention or last, all blind to padding."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from reconstruction.models.affine import Affine
from reconstruction.models.encoders.positions import valid_positions
from reconstruction.models.precision import in_precision
from reconstruction.shapes import Float, Lengths

PoolingName = Literal["mean", "attention", "last"]


class Pooled(NamedTuple):
    """Features of a record or of a piece of it; attention weights and their logarithms where there are any."""

    features: Tensor
    log_weight: Callable[[], Tensor] | None
    """Makes the logarithm (batch,) of this piece's weight beside others; None where only the last piece counts."""
    attention: Tensor | None = None
    log_attention: Tensor | None = None


class Pooling(nn.Module, ABC):
    """Abstract pooling: (batch, position, width) to (batch, output_width)."""

    def __init__(self, output_width: int) -> None:
        super().__init__()
        self.output_width = output_width

    @abstractmethod
    def forward(self, values: Float[Tensor, "batch position width"], lengths: Lengths | None) -> Pooled:
        """Pool the positions below `lengths`."""


class MeanPooling(Pooling):
    """Mean over the positions of the record; positions beyond it must hold zeros."""

    def __init__(self, width: int) -> None:
        super().__init__(width)

    def forward(self, values: Float[Tensor, "batch position width"], lengths: Lengths | None) -> Pooled:
        """Pool by the mean."""
        counts = torch.full_like(values[:, 0, 0], values.shape[1]) if lengths is None else lengths.clamp(min=1)
        counts = counts.to(values.dtype)
        return Pooled(values.sum(dim=1) / counts.unsqueeze(1), counts.log)


class LastPooling(Pooling):
    """The last position of the record: the natural summary of a causal encoder."""

    def __init__(self, width: int) -> None:
        super().__init__(width)

    def forward(self, values: Float[Tensor, "batch position width"], lengths: Lengths | None) -> Pooled:
        """Pool by taking the last position."""
        if lengths is None:
            return Pooled(values[:, -1], None)
        last = (lengths - 1).clamp(min=0).reshape(-1, 1, 1).expand(-1, 1, values.shape[-1])
        return Pooled(values.gather(1, last).squeeze(1), None)


class EndsPooling(Pooling):
    """Last position for the first half of the features, first position for the second half.

    The final states of a recurrence that reads both ways.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.last = LastPooling(width)

    def forward(self, values: Float[Tensor, "batch position width"], lengths: Lengths | None) -> Pooled:
        """Pool by taking both ends."""
        half = self.output_width // 2
        last = self.last(values, lengths).features
        return Pooled(torch.cat((last[:, :half], values[:, 0, half:]), dim=-1), None)


class AttentionPooling(Pooling):
    """Weighted mean, weights from a learned score of each position: w = softmax(q · tanh(W v))."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.hidden = Affine(width, width)
        self.score = Affine(width, 1, bias=False)

    def forward(self, values: Float[Tensor, "batch position width"], lengths: Lengths | None) -> Pooled:
        """Pool by attention; the softmax runs in float32 or better."""
        scores = self.score(torch.tanh(self.hidden(values.flatten(0, 1)))).reshape(values.shape[:2])
        scores = scores if scores.dtype == torch.float64 else in_precision(scores, torch.float32)
        if lengths is not None:
            # A record without samples still needs one finite score.
            scores = scores.masked_fill(~valid_positions(lengths.clamp(min=1), values.shape[1]), -torch.inf)
        log_attention = torch.log_softmax(scores, dim=1)
        attention = log_attention.exp()
        features = torch.bmm(in_precision(attention, values.dtype).unsqueeze(1), values).squeeze(1)
        # the first position belongs to every record
        return Pooled(features, lambda: scores[:, 0] - log_attention[:, 0], attention, log_attention)


def merge(first: Pooled, second: Pooled) -> Pooled:
    """Pool two neighbouring pieces of a record as one."""
    if first.log_weight is None or second.log_weight is None:
        return second
    of_first = first.log_weight()
    log_weight = torch.logaddexp(of_first, second.log_weight())
    first_share = torch.exp(of_first - log_weight).unsqueeze(1)
    return Pooled(first_share * first.features + (1 - first_share) * second.features, lambda: log_weight)


def make_pooling(name: PoolingName, width: int) -> Pooling:
    """Return the pooling called `name`."""
    return _KINDS[name](width)


_KINDS: dict[str, Callable[[int], Pooling]] = {
    "mean": MeanPooling,
    "attention": AttentionPooling,
    "last": LastPooling,
}
