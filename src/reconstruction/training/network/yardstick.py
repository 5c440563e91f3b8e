"""What targets are measured in, shower by shower: an energy in the energy that was seen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import nn

from reconstruction.models.scaling import Standardise
from reconstruction.records.batch import Inputs
from reconstruction.shapes import Targets


class Yardstick(nn.Module, ABC):
    """Inputs → a positive size of each target (batch, target), float64: what is learned is target over size.

    For targets that span decades and are known to a share of themselves. The ratio varies little, and the network
    states how well that is known; estimate and error bar are its own times the size, in the target's unit.
    """

    tails_count: ClassVar[bool] = True
    """Whether the standard deviation is what is usual; else the median distance from the median is."""

    @abstractmethod
    def forward(self, inputs: Inputs) -> Targets:
        """Return the sizes, in the units of the targets; 1 for those that are learned as they are."""

    def errors(self, inputs: Inputs) -> Targets | None:
        """Return the usual error of the sizes as a share of them (batch, target), where rows differ in it.

        Then (target/size − 1)/error is learned: by how many usual errors a size is wrong. None: target over size is.
        """
        return None

    def line(self, inputs: Inputs) -> tuple[Targets, Targets]:
        """Return slope and start (batch, target): a target is start + slope · what is learned."""
        size, error = self(inputs), self.errors(inputs)
        return (size, torch.zeros_like(size)) if error is None else (size * error, size)

    def learned(self, targets: Targets, inputs: Inputs) -> Targets:
        """Return what is learned of targets (batch, target)."""
        slope, start = self.line(inputs)
        return (targets - start) / slope

    def fit(self, scaler: Standardise, learned: Targets) -> None:
        """Standardise what is learned of the training rows: errors by what most of them are, since they have tails."""
        (scaler.fit if self.tails_count else scaler.fit_to_noise)(learned)
