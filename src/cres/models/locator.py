"""Where a line stands, to a small fraction of a position: attention points at it, its neighbourhood refines."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from cres.shapes import Features, Float, PerElectron, Series

LogAttention = Float[Tensor, "batch position"]


class Reading(NamedTuple):
    """What a locator read off a series."""

    position: PerElectron
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
            nn.Linear(around + in_width + 1, hidden_width),
            nn.GELU(),
            nn.Linear(hidden_width, hidden_width),
            nn.GELU(),
            nn.Linear(hidden_width, 1 + feature_width),
        )

    def forward(self, series: Series, log_attention: LogAttention, features: Features) -> Reading:
        """Return the position and what the head should know of it."""
        last = series.shape[1] - 1
        weights = log_attention.exp()
        peak = weights.argmax(dim=1)
        place = torch.arange(series.shape[1], device=series.device, dtype=weights.dtype)
        mean_position = weights @ place
        outputs = self.perceptron(torch.cat((self._around(series, peak), features, _unit(peak, last)), dim=1))
        position = peak.to(outputs.dtype) + self.window * outputs[:, 0]
        surety = torch.cat(
            (weights.amax(dim=1, keepdim=True).clamp(min=1e-12).log(), _unit(mean_position, last)), dim=1
        )
        return Reading(position, torch.cat((outputs[:, 1:], surety, _unit(position, last)), dim=1))

    def _around(self, series: Series, peak: Tensor) -> Features:
        steps = torch.arange(-self.window, self.window + 1, device=series.device)
        index = peak.unsqueeze(1) + steps
        inside = ((index >= 0) & (index < series.shape[1])).unsqueeze(2)
        values = series.gather(1, index.clamp(0, series.shape[1] - 1).unsqueeze(2).expand(-1, -1, series.shape[2]))
        pairs = torch.view_as_complex((values * inside).unflatten(2, (-1, 2)).contiguous())
        middle = pairs[:, self.window, :1].unsqueeze(2)
        turned = pairs * middle.conj() / middle.abs().clamp(min=1e-6)
        return torch.view_as_real(turned).flatten(1)


def location_loss(log_attention: LogAttention, position: PerElectron, wanted: PerElectron) -> PerElectron:
    """Return the loss that teaches where to point: cross-entropy of the attention plus a Huber term of the position.

    The wanted position lies between two integers; both share the entropy in proportion. A line that stands outside the
    series teaches nothing.
    """
    last = log_attention.shape[1] - 1
    inside = (wanted >= 0) & (wanted <= last)
    held = wanted.clamp(0, last)
    lower = held.floor().clamp(max=max(last - 1, 0)).long()
    share = held - lower
    upper = (lower + 1).clamp(max=last)
    pick = torch.stack((lower, upper), dim=1)
    entropy = -(log_attention.gather(1, pick) * torch.stack((1 - share, share), dim=1)).sum(dim=1)
    huber = nn.functional.huber_loss(position, held, delta=0.3, reduction="none")
    return torch.where(inside, entropy + 3 * huber, torch.zeros_like(entropy))


def _unit(position: Tensor, last: int) -> Features:
    """Positions 0 … last as a column from −1 to 1."""
    return (2 * position.float() / max(last, 1) - 1).unsqueeze(1)
