"""Between records and the few numbers that a network draws of them, given what the records are of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from reconstruction.shapes import Float, PerRow, Series

Values = Float[Tensor, "batch value"]


class Rendering(nn.Module, ABC):
    """What of a record is drawn: `width` numbers, in units of the noise of each.

    What the rest of a record looks like follows from `given`, names of columns, is a phase that any record may have, or
    is noise that everybody can draw.
    """

    given: ClassVar[tuple[str, ...]] = ()
    """Columns without which nothing is rendered."""
    phases: int = 0
    """How many phases of a record are uniform and say nothing: they are drawn without the network."""
    assumed: Mapping[str, float] = {}
    """Facts of the records that it takes for granted, by name: those of the data must be the same."""
    reads: str = "series"
    """Name of the input that is drawn."""
    width: int

    @abstractmethod
    def values(self, series: Series, truths: Mapping[str, Tensor]) -> Values:
        """Return the numbers of records, each with noise of variance 1; `truths` are columns (batch,)."""

    @abstractmethod
    def misfit(self, series: Series, truths: Mapping[str, Tensor], made: Values) -> PerRow:
        """Return −log p of noisy records of which the numbers are `made`, in nats, up to a constant.

        Where phases are free it is that of the mean of p over all of them.
        """

    @abstractmethod
    def series(
        self, made: Values, truths: Mapping[str, Tensor], positions: int, turns: Float[Tensor, "batch phase"]
    ) -> Series:
        """Return records of so many positions, without noise; `turns` are their free phases, in turns."""
