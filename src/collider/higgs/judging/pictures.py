"""Pictures of the comparison: curves, the plane of masses, limits, wrong masses, spread, reliability."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from collider.higgs.judging.compare import EXTRAPOLATED, NETWORK, TRAINED, TREES, PointResult
from collider.higgs.judging.figures import kept_shares
from collider.higgs.judging.limits import BANDS
from collider.higgs.making.config import Point
from reconstruction.judging.measures.bootstrap import Array
from reconstruction.judging.pictures.axes import INK, as_percent, colour_bar, legend, plain_log
from reconstruction.judging.pictures.plots import Curve, canvas, styled

HIGGS_AXIS, A_AXIS = "mass of H⁺ (GeV)", "mass of A (GeV)"
LEAST_BACKGROUND = 1e-3
_MARK = "#D55E00"
_MANY = 9
"""Points, of which more have smaller names."""


def _curve(name: str, place: int) -> Curve:
    return Curve(name, np.zeros(0), None, place)


@styled
def roc_picture(result: PointResult) -> Figure:
    """Signal kept against background kept with it, each background alike, at one point."""
    figure, axes = canvas()
    for place, (name, scored) in enumerate(result.scored.items()):
        kept, passed = (np.append(0.0, one[0]) for one in kept_shares(scored.score(), scored.signal, scored.even[None]))
        curve = _curve(name, place)
        label = f"{name}: {result.figures[name]['auc'].value:.3f}"
        axes.plot(passed, kept, color=curve.colour, label=label, drawstyle="steps-post")
    guess = np.geomspace(LEAST_BACKGROUND, 1, 200)
    axes.plot(guess, guess, color=INK, linewidth=0.8, linestyle=":")
    axes.set(xscale="log", xlim=(LEAST_BACKGROUND, 1), ylim=(0, 1.01))
    axes.set(xlabel=f"background kept at ({result.point[0]:g}, {result.point[1]:g}) GeV", ylabel="signal kept")
    plain_log(axes.xaxis, as_percent)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    legend(axes)
    return figure


@styled
def plane_picture(results: Sequence[PointResult], name: str = NETWORK) -> Figure:
    """AUC of a classifier at each point of the plane, trained ones ringed, those outside of their range crossed."""
    figure, axes = canvas()
    x, y = (np.array([one.point[side] for one in results]) for side in (0, 1))
    values = np.array([one.figures[name]["auc"].value for one in results])
    every = [own["auc"].value for one in results for key, own in one.figures.items() if key in (NETWORK, TREES)]
    axes.grid(False)
    mesh = axes.scatter(x, y, c=values, s=190, marker="s", cmap="viridis", vmin=min(every), vmax=max(every))
    for where, marker, said in ((TRAINED, "o", "trained"), (EXTRAPOLATED, "x", "outside of the trained range")):
        chosen = np.array([one.where == where for one in results])
        if chosen.any():
            axes.plot(x[chosen], y[chosen], linestyle="none", marker=marker, color=_MARK, fillstyle="none", label=said)
    axes.set(xlabel=HIGGS_AXIS, ylabel=A_AXIS)
    axes.margins(0.08)
    colour_bar(figure, axes, mesh, f"area under the ROC curve, {name}")
    legend(axes)
    return figure


@styled
def ratio_picture(results: Sequence[PointResult], others: Sequence[str]) -> Figure:
    """(1 − AUC) of the network over that of others at each point, with 68 % intervals."""
    figure, axes = canvas()
    shown = [one for one in results if any(name in one.ratio for name in others)]
    for place, name in enumerate(others, 1):
        have = [(at, one.ratio[name]) for at, one in enumerate(shown) if name in one.ratio]
        if have:
            at = np.array([one[0] for one in have], np.float64) + 0.12 * (place - (len(others) + 1) / 2)
            _with_bars(axes, at, [one[1] for one in have], _curve(f"over {name}", place))
    axes.axhline(1, color=INK, linewidth=0.8)
    _name_points(axes, shown)
    axes.set(xlabel="masses of H⁺ and A (GeV)", ylabel="(1 − AUC), ratio")
    legend(axes)
    return figure


def _name_points(axes: Axes, shown: Sequence[PointResult]) -> None:
    """Write masses below the places of points, in two lines, for which the axes make room."""
    left, bottom, width, height = axes.get_position().bounds
    axes.set_position((left, bottom + 0.05, width, height - 0.05))
    names = [f"{one.point[0]:g}\n{one.point[1]:g}" for one in shown]
    axes.set_xticks(range(len(shown)), names, fontsize=6 if len(shown) > _MANY else None)


def _with_bars(axes: Axes, at: Array, figures: Sequence[object], curve: Curve) -> None:
    value, low, high = (np.array([getattr(one, name) for one in figures]) for name in ("value", "low", "high"))
    bars = np.clip(np.nan_to_num(np.stack([value - low, high - value])), 0, None)
    axes.errorbar(at, value, yerr=bars, color=curve.colour, marker=curve.marker, linestyle="none", label=curve.label)


@styled
def limit_picture(results: Sequence[PointResult], name: str = NETWORK) -> Figure:
    """Expected upper limit on the branching ratio against mA, with bands; others as lines."""
    figure, axes = canvas()
    shown = sorted((one for one in results if one.limits), key=lambda one: (one.point[1], one.point[0]))
    place = {band: at for at, band in enumerate(BANDS)}
    x = np.array([one.point[1] for one in shown])
    spread = _apart(x)
    for band, colour, label in ((2, "#F0E442", "95 %"), (1, "#009E73", "68 %")):
        low, high = (np.array([one.limits[name][place[sign * band]] for one in shown]) for sign in (-1, 1))
        axes.vlines(spread, low, high, color=colour, linewidth=7, label=f"{label} of experiments")
    for at, other in enumerate(dict.fromkeys(key for one in shown for key in one.limits)):
        have = [
            (where, one.limits[other][place[0]])
            for where, one in zip(spread, shown, strict=True)
            if other in one.limits
        ]
        curve = _curve(other, at)
        axes.plot(
            *np.array(have).T, linestyle="none", marker=curve.marker, color=curve.colour, label=f"{other}, median"
        )
    for where, one in zip(spread, shown, strict=True):
        axes.annotate(
            f"{one.point[0]:g}",
            (where, one.limits[name][place[2]]),
            fontsize=6 if len(shown) > _MANY else 7,
            ha="center",
            va="bottom",
            xytext=(0, 2),
            textcoords="offset points",
        )
    axes.set(yscale="log", xlabel=A_AXIS, ylabel="limit on the branching ratio at 95 %")
    legend(axes)
    return figure


def _apart(x: Array) -> Array:
    """Return places a little beside each other where several points have one mA."""
    moved = np.array(x, np.float64)
    for value in np.unique(x):
        mine = np.flatnonzero(x == value)
        moved[mine] += 0.55 * (np.arange(len(mine)) - (len(mine) - 1) / 2)
    return moved


@styled
def wrong_picture(results: Sequence[PointResult]) -> Figure:
    """AUC of each point where the network is told its own masses, and where it is told others."""
    figure, axes = canvas()
    shown = [one for one in results if one.wrong]
    for at, one in enumerate(shown):
        told = list(one.wrong.values())
        label = None if at else "other trained masses told"
        axes.plot([at] * len(told), told, linestyle="none", marker="_", color="#777777", label=label)
    own = [one.figures[NETWORK]["auc"].value for one in shown]
    axes.plot(range(len(shown)), own, linestyle="none", marker="o", color=_MARK, label="its own masses told")
    _name_points(axes, shown)
    axes.set(xlabel="true masses of H⁺ and A (GeV)", ylabel="area under the ROC curve")
    legend(axes)
    return figure


@styled
def spread_picture(results: Sequence[PointResult]) -> Figure:
    """How far the networks of an ensemble differ, against the distance to the nearest trained point."""
    figure, axes = canvas()
    known = [one.point for one in results if one.where == TRAINED]
    for place, where in enumerate(dict.fromkeys(one.where for one in results)):
        mine = [one for one in results if one.where == where]
        curve = _curve(where, place)
        at = [distance(one.point, known) for one in mine]
        axes.plot(
            at, [one.spread for one in mine], linestyle="none", marker=curve.marker, color=curve.colour, label=where
        )
    axes.set(xlabel="distance to the nearest trained point (GeV)", ylabel="standard deviation of p(signal)")
    axes.set_ylim(bottom=0)
    legend(axes)
    return figure


def distance(point: Point, known: Sequence[Point]) -> float:
    """Return how far a point is from the nearest of others, in GeV; NaN where there are none."""
    gaps = np.hypot(*(np.array(known, np.float64).reshape(-1, 2) - np.array(point)).T)
    return float(gaps.min()) if len(gaps) else float("nan")
