"""A conditional flow that carries noise into what was learned: flow matching.

Noise x₀ flows to a value x₁ along dx/dt = v(x, t, condition), t from 0 to 1. The velocity is learned from straight ways
between both, x_t = (1 − t) x₀ + t x₁: the mean of (v(x_t, t) − (x₁ − x₀))² is least where the flow carries the one
distribution into the other.                    Lipman et al. 2023, arXiv:2210.02747, eq. 23
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final

import torch
from torch import Tensor, nn

from reconstruction.shapes import Float

FREQUENCIES: Final = 8
"""Sines and cosines that tell the time."""
FLOW_STEPS: Final = 16
"""Of the midpoint rule from noise to values."""


class VelocityField(nn.Module, ABC):
    """Abstract velocity v(x, t, given) of places (batch, …), learned along straight ways, and what flows along it.

    given: whatever the velocity reads beside place and time.
    """

    @abstractmethod
    def velocity(self, place: Tensor, time: Float[Tensor, "batch 1"], given: Any) -> Tensor:
        """Return v(x, t, given), of the shape of the place."""

    def misfit(self, wanted: Tensor, given: Any, noise: Tensor, time: Float[Tensor, "batch 1"]) -> Tensor:
        """Return the squared errors of the velocity on the ways from noise to what is wanted, number by number."""
        along = time.view(-1, *[1] * (wanted.ndim - 1))
        reached = self.velocity(torch.lerp(noise, wanted, along), time, given)
        return (reached - (wanted - noise)).square()

    def loss(self, wanted: Tensor, given: Any, noise: Tensor, time: Float[Tensor, "batch 1"]) -> Tensor:
        """Return the mean squared error of the velocity on the ways from noise to what is wanted, at these times."""
        return self.misfit(wanted, given, noise, time).mean()

    def flown(self, noise: Tensor, given: Any, steps: int = FLOW_STEPS) -> Tensor:
        """Return where noise flows to: midpoint rule."""
        place = noise
        for step in range(steps):
            time = place.new_full((len(place), 1), step / steps)
            middle = place + self.velocity(place, time, given) / (2 * steps)
            place = place + self.velocity(middle, time + 0.5 / steps, given) / steps
        return place


class FlowMatching(VelocityField):
    """The velocity of a flow of `values` numbers under `given` conditions: a perceptron of residual blocks."""

    def __init__(self, values: int, given: int, width: int = 256, depth: int = 4) -> None:
        super().__init__()
        self.values = values
        self.start = nn.Linear(values + 2 * FREQUENCIES + given, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
            for _ in range(depth)
        )
        self.end = nn.Linear(width, values)

    def velocity(
        self,
        place: Float[Tensor, "batch value"],
        time: Float[Tensor, "batch 1"],
        given: Float[Tensor, "batch condition"],
    ) -> Float[Tensor, "batch value"]:
        """Return v(x, t, condition)."""
        values = self.start(torch.cat([place, waves_of(time), given], dim=1))
        for block in self.blocks:
            values = values + block(values)
        velocity: Tensor = self.end(values)
        return velocity


def waves_of(share: Float[Tensor, "batch 1"]) -> Float[Tensor, "batch wave"]:
    """Return sines and cosines that tell numbers from 0 to 1, such as a time, to a network."""
    angles = share * (torch.pi * 2.0 ** torch.arange(FREQUENCIES, device=share.device))
    return torch.cat([angles.sin(), angles.cos()], dim=1)
