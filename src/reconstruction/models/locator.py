"""Where a line stands, to a small fraction of a position: attention points at it, its neighbourhood refines."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function

from reconstruction.models.affine import Affine
from reconstruction.models.encoders.joining import columns
from reconstruction.shapes import Features, Float, PerRow, Series

_LEAST_SURE = math.log(1e-12)
_HUBER = 0.3
"""Positions; beyond it the loss of the place is linear."""
_OF_POSITION = 3.0
"""Weight of the place beside the entropy of the attention."""

LogAttention = Float[Tensor, "batch position"]


class Reading(NamedTuple):
    """What a locator read off a series."""

    position: PerRow
    """(batch,) in positions of the series, counted from 0, with its fraction."""
    features: Features
    """(batch, feature_width): how sure it is, and what the neighbourhood looks like."""


class Locator(nn.Module):
    """Read the position of the line that the attention points at.

    The position with the largest weight is taken; the complex values around it, turned so that the middle one of the
    first pair is real (its phase says nothing of where the line stands), go with the encoder's features through a small
    perceptron that returns the fraction. The line shape of a finite record spreads a line over its neighbours, so that
    these few values hold all that the record knows of the fraction.

    Args:
        in_channels: channels of the series; real and imaginary parts interleaved, so an even number.
        in_width: the encoder's features.
        in_phase: channels, the first, that are turned together; each pair after them by its own middle. None: all.
        window: positions on either side of the middle.
        hidden_width: width of the perceptron.
        feature_width: features handed on to the head.

    """

    def __init__(
        self,
        in_channels: int,
        in_width: int,
        *,
        in_phase: int | None = None,
        window: int = 5,
        hidden_width: int = 128,
        feature_width: int = 4,
    ) -> None:
        super().__init__()
        if in_channels % 2:
            raise ValueError(f"a locator reads complex values: {in_channels} channels are not pairs")
        self.window = window
        self.together = (in_channels if in_phase is None else in_phase) // 2
        self.feature_width = feature_width + 3
        around = (2 * window + 1) * in_channels
        self.perceptron = nn.Sequential(
            Affine(around + in_width + 1, hidden_width),
            nn.GELU(),
            Affine(hidden_width, hidden_width),
            nn.GELU(),
            Affine(hidden_width, 1 + feature_width),
        )

    def forward(
        self, series: Series, log_attention: LogAttention, features: Features, attention: LogAttention | None = None
    ) -> Reading:
        """Return the position and what the head should know of it; `attention` is exp(log_attention), if there."""
        # positions 0 … last, as the features have them, go from −1 to 1
        unit = 2 / max(series.shape[1] - 1, 1)
        highest, peak = log_attention.max(dim=1, keepdim=True)
        place = torch.linspace(-1, 1, series.shape[1], device=series.device, dtype=log_attention.dtype)
        mean_place = torch.mm(log_attention.exp() if attention is None else attention, place.unsqueeze(1))
        peak_place = place[peak]
        outputs = self.perceptron(columns((self._around(series, peak), features, peak_place)))
        fraction, others = outputs.split([1, outputs.shape[1] - 1], dim=1)
        position = peak + self.window * fraction
        surety = highest.clamp(min=_LEAST_SURE)
        return Reading(position.squeeze(1), columns((others, surety, mean_place, position * unit - 1)))

    def _around(self, series: Series, peak: Tensor) -> Features:
        steps = torch.arange(2 * self.window + 1, device=series.device)
        beside = nn.functional.pad(series, (0, 0, self.window, self.window))
        values = beside.gather(1, (peak + steps).unsqueeze(2).expand(-1, -1, series.shape[2]))
        pairs = torch.view_as_complex(values.unflatten(2, (-1, 2)))
        middle = pairs[:, self.window : self.window + 1]
        first, others = middle[..., :1], middle[..., self.together :]
        turn = torch.cat((first.expand(-1, -1, self.together), others), dim=2) if others.shape[2] else first
        turned = pairs * torch.sgn(turn).conj_physical()
        return torch.view_as_real(turned).flatten(1)


def location_loss(log_attention: LogAttention, position: PerRow, wanted: PerRow, reach: int = 5) -> PerRow:
    """Return the loss that teaches where to point: cross-entropy of the attention plus a Huber term of the position.

    The wanted position lies between two integers; both share the entropy in proportion. A line that stands outside the
    series teaches nothing, one that stands farther than `reach` from where the attention points teaches the attention
    alone: what is read around the wrong place does not say where the right one is, and as the pull of each such record
    is as strong as the Huber loss allows, they would drown those of the lines that are there.
    """
    loss: Tensor = _LocationLoss.apply(log_attention, position, wanted, reach)[0]
    return loss


class _LocationLoss(Function):
    """The loss and its gradient, which is a few numbers a row: nothing flows through clamps and picks."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        log_attention: Tensor, position: Tensor, wanted: Tensor, reach: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return the loss (batch,); how far off the position is, two integers, their shares, and who is left out.

        A position whose line is not in reach is off by nothing.
        """
        last = log_attention.shape[1] - 1
        held = wanted.clamp(0, last)
        lower = held.floor().clamp(max=max(last - 1, 0))
        pick = torch.stack((lower, (lower + 1).clamp(max=last)), dim=1).long()
        part = held - lower
        below, above = log_attention.gather(1, pick).unbind(dim=1)
        entropy = torch.lerp(below, above, part)
        missed = (log_attention.argmax(dim=1) - held).abs() > reach
        off = (position - held).masked_fill(missed, 0)
        huber = nn.functional.huber_loss(off, torch.zeros_like(off), delta=_HUBER, reduction="none")
        outside = held != wanted
        loss = (_OF_POSITION * huber - entropy).masked_fill(outside, 0)
        return loss, off, pick, torch.stack((part - 1, -part), dim=1), outside

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep what is small."""
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*output[1:])
        ctx.shape = inputs[0].shape

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, *others: None) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Huber's loss pulls by the error up to its δ; the entropy by the shares of the two integers."""
        if gradient is None:
            return None, None, None, None
        off, pick, shares, outside = ctx.saved_tensors
        gradient = gradient.masked_fill(outside, 0)
        of_attention = gradient.new_zeros(ctx.shape).scatter_add(1, pick, gradient.unsqueeze(1) * shares)
        return of_attention, gradient * (_OF_POSITION * off.clamp(-_HUBER, _HUBER)), None, None
