"""Pictures of physics, in the style of the field: peaks with their fits, jets, missing momentum, efficiencies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, wraps
from typing import Final, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from collider.detectors.particles import Floats, Integers
from collider.detectors.physics.chain import NETWORK, RULES, TRUTH
from collider.detectors.physics.fits import MASS, SIGMA, PeakFit
from collider.detectors.physics.measures import ETA_EDGES, PT_EDGES_GEV, Efficiency, JetFigures, PeakFigures
from collider.detectors.physics.tagging.large import TAGGED
from collider.generation.wheels import wheel
from reconstruction.judging.measures.bootstrap import Figure as Measure
from reconstruction.judging.pictures.axes import INK, legend, note, plain_log, say_empty
from reconstruction.judging.pictures.plots import MARKERS, canvas, in_style

P = ParamSpec("P")
COLOURS: Final = {RULES: "#0072B2", NETWORK: "#D55E00", TRUTH: "#777777"}
FLOW_MARKERS: Final = dict(zip((RULES, NETWORK, TRUTH), MARKERS, strict=False))
_TICKS: Final = ("direction", "top", "right", "minor.visible", "major.top", "minor.top", "major.right", "minor.right")
_MOST_BINS, _FEWEST_BINS = 60, 15
_PULLS_SHOWN: Final = 4.0
LARGEST_MASS_GEV: Final = 264.0
CLASS_COLOURS: Final = ("#999999", "#0072B2", "#D55E00")
"""Of the classes of large jets, in their order."""


@cache
def hep_style() -> mpl.RcParams:
    """Return what mplhep's style of ROOT says of ticks and labels; sizes and colours are the report's."""
    wanted = {f"{axis}tick.{name}" for axis in "xy" for name in _TICKS} | {"xaxis.labellocation", "yaxis.labellocation"}
    own = {name: value for name, value in wheel("mplhep").style.ROOT.items() if name in wanted}
    return mpl.RcParams(own | {"axes.spines.top": True, "axes.spines.right": True, "axes.grid": False})


def drawn_as_hep(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in the style of the report, with ticks and frame as the field has them."""

    @wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with in_style(), mpl.rc_context(hep_style()):
            return draw(*args, **kwargs)

    return inside


@drawn_as_hep
def peak_picture(figures: PeakFigures, flow: str) -> Figure:
    """Masses of a flow with their fit, those of the true particles behind them, and the pulls below."""
    study, fit = figures.study, figures.fits[flow]
    figure = Figure()
    axes = figure.add_axes((0.175, 0.36, 0.77, 0.5))
    low, high = study.model.window_gev
    bins = int(np.clip(3 * np.sqrt(fit.events), _FEWEST_BINS, _MOST_BINS))
    edges = np.linspace(low, high, bins + 1)
    step = edges[1] - edges[0]
    true, own = (np.histogram(study.model.inside(figures.masses[name].mass_gev), edges)[0] for name in (TRUTH, flow))
    axes.stairs(true, edges, fill=True, color="#dddddd", label=TRUTH)
    wheel("mplhep").histplot(
        own, edges, ax=axes, histtype="errorbar", yerr=True, color=INK, markersize=3.5, elinewidth=0.9, label=flow
    )
    axes.set(xlim=(low, high), ylabel=f"events / {step:.3g} GeV")
    axes.set_ylim(0, 1.6 * max(1.0, (own + np.sqrt(own)).max()))  # room for words above the error bars
    if fit.said:
        note(axes, fit.said, over_data=True)
    else:
        x = np.linspace(low, high, 1000)
        peak, below = fit.model.parts(x, fit.values)
        axes.plot(x, step * (peak + below), color=COLOURS[flow], linewidth=1.5, label="fit")
        axes.plot(x, step * below, color=COLOURS[flow], linewidth=1.2, linestyle="--", label="background")
        note(axes, _told_of(fit), over_data=True)
    axes.tick_params(labelbottom=False)
    legend(axes)
    _pulls(figure, fit, (low, high))
    return figure


def _told_of(fit: PeakFit) -> str:
    lines = [
        f"m = {fit.values[MASS]:.2f} ± {fit.errors[MASS]:.2f} GeV",
        f"σ = {fit.values[SIGMA]:.2f} ± {fit.errors[SIGMA]:.2f} GeV",
        f"{fit.events} events",
    ]
    if fit.ndof > 0:
        lines.append(f"χ²/ndf = {fit.chi2:.1f}/{fit.ndof}")
    return "\n".join(lines if fit.valid else [*lines, "not converged"])


def _pulls(figure: Figure, fit: PeakFit, window: tuple[float, float]) -> None:
    axes = figure.add_axes((0.175, 0.165, 0.77, 0.16))
    axes.axhline(0, color=INK, linewidth=0.8)
    if not fit.said:
        axes.stairs(np.clip(fit.pulls, -_PULLS_SHOWN, _PULLS_SHOWN), fit.edges, fill=True, color="#999999")
    axes.set(xlim=window, ylim=(-_PULLS_SHOWN, _PULLS_SHOWN), xlabel="invariant mass (GeV)", ylabel="pull")
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.yaxis.label.set(fontsize=9)


@drawn_as_hep
def jet_picture(figures: Sequence[JetFigures], what: str, label: str) -> Figure:
    """Draw resolution or response of each flow in bins of true pT, with 68 % intervals."""
    figure, axes = canvas()
    bins = figures[:-1]
    flows = list(bins[0].response)
    for place, flow in enumerate(flows):
        values = [getattr(one, what)[flow] for one in bins]
        _points(axes, [one.pt_gev for one in bins], values, flow, place - (len(flows) - 1) / 2)
    axes.set(xlabel="true pT of the jet (GeV)", ylabel=label, xlim=(bins[0].pt_gev[0], bins[-1].pt_gev[1]))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1, symbol=" %"))
    if what == "resolution":
        axes.set_ylim(bottom=0)
    else:
        axes.axhline(1, color=INK, linewidth=0.8)
    legend(axes)
    return figure


def _points(
    axes: Axes, edges: Sequence[tuple[float, float]], figures: Sequence[Measure], flow: str, aside: float
) -> None:
    low, high = np.array(edges).T
    value, below, above = (np.array([getattr(one, name) for one in figures]) for name in ("value", "low", "high"))
    at = (low + high) / 2 + aside * 0.04 * (high[-1] - low[0])
    bars = np.clip(np.nan_to_num(np.stack([value - below, above - value])), 0, None)
    axes.errorbar(at, value, yerr=bars, color=COLOURS[flow], marker=FLOW_MARKERS[flow], linestyle="none", label=flow)


@drawn_as_hep
def missing_picture(figures: Mapping[str, Mapping[str, Measure]]) -> Figure:
    """Draw the resolution of a component of the missing momentum by process."""
    figure, axes = canvas()
    names = list(figures)
    flows = list(next(iter(figures.values()))) if figures else []
    for place, flow in enumerate(flows):
        edges = [(i - 0.5, i + 0.5) for i in range(len(names))]
        _points(axes, edges, [figures[name][flow] for name in names], flow, 3 * (place - (len(flows) - 1) / 2))
    axes.set_xticks(range(len(names)), names)
    axes.tick_params(axis="x", which="minor", bottom=False, top=False)
    axes.set(ylabel="σ68 of px, py missing (GeV)", xlabel="process")
    axes.set_ylim(bottom=0)
    legend(axes)
    return figure


@drawn_as_hep
def efficiency_picture(name: str, found: Mapping[str, Efficiency]) -> Figure:
    """Draw the share of true particles that are found, against pT, by |η|; the flows by marker and colour."""
    figure, axes = canvas()
    edges = np.array(PT_EDGES_GEV)
    at = np.sqrt(edges[1:] * edges[:-1])
    shown = False
    for place, (flow, efficiency) in enumerate(found.items()):
        low, high = efficiency.interval
        for eta, style in zip(range(len(ETA_EDGES) - 1), ("-", "--", ":"), strict=True):
            there = efficiency.total[:, eta] > 0
            if not there.any():
                continue
            shown = True
            share = efficiency.share[there, eta]
            bars = np.clip([share - low[there, eta], high[there, eta] - share], 0, None)
            label = f"{flow}, |η| {ETA_EDGES[eta]:g} to {ETA_EDGES[eta + 1]:g}"
            colour = COLOURS.get(flow, INK)
            axes.errorbar(at[there] * 1.04 ** (eta + 3 * place - 1), share, yerr=bars, color=colour, linestyle=style,
                          linewidth=1.0, marker=MARKERS[eta], markersize=3.5, label=label)  # fmt: skip
    axes.set(xscale="log", xlabel=f"true pT of {name} (GeV)", ylabel="efficiency", ylim=(0, 1.05))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    if not shown:
        return say_empty(figure, axes)
    axes.set_xlim(edges[0], edges[-1])
    plain_log(axes.xaxis)
    legend(axes)
    return figure


@drawn_as_hep
def soft_drop_picture(kinds: Integers, masses_gev: Floats, flow: str) -> Figure:
    """Draw the soft-drop masses of large jets, each class of the same area; kinds: codes of TAGGED (jet,)."""
    figure, axes = canvas()
    edges = np.linspace(0, LARGEST_MASS_GEV, 34)
    step = edges[1] - edges[0]
    for place, (name, code) in enumerate(TAGGED.items()):
        own = masses_gev[kinds == code]
        if len(own):
            counts = np.histogram(own, edges)[0] / len(own) / step
            axes.stairs(counts, edges, label=f"{name} ({len(own)})", color=CLASS_COLOURS[place], fill=place == 0,
                        linewidth=1.5, alpha=0.35 if place == 0 else 1.0)  # fmt: skip
    axes.set(xlabel=f"soft-drop mass by {flow} (GeV)", ylabel="share of the class / GeV", xlim=(0, LARGEST_MASS_GEV))
    if not len(kinds):
        return say_empty(figure, axes)
    axes.set_ylim(bottom=0)
    legend(axes)
    return figure
