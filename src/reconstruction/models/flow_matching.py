"""A conditional flow that carries noise into what was learned: flow matching.

Noise x₀ flows to a value x₁ along dx/dt = v(x, t, condition), t from 0 to 1. The velocity is learned from straight ways
between both, x_t = (1 − t) x₀ + t x₁: the mean of (v(x_t, t) − (x₁ − x₀))² is least where the flow carries the one
distribution into the other.                    Lipman et al. 2023, arXiv:2210.02747, eq. 23
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from reconstruction.shapes import Float

FREQUENCIES: Final = 8
"""Sines and cosines that tell the time."""
FLOW_STEPS: Final = 16
"""Of the midpoint rule from noise to values."""


class FlowMatching(nn.Module):
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
        angles = time * (torch.pi * 2.0 ** torch.arange(FREQUENCIES, device=time.device))
        values = self.start(torch.cat([place, angles.sin(), angles.cos(), given], dim=1))
        for block in self.blocks:
            values = values + block(values)
        velocity: Tensor = self.end(values)
        return velocity

    def loss(
        self,
        wanted: Float[Tensor, "batch value"],
        given: Float[Tensor, "batch condition"],
        noise: Float[Tensor, "batch value"],
        time: Float[Tensor, "batch 1"],
    ) -> Tensor:
        """Return the mean squared error of the velocity on the ways from noise to what is wanted, at these times."""
        reached = self.velocity(torch.lerp(noise, wanted, time), time, given)
        return (reached - (wanted - noise)).square().mean()

    def flown(
        self, noise: Float[Tensor, "batch value"], given: Float[Tensor, "batch condition"], steps: int = FLOW_STEPS
    ) -> Float[Tensor, "batch value"]:
        """Return where noise flows to: midpoint rule."""
        place = noise
        for step in range(steps):
            time = place.new_full((len(place), 1), step / steps)
            middle = place + self.velocity(place, time, given) / (2 * steps)
            place = place + self.velocity(middle, time + 0.5 / steps, given) / steps
        return place
