"""The pictures of the report. Each function returns a matplotlib Figure with labelled axes and units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache, wraps
from pathlib import Path
from typing import ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from reconstruction.judging.measures.binned import (
    Cells,
    Profile,
    Statistic,
    median_of,
    profile,
    selection_curve,
    sigma68_of,
)
from reconstruction.judging.measures.bootstrap import Array
from reconstruction.judging.measures.calibration import coverage_curve
from reconstruction.judging.measures.metrics import coverage, gaussian_core, pulls, sigma68
from reconstruction.judging.measures.numbers import plain, plain_name, significant
from reconstruction.judging.pictures.axes import (
    INK,
    as_percent,
    colour_bar,
    legend,
    logarithmic_when_wide,
    near,
    note,
    plain_log,
    say_empty,
)
from reconstruction.judging.tables.judged import goal_of, rows_word, unit_of
from reconstruction.levels import CENTRAL_68, CENTRAL_95

STYLE = Path(__file__).with_name("report.mplstyle")
MARKERS = ("o", "s", "^", "D", "v", "P")
_RESIDUAL_CORES = 6
_HEADROOM = 0.15

P = ParamSpec("P")


@dataclass(frozen=True)
class Axis:
    """How a column is drawn: factor to the shown unit, that unit, and whether its axis is logarithmic."""

    factor: float
    unit: str
    logarithmic: bool = False


_AXES = {
    "true_radius_m": Axis(1e3, "mm"),
    "avg_axial_frequency_hz": Axis(1e-6, "MHz"),
    "avg_carrier_frequency_hz": Axis(1e-9, "GHz"),
    "start_carrier_frequency_hz": Axis(1e-9, "GHz"),
    "track_length_s": Axis(1e6, "µs"),
    "sideband_snr": Axis(1.0, "", logarithmic=True),
    "signal_snr": Axis(1.0, "", logarithmic=True),
}


@dataclass(frozen=True, eq=False)
class Curve:
    """One estimator's values for a plot: `place` fixes colour and marker, the same in all pictures."""

    label: str
    residual: Array
    std: Array | None
    place: int
    order: Array | None = None
    """What rows are selected by, smallest first; the stated std where it is not given."""
    two_sigma: Array | None = None
    """Distance to the stated 95.45 % limit on the truth's side."""

    @property
    def colour(self) -> str:
        """Its colour in the style's cycle."""
        colours: Sequence[str] = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
        return colours[self.place % len(colours)]

    @property
    def marker(self) -> str:
        """Its marker, so that print in grey stays readable."""
        return MARKERS[self.place % len(MARKERS)]


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in the style of the report, whatever the user's settings are."""

    @wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with in_style():
            return draw(*args, **kwargs)

    return inside


def in_style() -> AbstractContextManager[None]:
    """Return the context in which pictures are drawn and saved."""
    return mpl.rc_context(_settings())


@cache
def _settings() -> mpl.RcParams:
    return mpl.rc_params_from_file(STYLE, use_default_template=True)


def axis_of(column: str) -> Axis:
    """Return how a column is drawn."""
    return _AXES.get(column, Axis(1.0, unit_of(column)))


def canvas() -> tuple[Figure, Axes]:
    """Return a figure without global state, and its axes; margins are fixed, so that panels line up."""
    figure = Figure()
    return figure, figure.add_axes((0.175, 0.165, 0.77, 0.695))


def column_label(column: str) -> str:
    """Return the axis label of a column with the unit in which it is drawn."""
    unit = axis_of(column).unit
    return f"{plain_name(column)} ({unit})" if unit else plain_name(column)


def residual_label(target: str) -> str:
    """Return the axis label of a residual."""
    return f"{plain_name(target)}: estimate − truth ({unit_of(target)})"


@styled
def residual_histogram(curve: Curve, target: str) -> Figure:
    """Histogram of one estimator's residuals around the core, with the Gaussian of its core."""
    figure, axes = canvas()
    values = curve.residual[np.isfinite(curve.residual)]
    centre, width = gaussian_core(values)
    axes.set(xlabel=residual_label(target), ylabel=rows_word(), title=curve.label)
    if not (np.isfinite(width) and width > 0):
        return say_empty(figure, axes)
    edges = centre + width * np.linspace(-_RESIDUAL_CORES, _RESIDUAL_CORES, 49)
    counts, _ = np.histogram(values, edges)
    axes.stairs(counts, edges, fill=True, color=curve.colour, alpha=0.35)
    axes.stairs(counts, edges, color=curve.colour, linewidth=1.2)
    x = np.linspace(edges[0], edges[-1], 301)
    inside = np.sum(np.abs(values - centre) <= 2 * width) / CENTRAL_95
    density = np.exp(-0.5 * ((x - centre) / width) ** 2) / (np.sqrt(2 * np.pi) * width)
    axes.plot(x, density * inside * (edges[1] - edges[0]), color=INK, linewidth=1.2, linestyle="--")
    outside = np.mean((values < edges[0]) | (values > edges[-1]))
    unit = unit_of(target)
    note(
        axes,
        f"σ68 {significant(sigma68(values))} {unit}\ncore σ {significant(width)} {unit}\n"
        f"bias {significant(float(np.median(values)), 2)} {unit}\n{100 * outside:.1f} % outside",
    )
    axes.axvline(0, color=INK, linewidth=0.8)
    return figure


@styled
def survival(curves: Sequence[Curve], target: str) -> Figure:
    """Fraction of rows whose residual is larger than x, both axes logarithmic: core and tails in one picture."""
    figure, axes = canvas()
    axes.set(xlabel=f"|estimate − truth| ({unit_of(target)})", ylabel="fraction beyond")
    sizes = {curve: np.sort(np.abs(curve.residual[np.isfinite(curve.residual)])) for curve in curves}
    sizes = {curve: size for curve, size in sizes.items() if len(size) and size[-1] > 0}
    if not sizes:
        return say_empty(figure, axes)
    for curve, size in sizes.items():
        beyond = 1 - np.arange(len(size)) / len(size)
        axes.plot(size[size > 0], beyond[size > 0], color=curve.colour, label=curve.label)
    axes.axhline(1 - CENTRAL_68, color=INK, linewidth=0.8, linestyle=":")
    axes.annotate("31.7 %", (0, 1 - CENTRAL_68), (2, 2), xycoords=("axes fraction", "data"), textcoords="offset points",
                  fontsize=8.5, color=INK)  # fmt: skip
    left = min(max(float(np.quantile(size, 0.05)), size[-1] * 1e-6) for size in sizes.values())
    axes.set(xscale="log", yscale="log")
    axes.set_xlim(left=left)
    plain_log(axes.xaxis)
    plain_log(axes.yaxis, as_percent)
    legend(axes)
    return figure


@styled
def against(
    curves: Sequence[Curve],
    covariate: Array,
    column: str,
    ylabel: str,
    statistic: Statistic = sigma68_of,
    *,
    resolved: NDArray[np.bool_] | None = None,
    bound: Array | None = None,
    level: float | None = None,
    reference: float | None = None,
) -> Figure:
    """Draw a statistic of each estimator's residuals in bins of a covariate (rows,).

    Resolved rows (mask, rows) with markers and bootstrap bars, all rows as a thin dotted line; without the
    mask all have markers. `bound` (rows,) is drawn as its median in bins of the main group. `level` is where a good
    result lies, above or below being wrong alike; `reference` is a line that the statistic, a width, approaches.
    """
    figure, axes = canvas()
    axis = axis_of(column)
    main = np.ones(len(covariate), dtype=bool) if resolved is None or not resolved.any() else resolved
    x, shown = covariate * axis.factor, []
    for curve in curves:
        binned = profile(x[main], curve.residual[main], statistic)
        _draw_profile(axes, binned, curve)
        shown.append(binned.value)
        if not main.all():
            everything = profile(x, curve.residual, statistic, resamples=0)
            axes.plot(everything.centre, everything.value, color=curve.colour, linestyle=":", linewidth=1.2)
            shown.append(everything.value)
    if bound is not None:
        binned = profile(x[main], bound[main], median_of, resamples=0)
        axes.plot(binned.centre, binned.value, color=INK, linestyle="--", linewidth=1.3, label="bound (median)")
        shown.append(binned.value)
    for line in (level, reference):
        if line is not None:
            axes.axhline(line, color=INK, linewidth=0.8)
    axes.set(xlabel=column_label(column), ylabel=ylabel)
    if not any(np.isfinite(values).any() for values in shown):
        return say_empty(figure, axes)
    if axis.logarithmic and np.nanmin(covariate) > 0:
        axes.set_xscale("log")
        plain_log(axes.xaxis)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    if level is None:
        logarithmic_when_wide(axes, np.concatenate(shown))
    elif level == 0 and (limits := near(np.concatenate(shown), level)) is not None:
        _leave_out(axes, np.concatenate(shown), limits)
    legend(axes)
    return figure


def _leave_out(axes: Axes, values: Array, limits: tuple[float, float]) -> None:
    """Set limits of the y axis, and say what lies beyond them."""
    axes.set_ylim(limits[0], limits[1] + _HEADROOM * (limits[1] - limits[0]))  # what is said stands above the curves
    beyond = values[np.isfinite(values) & ((values < limits[0]) | (values > limits[1]))]
    points = "1 point lies" if len(beyond) == 1 else f"{len(beyond)} points lie"
    note(axes, f"{points} beyond, at {_ends(beyond)}", over_data=True)


def _ends(values: Array) -> str:
    low, high = plain(float(values.min())), plain(float(values.max()))
    return low if low == high else f"{low} to {high}"


@styled
def pull_histogram(curves: Sequence[Curve]) -> Figure:
    """Distribution of residual over stated σ beside the unit Gaussian; the end bins hold what lies beyond."""
    figure, axes = canvas()
    edges = np.linspace(-5, 5, 41)
    for curve in curves:
        pull = _finite_pulls(curve)
        counts, _ = np.histogram(np.clip(pull, -4.999, 4.999), edges)
        axes.stairs(counts / max(len(pull), 1) / 0.25, edges, color=curve.colour, linewidth=1.6, label=curve.label)
    x = np.linspace(-5, 5, 201)
    axes.plot(x, np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi), color=INK, linestyle="--", linewidth=1.2, label="honest")
    axes.set(xlabel="pull: (estimate − truth) / stated σ", ylabel="density")
    legend(axes)
    return figure


@styled
def coverage_deviation(curves: Sequence[Curve]) -> Figure:
    """Observed minus nominal coverage of multiples of the error bar; the grey band is two binomial standard errors.

    A marker: the 95.45 % interval that an estimator states itself.
    """
    figure, axes = canvas()
    for curve in curves:
        nominal, observed, error = coverage_curve(curve.residual, _std(curve))
        axes.plot(nominal, observed - nominal, color=curve.colour, label=curve.label)
        if curve.two_sigma is not None:
            stated = coverage(curve.residual, curve.two_sigma)
            axes.plot(CENTRAL_95, stated - CENTRAL_95, color=curve.colour, marker=curve.marker, clip_on=False)
    if curves:
        axes.fill_between(nominal, -2 * error, 2 * error, color="#dddddd", zorder=0.5, linewidth=0)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.axvline(CENTRAL_68, color=INK, linewidth=0.8, linestyle=":")
    axes.set(xlabel="nominal coverage", ylabel="observed − nominal", xlim=(0, 1))
    for which in (axes.xaxis, axes.yaxis):
        which.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, -0.1), max(high, 0.1))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    legend(axes)
    return figure


@styled
def spread_against_stated(curves: Sequence[Curve], target: str) -> Figure:
    """Observed σ68 in bins of the stated σ: an uncertainty is only useful where both agree."""
    figure, axes = canvas()
    ends = []
    for curve in curves:
        std = _std(curve)
        binned = profile(std, curve.residual, sigma68_of)
        _draw_profile(axes, binned, curve)
        ends.extend([*binned.centre, *binned.value])
    positive = [end for end in ends if np.isfinite(end) and end > 0]
    unit = unit_of(target)
    axes.set(xlabel=f"stated σ ({unit})", ylabel=f"observed σ68 ({unit})")
    if not positive:
        return say_empty(figure, axes)
    line = np.array([min(positive) / 1.3, max(positive) * 1.3])
    axes.plot(line, line, color=INK, linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlim=line, ylim=line)
    plain_log(axes.xaxis)
    plain_log(axes.yaxis)
    legend(axes)
    return figure


@styled
def truth_against_estimate(curve: Curve, truth: Array, target: str) -> Figure:
    """Two-dimensional histogram of truth and estimate; what lies outside the range of the truth is counted."""
    figure, axes = canvas()
    estimate = truth + curve.residual
    low, high = np.nanmin(truth), np.nanmax(truth)
    edges = np.linspace(low, high if high > low else low + 1, 61)
    counts, _, _ = np.histogram2d(estimate, truth, bins=(edges, edges))
    mesh = axes.pcolormesh(edges, edges, np.where(counts > 0, counts, np.nan), norm=LogNorm(1, max(counts.max(), 2)),
                           rasterized=True)  # fmt: skip
    axes.plot(edges[[0, -1]], edges[[0, -1]], color="#D55E00", linewidth=0.8)
    colour_bar(figure, axes, mesh, rows_word())
    name, unit = plain_name(target), unit_of(target)
    axes.set(xlabel=f"true {name} ({unit})", ylabel=f"estimated {name} ({unit})", title=curve.label)
    outside = np.mean(~((estimate >= edges[0]) & (estimate <= edges[-1])))
    note(axes, f"{100 * outside:.1f} % outside", over_data=True)
    axes.locator_params(nbins=5)
    return figure


@styled
def resolution_map(
    cells: Cells, limits: tuple[float, float] | None, label: str, target: str, over: tuple[str, str]
) -> Figure:
    """σ68 over two columns in colours between `limits`; grey cells hold too few rows."""
    figure, axes = canvas()
    axes.set(xlabel=column_label(over[0]), ylabel=column_label(over[1]), title=label, facecolor="#eeeeee")
    axes.grid(False)
    if limits is None:
        return say_empty(figure, axes)
    norm = LogNorm(*limits) if limits[1] / limits[0] > 3 else Normalize(*limits)
    mesh = axes.pcolormesh(cells.x_edges, cells.y_edges, cells.values, norm=norm, rasterized=True)
    colour_bar(figure, axes, mesh, f"{plain_name(target)} σ68 ({unit_of(target)})")
    return figure


@styled
def efficiency_curve(curves: Sequence[Curve], target: str, group: str) -> Figure:
    """Draw what a selection on the stated spread or σ buys: σ68 (solid) and rms (dashed) of the rows kept."""
    figure, axes = canvas()
    shown = []
    for curve in curves:
        efficiency, figures, rms = selection_curve(curve.residual, _std(curve) if curve.order is None else curve.order)
        value = np.array([figure.value for figure in figures])
        low, high = np.array([f.low for f in figures]), np.array([f.high for f in figures])
        axes.fill_between(efficiency, low, high, color=curve.colour, alpha=0.2, linewidth=0)
        axes.plot(efficiency, value, color=curve.colour, label=curve.label)
        axes.plot(efficiency, rms, color=curve.colour, linestyle="--", linewidth=1.2)
        shown.extend([value, rms])
    ylabel = f"{plain_name(target)} σ68, rms dashed ({unit_of(target)})"
    axes.set(xlabel=f"efficiency: fraction of {group} {rows_word()} kept", ylabel=ylabel, xlim=(0, 1.02))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    if (goal := goal_of(target)) is not None:
        axes.axhline(goal.rms, color=INK, linewidth=0.8, linestyle=":", label=f"{goal.rms:g} {unit_of(target)}")
    logarithmic_when_wide(axes, np.concatenate(shown) if shown else np.zeros(0))
    legend(axes)
    return figure


def _draw_profile(axes: Axes, binned: Profile, curve: Curve) -> None:
    if not len(binned.centre):
        return
    bars = np.clip([binned.value - binned.low, binned.high - binned.value], 0, None)
    axes.errorbar(binned.centre, binned.value, yerr=np.nan_to_num(bars), color=curve.colour, marker=curve.marker,
                  linewidth=1.3, elinewidth=1.0, label=curve.label)  # fmt: skip


def _std(curve: Curve) -> Array:
    return np.full(len(curve.residual), np.nan) if curve.std is None else curve.std


def _finite_pulls(curve: Curve) -> Array:
    pull = pulls(curve.residual, _std(curve))
    return pull[np.isfinite(pull)]
