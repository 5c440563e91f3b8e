"""Axes of pictures can be read."""

from __future__ import annotations

import itertools

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from reconstruction.judging.pictures.axes import plain_log
from reconstruction.judging.pictures.plots import canvas, in_style

DECADES = [(2.3e-4, 8e-4), (2e-4, 9e-4), (1.1e-3, 6.8e-3), (0.02, 0.9), (0.04, 9), (0.001, 1000)]
LESS = [(1, 1.3), (3.1, 6.2), (0.0031, 0.0098)]


@pytest.mark.parametrize(("low", "high"), DECADES + LESS)
def test_numbers_on_a_logarithmic_axis_do_not_meet(low: float, high: float) -> None:
    with in_style():
        figure, axes = canvas()
        axes.set(xscale="log", xlim=(low, high))
        plain_log(axes.xaxis)
        drawn = FigureCanvasAgg(figure)
        drawn.draw()
        labels = [one for one in axes.get_xticklabels() if low <= one.get_position()[0] <= high]
        boxes = sorted((one.get_window_extent(drawn.get_renderer()) for one in labels), key=lambda box: box.x0)
    assert len(boxes) >= 2
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
