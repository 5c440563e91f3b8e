"""Random changes of inputs, drawn on the device, keyed by event; chains of them, whole or piece by piece.

Each transform is `forward(series (batch, position, channel), random, scale) -> series`. `scale` multiplies the *power*
of what is injected (the curriculum's noise scale).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from torch import Tensor, nn

from reconstruction.errors import UserError
from reconstruction.exact_buffers import ExactBuffers
from reconstruction.random.keyed import KeyedRandom
from reconstruction.shapes import Series


class RandomTransform(ExactBuffers, ABC):
    """A random change of a batch of records; the same event, seed and epoch get the same change."""

    @abstractmethod
    def forward(self, series: Series, random: KeyedRandom, scale: float | Tensor = 1.0) -> Series:
        """Return the changed records; `scale` is one number or one a row (batch,)."""


class Place(NamedTuple):
    """Which samples of a record a piece holds."""

    start: int
    total: int
    """Samples of the whole record."""


class PiecewiseTransform(RandomTransform):
    """A random transform that changes a piece of a record without the rest, as it changes the whole."""

    def forward(self, series: Series, random: KeyedRandom, scale: float | Tensor = 1.0) -> Series:
        """Return the changed records in the dtype of the series."""
        return self.piece(series, random, Place(0, series.shape[1]), scale)

    @abstractmethod
    def piece(self, series: Series, random: KeyedRandom, place: Place, scale: float | Tensor = 1.0) -> Series:
        """Return the changed piece (batch, time, channel) of records, in the dtype of the series."""


class RandomChain(RandomTransform):
    """Apply random transforms one after the other; two of one kind draw independent numbers."""

    def __init__(self, transforms: Iterable[RandomTransform]) -> None:
        super().__init__()
        self.transforms = nn.ModuleList(transforms)

    def forward(self, series: Series, random: KeyedRandom, scale: float | Tensor = 1.0) -> Series:
        """Return the records after every transform."""
        for transform, source in self._with_sources(random):
            series = transform(series, source, scale)
        return series

    def piece(self, series: Series, random: KeyedRandom, place: Place, scale: float | Tensor = 1.0) -> Series:
        """Return a piece of the records after every transform. Raises UserError where one needs the whole record."""
        self.require_piecewise()
        for transform, source in self._with_sources(random):
            assert isinstance(transform, PiecewiseTransform)
            series = transform.piece(series, source, place, scale)
        return series

    def require_piecewise(self) -> None:
        """Raise UserError where one of the transforms needs the whole record."""
        for transform in self.transforms:
            if not isinstance(transform, PiecewiseTransform):
                raise UserError(f"{type(transform).__name__} needs the whole record, so a piece of it cannot be made")

    def _with_sources(self, random: KeyedRandom) -> Iterator[tuple[nn.Module, KeyedRandom]]:
        """Yield each transform with its random numbers.

        The first of a kind draws as it would alone, so that adding another kind changes nobody's noise.
        """
        seen: Counter[str] = Counter()
        for transform in self.transforms:
            kind = type(transform).__name__
            yield transform, random.scoped(f"{kind} {seen[kind]}") if seen[kind] else random
            seen[kind] += 1
