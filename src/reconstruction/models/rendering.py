"""Between records and the few numbers that a network draws of them, given what the records are of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from reconstruction.shapes import Float, PerRow, Series

Values = Float[Tensor, "batch value"]


class Rendering(nn.Module, ABC):
    """What of a record is drawn: `width` numbers, in units of the noise of each.

    What the rest of a record looks like follows from `given`, names of columns, or is noise that everybody can draw.
    """

    given: ClassVar[tuple[str, ...]] = ()
    """Columns without which nothing is rendered."""
    free_phase: ClassVar[bool] = False
    """Whether the numbers are (real, imaginary) pairs whose common phase is uniform and says nothing."""
    assumed: Mapping[str, float] = {}
    """Facts of the records that it takes for granted, by name: those of the data must be the same."""
    reads: str = "series"
    """Name of the input that is drawn."""
    width: int

    @abstractmethod
    def values(self, series: Series, truths: Mapping[str, Tensor]) -> Values:
        """Return the numbers of records; `truths` are columns (batch,)."""

    @abstractmethod
    def series(self, values: Values, truths: Mapping[str, Tensor], positions: int) -> Series:
        """Return records of so many positions, without noise."""

    def misfit(self, values: Values, made: Values) -> PerRow:
        """Return −log p of numbers that are `made` plus noise, up to a constant.

        ½|x − μ|², and where the phase is free its mean over all phases: ½|x|² + ½|μ|² − ln I₀(|⟨μ, x⟩|).
        """
        if not self.free_phase:
            return (values - made).square().sum(dim=1) / 2
        squares = (values.square() + made.square()).sum(dim=1) / 2
        # the root has no slope at nothing
        overlap = (inner(made, values).square().sum(dim=1) + torch.finfo(squares.dtype).tiny).sqrt()
        return squares - overlap - torch.special.i0e(overlap).log()

    def turned(self, values: Values, turns: PerRow) -> Values:
        """Return numbers with another common phase, in turns, where that is free."""
        if not self.free_phase:
            return values
        pairs = torch.view_as_complex(values.unflatten(1, (-1, 2)).contiguous())
        angle = 2 * torch.pi * turns.unsqueeze(1)
        return torch.view_as_real(pairs * torch.polar(torch.ones_like(angle), angle)).flatten(1)


def inner(first: Values, second: Values) -> Float[Tensor, "batch 2"]:
    """Return Σ a* b of pairs (real, imaginary), as a pair."""
    (a, b), (c, d) = (values.unflatten(1, (-1, 2)).unbind(2) for values in (first, second))
    return torch.stack(((a * c + b * d).sum(dim=1), (a * d - b * c).sum(dim=1)), dim=1)
