"""The summary chart: a row of panels for each head that was judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from collider.jets.judging.heads import HEADS
from reconstruction.judging.pictures.plots import styled

PANEL_IN: Final = (4.6, 3.7)
TITLE_PT: Final = 38.0
"""Of a title above the axes, with two rows of a legend between them."""


@styled
def summary_chart(found: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw what the JSON of `judge` holds: each head in a row of its own."""
    shown = [head for head in HEADS if found.get(head.name)]
    columns, rows = max((len(head.panels) for head in shown), default=1), max(len(shown), 1)
    figure = Figure(figsize=(PANEL_IN[0] * columns, PANEL_IN[1] * rows))
    for row, head in enumerate(shown):
        width, bottom = 1 / len(head.panels), (rows - row - 1 + 0.2) / rows
        for column, draw in enumerate(head.panels):
            margin = 0.17 / columns
            axes = figure.add_axes((column * width + margin, bottom, width - margin - 0.05 / columns, 0.56 / rows))
            draw(axes, found[head.name])
    for axes in figure.axes:
        axes.set_title(axes.get_title(loc="left"), pad=_above_legend(figure, axes))
    return figure


def _above_legend(figure: Figure, axes: Axes) -> float:
    """Return how far above the axes the title stands, in points: behind the legend, and all of a row alike."""
    found = axes.get_legend()
    if found is None:
        return TITLE_PT
    height = found.get_window_extent(FigureCanvasAgg(figure).get_renderer()).height
    return max(TITLE_PT, 72 * height / figure.dpi + 6)
