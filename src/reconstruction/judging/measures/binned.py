"""Statistics in bins of a covariate: profiles, maps, and what a selection on the stated uncertainty buys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reconstruction.judging.measures.bootstrap import Array, Figure, Sample, bootstrapped

Statistic = Callable[[Sample], Array]
"""From a sample with replicate weights to one number a replicate."""

_PER_BIN = 60
_MOST_BINS = 12
_FEWEST_IN_CELL = 12


@dataclass(frozen=True)
class Profile:
    """A statistic in bins of equal numbers: `edges` (bins + 1,), `centre` (the median inside), `figures`, `counts`."""

    edges: Array
    centre: Array
    figures: list[Figure]
    counts: NDArray[np.int64]

    @property
    def value(self) -> Array:
        """The statistic (bins,)."""
        return np.array([figure.value for figure in self.figures])

    @property
    def low(self) -> Array:
        """Lower end of the 68 % bootstrap interval (bins,)."""
        return np.array([figure.low for figure in self.figures])

    @property
    def high(self) -> Array:
        """Upper end of the 68 % bootstrap interval (bins,)."""
        return np.array([figure.high for figure in self.figures])


def sigma68_of(sample: Sample) -> Array:
    """Return the resolution."""
    return sample.sigma68()


def median_of(sample: Sample) -> Array:
    """Return the median: the bias of residuals."""
    return sample.quantile(0.5)


def mean_of(sample: Sample) -> Array:
    """Return the mean: of zeros and ones the share of ones."""
    return sample.mean(np.positive)


def coverage_of(sample: Sample) -> Array:
    """Return the fraction of pulls within ±1."""
    return sample.fraction_between(-1.0, 1.0)


def profile(
    covariate: Array,
    values: Array,
    statistic: Statistic,
    *,
    bins: int | None = None,
    resamples: int = 200,
    seed: int = 0,
) -> Profile:
    """Return a statistic of values (rows,) in equal-count bins of a covariate (rows,); NaN in either is left out.

    A constant covariate makes one bin. Without `bins` there are as many as keep 60 rows each, 12 at most.
    """
    usable = np.isfinite(covariate) & np.isfinite(values)
    x, y = covariate[usable], values[usable]
    wanted = int(np.clip(len(x) // _PER_BIN, 1, _MOST_BINS)) if bins is None else bins
    edges = np.unique(np.quantile(x, np.linspace(0, 1, wanted + 1))) if len(x) else np.zeros(0)
    if len(edges) == 1:
        edges = np.repeat(edges, 2)
    if len(edges) < 2:
        return Profile(edges, np.zeros(0), [], np.zeros(0, dtype=np.int64))
    index = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, len(edges) - 2)
    figures, centres, counts = [], [], []
    for i in range(len(edges) - 1):
        inside = y[index == i]
        figures.append(_figure(inside, statistic, resamples, seed + i))
        centres.append(np.median(x[index == i]) if len(inside) else (edges[i] + edges[i + 1]) / 2)
        counts.append(len(inside))
    return Profile(edges, np.array(centres), figures, np.array(counts, dtype=np.int64))


@dataclass(frozen=True)
class Cells:
    """A statistic over two covariates: edges of x and y and values (y bins, x bins), NaN where rows are few."""

    x_edges: Array
    y_edges: Array
    values: Array


def cell_map(x: Array, y: Array, values: Array, statistic: Statistic) -> Cells:
    """Return a statistic of values (rows,) in cells of two covariates; fewer than 12 rows make no cell."""
    usable = np.isfinite(x) & np.isfinite(y) & np.isfinite(values)
    x, y, values = x[usable], y[usable], values[usable]
    bins = int(np.clip(np.sqrt(len(x) / (2 * _FEWEST_IN_CELL)), 2, 10))
    x_edges, y_edges = _even_edges(x, bins), _even_edges(y, bins)
    column = np.clip(np.searchsorted(x_edges, x, side="right") - 1, 0, bins - 1)
    row = np.clip(np.searchsorted(y_edges, y, side="right") - 1, 0, bins - 1)
    cells = np.full((bins, bins), np.nan)
    for i, j in np.ndindex(bins, bins):
        inside = values[(row == i) & (column == j)]
        if len(inside) >= _FEWEST_IN_CELL:
            cells[i, j] = statistic(Sample(inside, np.ones((1, len(inside)))))[0]
    return Cells(x_edges, y_edges, cells)


def selection_curve(
    residual: Array, std: Array, *, points: int = 20, resamples: int = 60, seed: int = 0
) -> tuple[Array, list[Figure], Array]:
    """Return efficiencies, σ68 of the rows with the smallest stated std at each, and their rms.

    The efficiency counts all rows; rows without estimate or uncertainty are never selected.
    """
    usable = np.isfinite(residual) & np.isfinite(std) & (std > 0)
    ordered = residual[usable][np.argsort(std[usable], kind="stable")]
    smallest = max(20, len(residual) // points)
    sizes = np.unique(np.linspace(min(smallest, len(ordered)), len(ordered), points).astype(int))
    sizes = sizes[sizes > 0]
    figures = [_figure(ordered[:size], sigma68_of, resamples, seed) for size in sizes]
    rms = np.array([np.sqrt(np.mean(ordered[:size] ** 2)) for size in sizes])
    return sizes / max(len(residual), 1), figures, rms


def _figure(values: Array, statistic: Statistic, resamples: int, seed: int) -> Figure:
    def replicates(weights: Array) -> dict[str, Array]:
        return {"figure": statistic(Sample(values, weights))}

    return bootstrapped(replicates, len(values), resamples, seed)["figure"]


def _even_edges(values: Array, bins: int) -> Array:
    low, high = (values.min(), values.max()) if len(values) else (0.0, 1.0)
    return np.linspace(low, high if high > low else low + 1, bins + 1)
