"""Where a line stands, to a small fraction of a position: attention points at it, its neighbourhood refines."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from reconstruction.models.affine import Affine
from reconstruction.models.encoders.joining import columns
from reconstruction.shapes import Features, Float, PerRow, Series

_LEAST_SURE = math.log(1e-12)

LogAttention = Float[Tensor, "batch position"]


class Reading(NamedTuple):
    """What a locator read off a series."""

    position: PerRow
    """(batch,) in positions of the series, counted from 0, with its fraction."""
    features: Features
    """(batch, feature_width): how sure it is, and what the neighbourhood looks like."""


class Locator(nn.Module):
    """Read the position of the line that the attention points at.

    The position with the largest weight is taken; the complex values around it, turned so that the middle one is real
    (its phase says nothing of where the line stands), go with the encoder's features through a small perceptron that
    returns the fraction. The line shape of a finite record spreads a line over its neighbours, so that these few
    values hold all that the record knows of the fraction.

    Args:
        in_channels: channels of the series; real and imaginary parts interleaved, so an even number.
        in_width: the encoder's features.
        window: positions on either side of the middle.
        hidden_width: width of the perceptron.
        feature_width: features handed on to the head.

    """

    def __init__(
        self, in_channels: int, in_width: int, *, window: int = 5, hidden_width: int = 128, feature_width: int = 4
    ) -> None:
        super().__init__()
        if in_channels % 2:
            raise ValueError(f"a locator reads complex values: {in_channels} channels are not pairs")
        self.window = window
        self.feature_width = feature_width + 3
        around = (2 * window + 1) * in_channels
        self.perceptron = nn.Sequential(
            Affine(around + in_width + 1, hidden_width),
            nn.GELU(),
            Affine(hidden_width, hidden_width),
            nn.GELU(),
            Affine(hidden_width, 1 + feature_width),
        )

    def forward(self, series: Series, log_attention: LogAttention, features: Features) -> Reading:
        """Return the position and what the head should know of it."""
        # positions 0 … last, as the features have them, go from −1 to 1
        unit = 2 / max(series.shape[1] - 1, 1)
        highest, peak = log_attention.max(dim=1, keepdim=True)
        place = torch.arange(series.shape[1], device=series.device, dtype=log_attention.dtype) * unit - 1
        mean_place = torch.mv(log_attention.exp(), place).unsqueeze(1)
        peak_place = peak * unit - 1
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
        middle = pairs[:, self.window : self.window + 1, :1]
        turned = pairs * (middle.conj_physical() / middle.abs().clamp(min=1e-6))
        return torch.view_as_real(turned).flatten(1)


def location_loss(log_attention: LogAttention, position: PerRow, wanted: PerRow) -> PerRow:
    """Return the loss that teaches where to point: cross-entropy of the attention plus a Huber term of the position.

    The wanted position lies between two integers; both share the entropy in proportion. A line that stands outside the
    series teaches nothing.
    """
    last = log_attention.shape[1] - 1
    held = wanted.clamp(0, last)
    lower = held.floor().clamp(max=max(last - 1, 0))
    pick = torch.stack((lower, (lower + 1).clamp(max=last)), dim=1).long()
    below, above = log_attention.gather(1, pick).unbind(dim=1)
    entropy = torch.lerp(below, above, held - lower)
    huber = nn.functional.huber_loss(position, held, delta=0.3, reduction="none")
    return (3 * huber - entropy).masked_fill(held != wanted, 0)
