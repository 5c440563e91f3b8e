"""Pictures of classes: who is taken for whom, what a selection lets through, whether probabilities are right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from reconstruction.judging.measures.bootstrap import Array
from reconstruction.judging.measures.separation import BINS, Told, bins_of
from reconstruction.judging.pictures.axes import INK, as_percent, legend, plain_log, say_empty
from reconstruction.judging.pictures.plots import Curve, canvas, styled

FEWEST_IN_A_BIN = 10
_MOST_WITH_NUMBERS = 12
"""Classes, of which a cell has room for words."""

Teller = tuple[str, int, Told]
"""An estimator's name, its place (colour and marker), and what it told."""


@styled
def confusion_matrix(told: Told, names: Sequence[str], title: str) -> Figure:
    """Share of each true class (a line) that was taken for each class, with the number of rows."""
    figure, axes = canvas()
    left, bottom, width, height = axes.get_position().bounds
    axes.set_position((left + 0.07, bottom + 0.05, width - 0.07, height - 0.05))  # names are longer than numbers
    draw_confusion(axes, told.confusion(), names)
    axes.set_title(title)
    return figure


def draw_confusion(axes: Axes, counts: NDArray[np.int64], names: Sequence[str]) -> None:
    """Draw counts (true, told) as shares of their line."""
    lines = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, lines, out=np.zeros(counts.shape), where=lines > 0)
    axes.grid(False)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    places, many = range(len(names)), len(names) > _MOST_WITH_NUMBERS // 2
    axes.set_xticks(places, names, rotation=45 if many else 0, ha="right" if many else "center")
    axes.set_yticks(places, names)
    axes.set(xlabel="told", ylabel="true")
    if len(names) > _MOST_WITH_NUMBERS:
        return
    for true, told in np.ndindex(*counts.shape):
        share = shares[true, told]
        text = f"{100 * share:.0f}" if many else f"{100 * share:.1f} %\n{counts[true, told]}"
        colour = "white" if share > 0.5 else INK
        axes.annotate(text, (told, true), ha="center", va="center", fontsize=7 if many else 9, color=colour)


@styled
def roc_curves(tellers: Sequence[Teller], place: int, name: str) -> Figure:
    """Share of a class that is kept against the share of all others that is kept with it."""
    figure, axes = canvas()
    axes.set(xlabel=f"others taken for {name}", ylabel=f"{name} kept")
    least = 1.0
    for label, colour_of, told in tellers:
        passed, kept = roc(told.probabilities[:, place], told.truth == place)
        if len(passed):
            curve = Curve(label, np.zeros(0), None, colour_of)
            axes.plot(passed, kept, color=curve.colour, label=label, drawstyle="steps-post")
            least = min(least, 1 / max(int((told.truth != place).sum()), 1))
    if least == 1.0:
        return say_empty(figure, axes)
    guess = np.geomspace(least, 1, 200)
    axes.plot(guess, guess, color=INK, linewidth=0.8, linestyle=":")
    axes.set(xscale="log", xlim=(max(least, 1e-4), 1), ylim=(0, 1.01))
    plain_log(axes.xaxis, as_percent)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    legend(axes)
    return figure


def roc(score: Array, positive: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return the share of negative rows and of positive rows whose score is at least a threshold, as it falls.

    Nothing where there are none of either.
    """
    if not positive.any() or positive.all():
        return np.zeros(0), np.zeros(0)
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.diff(score[order], append=-np.inf) < 0)  # rows with one score pass together
    ours, others = np.cumsum(positive[order])[last], np.cumsum(~positive[order])[last]
    return np.append(0.0, others / others[-1]), np.append(0.0, ours / ours[-1])


@styled
def reliability(tellers: Sequence[Teller], title: str) -> Figure:
    """Frequency of being right in bins of the stated probability of being so, with binomial bars."""
    figure, axes = canvas()
    drawn = [draw_reliability(axes, told, Curve(label, np.zeros(0), None, place)) for label, place, told in tellers]
    axes.set(xlabel=f"stated probability to be right: {title}", ylabel="right")
    if not any(drawn):
        return say_empty(figure, axes)
    legend(axes)
    return figure


def draw_reliability(axes: Axes, told: Told, curve: Curve) -> bool:
    """Draw one estimator's bins; returns whether any holds enough rows."""
    place = bins_of(told.confidence)
    count = np.bincount(place, minlength=BINS)
    shown = np.flatnonzero(count >= FEWEST_IN_A_BIN)
    stated, right = (
        np.bincount(place, weights=values, minlength=BINS)[shown] / count[shown]
        for values in (told.confidence, told.right.astype(np.float64))
    )
    error = np.sqrt(np.clip(right * (1 - right), 1e-4, None) / count[shown])
    axes.errorbar(stated, right, yerr=error, color=curve.colour, marker=curve.marker, linewidth=1.3, label=curve.label)
    low = 1 / told.probabilities.shape[1]
    axes.plot((low, 1), (low, 1), color=INK, linewidth=0.8)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    return bool(len(shown))
