"""A figure over two settings of the apparatus, in colours; trained ones marked, white where there are no rows.

Settings of a grid are cells; those that lie anywhere, as spots.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.collections import Collection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reconstruction.judging.measures.by_setting import OUTSIDE, TRAINED, SettingRow
from reconstruction.judging.pictures.axes import colour_bar, legend
from reconstruction.judging.pictures.plots import canvas, column_label, styled

_GRID = 0.3
"""Settings fill at least so much of the product of their values where they are a grid."""
_SPOT = 240


@styled
def settings_map(rows: Sequence[SettingRow], names: Sequence[str], label: str) -> Figure:
    """Draw the first estimator's ratio over two settings; of several rows at one place, their mean."""
    figure, axes = canvas()
    places = np.array([row.setting[:2] for row in rows])
    x, y, cells = cells_of(places, np.array([row.ratio[0].value for row in rows]))
    axes.grid(False)
    axes.set(xlabel=column_label(names[0]), ylabel=column_label(names[1]), facecolor="white")
    finite = cells[np.isfinite(cells)]
    low, high = finite.min(), finite.max()
    norm = LogNorm(low, high) if low > 0 and high / low > 3 else Normalize(low, high)
    if len(finite) >= _GRID * cells.size:
        drawn: Collection = axes.pcolormesh(edges_of(x), edges_of(y), cells.T, norm=norm, rasterized=True)
    else:
        column, line = np.nonzero(np.isfinite(cells))
        drawn = axes.scatter(x[column], y[line], c=cells[column, line], norm=norm, s=_SPOT, marker="s")
    colour_bar(figure, axes, drawn, label)
    for where, marker, said in ((TRAINED, "o", "trained"), (OUTSIDE, "x", "outside of the trained range")):
        chosen = np.array([row.where == where for row in rows])
        if chosen.any():
            axes.plot(*places[chosen].T, linestyle="none", marker=marker, color="#D55E00", fillstyle="none", label=said)
    legend(axes)
    return figure


def cells_of(places: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return the different x and y of places (rows, 2), and the mean value at each pair, NaN where there is none."""
    x, column = np.unique(places[:, 0], return_inverse=True)
    y, line = np.unique(places[:, 1], return_inverse=True)
    sums, counts = np.zeros((len(x), len(y))), np.zeros((len(x), len(y)))
    np.add.at(sums, (column, line), values)
    np.add.at(counts, (column, line), 1)
    return x, y, np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def edges_of(centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the edges of cells (n + 1,) around rising centres (n,): half way to their neighbours."""
    if len(centres) == 1:
        half = 0.05 * abs(centres[0]) or 0.5
        return np.array([centres[0] - half, centres[0] + half])
    middles = (centres[1:] + centres[:-1]) / 2
    return np.r_[2 * centres[0] - middles[0], middles, 2 * centres[-1] - middles[-1]]
