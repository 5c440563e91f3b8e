"""Showers from another side: a calorimeter that looks the same all round makes as many of each."""

from __future__ import annotations

import torch
from torch import Tensor

from collider.showers.learning.cells import CYLINDRICAL
from reconstruction.random.keyed import KeyedRandom
from reconstruction.random.transforms import RandomTransform
from reconstruction.shapes import Series


class Turn(RandomTransform):
    """Turn by whole sectors and mirror, or mirror a grid of squares in x and in y."""

    def __init__(self, grid: str, grid_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.round, self.shape = grid == CYLINDRICAL, tuple(grid_shape)

    def forward(self, series: Series, random: KeyedRandom, scale: float | Tensor = 1.0) -> Series:
        """Return the turned cells; `scale` has no meaning here."""
        drawn = random.uniform(3, stream="turn")
        x = self._order(self.shape[1], drawn[:, 0], drawn[:, 1] if self.round else torch.zeros_like(drawn[:, 1]))
        y = self._order(self.shape[2], torch.zeros_like(drawn[:, 2]) if self.round else drawn[:, 2], drawn[:, 2] * 0)
        layers = torch.arange(self.shape[0], device=series.device).reshape(1, -1, 1, 1)
        place = (layers * self.shape[1] + x[:, None, :, None]) * self.shape[2] + y[:, None, None, :]
        return series.gather(1, place.reshape(len(series), -1, 1))

    @staticmethod
    def _order(count: int, mirror: Tensor, shift: Tensor) -> Tensor:
        """Return the order of `count` cells (batch, count): mirrored where `mirror` is 0.5 or more, then shifted."""
        places = torch.arange(count, device=mirror.device).expand(len(mirror), -1)
        turned = torch.where(mirror.unsqueeze(1) >= 0.5, count - 1 - places, places)
        return (turned + (shift.unsqueeze(1) * count).long()) % count
