"""Statistics of weighted samples, for all bootstrap replicates at once.

A bootstrap resample is a row of integer weights: how often each row was drawn. Values are sorted once; order
statistics and window moments of every replicate are then look-ups in cumulative weights. The same seed gives the same
draws for every estimator, so that replicates are paired. Row 0 has unit weights: it is the sample itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from reconstruction.levels import CENTRAL_68

Array = NDArray[np.float64]

_CORE_WINDOW = 2.0
# Standard deviation of a unit Gaussian cut at ±2: sqrt(1 − 4 φ(2)/(2 Φ(2) − 1))
_CORE_SHRINKAGE = 0.8796256610342398
_CORE_STEPS = 60
_CHUNK_VALUES = 4_000_000


def bootstrap_weights(count: int, resamples: int, seed: int) -> Iterator[Array]:
    """Yield weights (rows, count) in pieces of bounded size, first the unit row and then `resamples` multinomial rows.

    The draws depend on (seed, count) only, not on the size of the pieces.
    """
    random = np.random.default_rng(seed)
    rows = max(1, _CHUNK_VALUES // max(count, 1))
    yield np.ones((1, count))
    for start in range(0, resamples, rows):
        piece = min(rows, resamples - start)
        draws = random.integers(max(count, 1), size=(piece, count)) + count * np.arange(piece)[:, None]
        yield np.bincount(draws.ravel(), minlength=piece * count).reshape(piece, count).astype(np.float64)


class Sample:
    """Values (n,) with replicate weights (replicates, n); every method returns one number a replicate.

    An empty sample gives NaN everywhere.
    """

    def __init__(self, values: Array, weights: Array):
        order = np.argsort(values, kind="stable")
        self.values = np.asarray(values, dtype=np.float64)[order]
        self.weights = weights[:, order]
        self._count = _cumulative(self.weights)
        self.total = self._count[:, -1]

    def mean(self, quantity: Callable[[Array], Array]) -> Array:
        """Return the weighted mean of a function of the values."""
        return _ratio(self.weights @ quantity(self.values), self.total)

    def quantile(self, probability: float) -> Array:
        """Return quantiles with linear interpolation, as NumPy's of the sample with its repetitions."""
        if not len(self.values):
            return np.full(len(self.weights), np.nan)
        position = np.maximum(self.total - 1, 0) * probability
        lower = np.floor(position)
        below, above = self._drawn(lower), self._drawn(np.minimum(lower + 1, self.total - 1))
        return np.where(self.total > 0, below + (position - lower) * (above - below), np.nan)

    def fraction_between(self, low: Array | float, high: Array | float) -> Array:
        """Return the fraction of values in [low, high]."""
        first, last = self._window(low, high)
        return _ratio(_between(self._count, first, last), self.total)

    def sigma68(self) -> Array:
        """Return half the width of the central 68.27 % interval."""
        return (self.quantile(0.5 + CENTRAL_68 / 2) - self.quantile(0.5 - CENTRAL_68 / 2)) / 2

    def core(self) -> tuple[Array, Array]:
        """Return mean and standard deviation of a Gaussian fitted within ±2 of its own standard deviations, iterated.

        The fixed point matches mean and variance inside the window to those of a Gaussian cut there, which is the
        maximum-likelihood fit of the truncated Gaussian.
        """
        if not len(self.values):
            return np.full(len(self.weights), np.nan), np.full(len(self.weights), np.nan)
        first_moment = _cumulative(self.weights * self.values)
        second_moment = _cumulative(self.weights * self.values**2)
        centre, width = self.quantile(0.5), self.sigma68()
        for _ in range(_CORE_STEPS):
            window = self._window(centre - _CORE_WINDOW * width, centre + _CORE_WINDOW * width)
            count = _between(self._count, *window)
            mean = _ratio(_between(first_moment, *window), count)
            variance = np.maximum(_ratio(_between(second_moment, *window), count) - mean**2, 0)
            settled = np.allclose(width, np.sqrt(variance) / _CORE_SHRINKAGE, rtol=1e-5, atol=0, equal_nan=True)
            centre, width = mean, np.sqrt(variance) / _CORE_SHRINKAGE
            if settled:
                break
        return centre, width

    def _drawn(self, index: Array) -> Array:
        """Return the value at a position of the sorted sample with repetitions."""
        rows, size = np.arange(len(self.weights)), len(self.values)
        found = np.searchsorted(self._ladder, index + self._step * rows, side="right") - size * rows
        return self.values[np.clip(found, 0, size - 1)]

    @cached_property
    def _step(self) -> float:
        return float(self.total.max()) + 1

    @cached_property
    def _ladder(self) -> Array:
        """Running sums of all replicates one above the other: increasing, so that one search serves them all."""
        return (self._count[:, 1:] + self._step * np.arange(len(self.weights))[:, None]).ravel()

    def _window(self, low: Array | float, high: Array | float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        rows = len(self.weights)
        first = np.searchsorted(self.values, np.broadcast_to(low, rows), side="left")
        return first, np.searchsorted(self.values, np.broadcast_to(high, rows), side="right")


@dataclass(frozen=True)
class Figure:
    """A number with its bootstrap replicates; `low` and `high` are their central 68.27 % interval."""

    value: float
    replicates: Array

    @property
    def low(self) -> float:
        """Lower end, NaN without replicates."""
        return self._end(0.5 - CENTRAL_68 / 2)

    @property
    def high(self) -> float:
        """Upper end, NaN without replicates."""
        return self._end(0.5 + CENTRAL_68 / 2)

    def over(self, other: Figure) -> Figure:
        """Return the ratio to a figure on the same rows and draws: what both share cancels in its interval."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return Figure(float(np.divide(self.value, other.value)), self.replicates / other.replicates)

    def _end(self, probability: float) -> float:
        finite = self.replicates[np.isfinite(self.replicates)]
        return float(np.quantile(finite, probability)) if len(finite) > 1 else float("nan")


def bootstrapped(
    statistics: Callable[[Array], Mapping[str, Array]], count: int, resamples: int, seed: int
) -> dict[str, Figure]:
    """Return figures of `statistics(weights) -> {name: (replicates,)}` over the sample and its resamples."""
    pieces = [statistics(weights) for weights in bootstrap_weights(count, resamples, seed)]
    joined = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    return {name: Figure(float(values[0]), values[1:]) for name, values in joined.items()}


def _cumulative(weights: Array) -> Array:
    """Return running sums along the values with a leading zero: (replicates, n + 1)."""
    return np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights, axis=1)], axis=1)


def _between(cumulative: Array, first: NDArray[np.intp], last: NDArray[np.intp]) -> Array:
    rows = np.arange(len(cumulative))
    return cumulative[rows, last] - cumulative[rows, first]


def _ratio(numerator: Array, denominator: Array) -> Array:
    return np.divide(numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator > 0)
