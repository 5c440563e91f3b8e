"""What targets are measured in, shower by shower: an energy in the energy that was seen."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import nn

from reconstruction.records.batch import Inputs
from reconstruction.shapes import Targets


class Yardstick(nn.Module, ABC):
    """Inputs → a positive size of each target (batch, target), float64: what is learned is target over size.

    For targets that span decades and are known to a share of themselves. The ratio varies little, and the network
    states how well that is known; estimate and error bar are its own times the size, in the target's unit.
    """

    @abstractmethod
    def forward(self, inputs: Inputs) -> Targets:
        """Return the sizes, in the units of the targets; 1 for those that are learned as they are."""
