"""Axes that read well: plain numbers on logarithmic scales, legends and colour bars that stay inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import Collection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from reconstruction.judging.tables.judged import rows_word

INK = "#222222"
LETTERS_IN_COLUMNS = ((3, 10), (2, 22))
"""So many columns has a legend whose labels have no more letters than that; longer ones stand in one column."""

ROWS_WITH_ROOM = 2
"""Rows of a legend that fit between a canvas' axes and its edge; each further one takes `ROW_HEIGHT` of the figure."""

ROW_HEIGHT = 0.055
_EDGE_PX = 4.0
_SHORT = 5
"""Letters of a tick label that a canvas has room for."""
_FEWEST_POINTS = 6
_USUAL, _FAR = 0.75, 5.0
"""A point is far off where its distance is more than so many times the third quartile of all distances."""
LOG_BEYOND = 8.0
"""A ratio of largest to smallest value from which an axis is logarithmic."""


def as_number(value: float, _position: Any = None) -> str:
    """Write a tick as a plain number."""
    return f"{value:g}"


def as_percent(value: float, _position: Any = None) -> str:
    """Write a fraction as per cent."""
    return f"{100 * value:g} %"


_PARTS = ((2.5, (1.0,)), (0.8, (1.0, 2.0, 5.0)), (0.5, (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
"""On an axis of more decades than this → the labelled parts of each; at least two lie inside, or labels would meet."""


def plain_log(axis: XAxis | YAxis, written: Callable[[float, Any], str] = as_number) -> None:
    """Label a logarithmic axis with plain numbers: decades, more between them the shorter it is, at last even steps."""
    low, high = axis.get_view_interval()
    decades = np.log10(high / low) if 0 < low < high else 1.0
    parts = next((numbers for least, numbers in _PARTS if decades > least), None)
    axis.set_major_locator(MaxNLocator(4) if parts is None else LogLocator(subs=parts))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(written))


def logarithmic_when_wide(axes: Axes, values: NDArray[np.float64]) -> None:
    """Make the y axis logarithmic where positive values differ much, else let it start at zero."""
    positive = values[np.isfinite(values) & (values > 0)]
    if len(positive) and positive.max() / positive.min() > LOG_BEYOND:
        axes.set_yscale("log")
        plain_log(axes.yaxis)
    else:
        axes.set_ylim(bottom=0)


def colour_bar(figure: Figure, axes: Axes, drawn: Collection, label: str) -> None:
    """Add a colour bar in a place of its own, so that its label stays inside."""
    left, bottom, width, height = axes.get_position().bounds
    axes.set_position((left, bottom, 0.76 * width, height))
    bar = figure.colorbar(drawn, cax=figure.add_axes((left + 0.79 * width, bottom, 0.035, height)), label=label)
    if isinstance(drawn.norm, LogNorm):
        plain_log(bar.ax.yaxis)


def legend(axes: Axes, *, last_first: bool = False) -> None:
    """Put the legend above the axes, where it covers nothing; axes shrink for one of many rows."""
    handles, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    longest = max(map(len, labels))
    columns = next((count for count, letters in LETTERS_IN_COLUMNS if longest <= letters), 1)
    rows = -(-len(labels) // columns)
    left, bottom, width, height = axes.get_position().bounds
    axes.set_position((left, bottom, width, height - max(rows - ROWS_WITH_ROOM, 0) * ROW_HEIGHT))
    order = slice(None, None, -1 if last_first else 1)
    axes.legend(handles[order], labels[order], loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=columns,
                borderaxespad=0.2)  # fmt: skip


def note(axes: Axes, text: str, *, over_data: bool = False) -> None:
    """Write small text into the upper left corner, with paper below it where data may lie there."""
    paper = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5} if over_data else None
    axes.annotate(text, (0.02, 0.98), xycoords="axes fraction", va="top", fontsize=8.5, color=INK, bbox=paper)


def keep_labels_inside(figure: Figure) -> None:
    """Move the left edge of axes at a fixed place until the labels of their y axis stand on the canvas."""
    if figure.get_layout_engine() is not None:
        return
    canvas = FigureCanvasAgg(figure)
    for axes in figure.axes:
        ticks = axes.yaxis.get_major_formatter().format_ticks(list(axes.yaxis.get_majorticklocs()))
        if max(map(len, ticks), default=0) <= _SHORT:  # the place for these is there
            continue
        box = axes.yaxis.get_tightbbox(canvas.get_renderer())
        missing = _EDGE_PX - box.x0 if box is not None and str(axes.yaxis.get_label_position()) == "left" else 0.0
        if missing > 0:
            left, bottom, width, height = axes.get_position().bounds
            step = missing / figure.bbox.width
            axes.set_position((left + step, bottom, width - step, height))


def near(values: NDArray[np.float64], level: float) -> tuple[float, float] | None:
    """Return limits around a level that leave out what lies far beyond all else, None where nothing does."""
    distance = np.sort(np.abs(values[np.isfinite(values)] - level))
    if len(distance) < _FEWEST_POINTS:
        return None
    usual = float(np.quantile(distance, _USUAL))
    if not usual > 0 or distance[-1] <= _FAR * usual:
        return None
    reach = 1.3 * float(distance[distance <= _FAR * usual][-1])
    return (level - reach, level + reach) if distance[-1] > reach else None


def say_empty(figure: Figure, axes: Axes) -> Figure:
    """Say on the picture that there is nothing to draw."""
    axes.annotate(f"too few {rows_word()}", (0.5, 0.5), xycoords="axes fraction", ha="center", color=INK)
    return figure
