"""Pictures of the diagnostics of whole posteriors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from scipy.stats import binom, kstwo

from reconstruction.judging.measures.bootstrap import Array
from reconstruction.judging.measures.diagnostics import FEWEST, SIGNIFICANCE, coverage_at_levels
from reconstruction.judging.pictures.axes import INK, legend, say_empty
from reconstruction.judging.pictures.plots import Curve, axis_of, canvas, styled
from reconstruction.judging.tables.judged import rows_word
from reconstruction.levels import CENTRAL_68

BAND = "#dddddd"
_BINS = 20
_PART_COLOURS = ("#440154", "#31688e", "#35b779", "#c8b100")
"""From low to high, told apart in grey too."""

Fractions = tuple[str, int, Array]
"""An estimator's name, its place (colour and marker), and its values in (0, 1)."""


@styled
def rank_histogram(curves: Sequence[Fractions], title: str) -> Figure:
    """Histogram of u, in units of the uniform one; the grey band holds 99.73 % of the bins of a right posterior."""
    figure, axes = canvas()
    edges = np.linspace(0, 1, _BINS + 1)
    axes.set(xlabel=f"SBC rank / draws: {title}", ylabel=f"{rows_word()} / expected", xlim=(0, 1))
    kept = [(label, place, u[np.isfinite(u)]) for label, place, u in curves]
    kept = [(label, place, u) for label, place, u in kept if len(u) >= FEWEST]
    if not kept:
        return say_empty(figure, axes)
    smallest = min(len(u) for *_, u in kept)
    low, high = (
        float(binom.ppf(level, smallest, 1 / _BINS)) * _BINS / smallest
        for level in (SIGNIFICANCE / 2, 1 - SIGNIFICANCE / 2)
    )
    axes.fill_between((0, 1), low, high, color=BAND, linewidth=0, zorder=0.5)
    for label, place, u in kept:
        counts, _ = np.histogram(u, edges)
        axes.stairs(counts * _BINS / len(u), edges, color=_colour(label, place), linewidth=1.6, label=label)
    axes.axhline(1, color=INK, linewidth=0.8)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    legend(axes)
    return figure


@styled
def distance_from_uniform(curves: Sequence[Fractions], title: str, dashed: Sequence[bool] = ()) -> Figure:
    """F(f) − f of TARP's fractions; a right posterior stays in the band, as a whole, in 99.73 % of all samples.

    `dashed`: the curves whose points are near another estimator's estimates.
    """
    figure, axes = canvas()
    axes.set(xlabel=f"stated probability (TARP): {title}", ylabel="observed − stated", xlim=(0, 1))
    styles = ["--" if other else "-" for other in dashed] or ["-"] * len(curves)
    kept = [(label, place, np.sort(f[np.isfinite(f)]), s) for (label, place, f), s in zip(curves, styles, strict=True)]
    kept = [curve for curve in kept if len(curve[2]) >= FEWEST]
    if not kept:
        return say_empty(figure, axes)
    reach = float(kstwo.isf(SIGNIFICANCE, min(len(f) for _, _, f, _ in kept)))
    axes.fill_between((0, 1), -reach, reach, color=BAND, linewidth=0, zorder=0.5)
    grid = np.linspace(0, 1, 101)
    for label, place, f, style in kept:
        below = np.searchsorted(f, grid, side="right") / len(f)
        axes.plot(grid, below - grid, color=_colour(label, place), label=label, linestyle=style)
    axes.axhline(0, color=INK, linewidth=0.8)
    _in_per_cent(axes)
    legend(axes)
    return figure


@styled
def coverage_by_part(parts: Sequence[tuple[float, float, Array]], column: str, title: str) -> Figure:
    """Observed minus stated coverage of central intervals at every level, for parts of the rows by a column."""
    figure, axes = canvas()
    levels = np.linspace(0.02, 0.99, 50)
    axes.set(xlabel=f"stated coverage, {title}", ylabel="observed − stated", xlim=(0, 1))
    factor, unit = axis_of(column).factor, axis_of(column).unit
    for (low, high, u), colour in zip(parts, _PART_COLOURS, strict=False):
        observed, error = coverage_at_levels(u, levels)
        axes.fill_between(levels, -2 * error, 2 * error, color=BAND, linewidth=0, zorder=0.5)
        ends = " to ".join(f"{factor * end:.5g}" for end in (low, high))
        axes.plot(levels, observed - levels, color=colour, linewidth=1.4, label=f"{ends} {unit}".strip())
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.axvline(CENTRAL_68, color=INK, linewidth=0.8, linestyle=":")
    _in_per_cent(axes)
    legend(axes)
    return figure


def _colour(label: str, place: int) -> str:
    return Curve(label, np.zeros(0), None, place).colour


def _in_per_cent(axes: Axes) -> None:
    for which in (axes.xaxis, axes.yaxis):
        which.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, -0.1), max(high, 0.1))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
