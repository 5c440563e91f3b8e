"""Pictures of many runs: their training on common axes, and what a setting does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from reconstruction.judging.measures.bootstrap import Array
from reconstruction.judging.pictures.axes import (
    INK,
    LOG_BEYOND,
    as_number,
    legend,
    logarithmic_when_wide,
    plain_log,
    say_empty,
)
from reconstruction.judging.pictures.plots import MARKERS, Curve, canvas, styled
from reconstruction.judging.sweeps.runs import Run
from reconstruction.judging.sweeps.runs_summary import metric_label, setting
from reconstruction.levels import CENTRAL_68

COLOURED = 6
"""So many runs, the best ones, have a colour of their own; the others are grey."""
GREY = "#c4c9cf"


def colour_of(place: int) -> str:
    """Return the colour of the run of a rank, from 0; call it in the style of the report."""
    return Curve("", np.zeros(0), None, place).colour if place < COLOURED else GREY


@styled
def training_curves(runs: Sequence[Run], metric: str) -> Figure:
    """Draw a metric against the epoch for all runs, best first; a dot marks each run's best checkpoint."""
    figure, axes = canvas()
    axes.set(xlabel="epoch", ylabel=metric_label(metric))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    drawn = [(place, run) for place, run in enumerate(runs) if np.isfinite(run.history.get(metric, [[], []])[1]).any()]
    for place, run in reversed(drawn):
        epochs, values = run.history[metric]
        coloured = place < COLOURED
        colour, label = colour_of(place), run.name if coloured else None
        axes.plot(epochs, values, color=colour, linewidth=1.6 if coloured else 0.9, label=label)
        if coloured and run.best_epoch is not None:
            axes.plot([run.best_epoch], [run.at_best(metric)], color=colour, marker=MARKERS[place % len(MARKERS)])
    if not drawn:
        return say_empty(figure, axes)
    _scale(axes, np.concatenate([run.history[metric][1] for _, run in drawn]), metric)
    legend(axes, last_first=True)
    return figure


@styled
def effect(runs: Sequence[Run], key: str, name: str, metric: str) -> Figure:
    """Draw a metric of each run's best checkpoint against one of the settings; the line joins medians."""
    figure, axes = canvas()
    axes.set(xlabel=name, ylabel=metric_label(metric))
    known = [(place, run) for place, run in enumerate(runs) if np.isfinite(run.at_best(metric))]
    if not known:
        return say_empty(figure, axes)
    labels = [setting(run, key) for _, run in known]
    numeric = all(isinstance(run.config.get(key), int | float) for _, run in known)
    kinds = sorted(set(labels), key=float if numeric else None)
    x = [float(label) if numeric else float(kinds.index(label)) for label in labels]
    y = np.array([run.at_best(metric) for _, run in known])
    for (place, _), right, up in zip(known, x, y, strict=True):
        marker = MARKERS[place % len(MARKERS)] if place < COLOURED else "o"
        axes.plot([right], [up], color=colour_of(place), marker=marker, linestyle="")
    ends = sorted(set(x))
    if len(ends) < len(x):
        axes.plot(ends, [np.median(y[np.array(x) == end]) for end in ends], color=INK, linewidth=0.8, linestyle="--")
    logarithmic = numeric and min(x) > 0 and max(x) / min(x) > LOG_BEYOND
    if logarithmic:
        axes.set_xscale("log")
        plain_log(axes.xaxis)
    if numeric and _apart(np.log(ends) if logarithmic else np.array(ends)):
        axes.set_xticks(ends, [as_number(end) for end in ends])
    elif not numeric:
        axes.set_xticks(range(len(kinds)), [kind[:16] for kind in kinds], rotation=20 if len(kinds) > 3 else 0)
        axes.set_xlim(-0.5, len(kinds) - 0.5)
    legend(axes)
    return figure


def _apart(places: Array) -> bool:
    """Whether labels at these places, which rise, have room beside each other."""
    return len(places) == 1 or bool(np.diff(places).min() > 0.15 * np.ptp(places))


def _scale(axes: Axes, values: Array, metric: str) -> None:
    """Show what happens after the first steps: the start of a training is many times larger than its end."""
    finite = values[np.isfinite(values)]
    if metric.endswith("coverage"):
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.axhline(CENTRAL_68, color=INK, linewidth=0.8, linestyle=":")
    elif "loss" not in metric and finite.min() > 0:
        logarithmic_when_wide(axes, finite)
    else:
        low, most, high = finite.min(), np.quantile(finite, 0.75), finite.max()
        top = high if high - low < 3 * (most - low) else most
        room = 0.08 * max(top - low, 1e-3)
        axes.set_ylim(low - room, top + room)
