"""Pictures of the endpoint analysis. Each function returns a matplotlib Figure with units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator, PercentFormatter
from numpy.typing import NDArray
from scipy.stats import chi2

from cres.endpoint.analysis import Analysis
from cres.endpoint.binned import BinnedLikelihood
from cres.endpoint.coverage import Toy, pulls
from cres.endpoint.fit import EndpointFit, profile
from cres.endpoint.likelihood import EndpointLikelihood
from cres.endpoint.limits import MassLimits
from cres.endpoint.response import ENERGY, Response, energies_and_stds
from cres.endpoint.sensitivity import Sensitivity
from cres.endpoint.systematics import Shift
from cres.physics.beta import electron_factor
from reconstruction.judging.measures.numbers import signed
from reconstruction.judging.pictures.plots import styled
from reconstruction.judging.tables.table import PredictionTable

Array = NDArray[np.float64]

FEWEST_SHOWN = 60
_LEGEND_ROOM = 1.35
"""So much higher than its curves is an axis with a legend above them."""
_NOTHING = 1e-3
"""Part of its peak below which a posterior is not worth an axis."""
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"


def histogram_of(likelihood: EndpointLikelihood) -> BinnedLikelihood:
    """Return the electrons of a likelihood in bins of a readable width."""
    width = likelihood.window.width_ev
    bins = int(np.clip(width / 2.0, 20, 80))
    return BinnedLikelihood(
        likelihood.energy_ev, likelihood.std_ev, likelihood.response, likelihood.window, likelihood.physics, bins=bins
    )


@styled
def spectrum_figure(analysis: Analysis) -> Figure:
    """Histogram of calibrated energies with the fitted spectrum, and the residuals in standard deviations below."""
    histogram = histogram_of(analysis.likelihood)
    values = analysis.fit.values
    expected = histogram.expected(values)
    edges, counts = histogram.edges_ev, histogram.counts
    centres, width = 0.5 * (edges[1:] + edges[:-1]), edges[1] - edges[0]
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    top.errorbar(
        centres, counts, np.sqrt(np.maximum(counts, 1)), fmt="o", ms=3, lw=1, color="#222222", label="electrons"
    )
    top.stairs(expected, edges, color=BLUE, lw=1.8, label="fit, unbinned")
    background = np.full_like(expected, values["background"] / histogram.bins)
    top.stairs(background, edges, color=GREY, lw=1.2, ls="--", label="flat background")
    _mark_endpoints(top, analysis)
    top.set_ylabel(f"electrons per {width:.3g} eV")
    top.set_ylim(bottom=0)
    top.legend(loc="upper right")
    top.set_title(f"Endpoint {endpoint_text(analysis)}")
    pull = (counts - expected) / np.sqrt(np.maximum(expected, 1e-9))
    shown = expected > 0.5
    bottom.axhline(0, color=GREY, lw=0.8)
    bottom.plot(centres[shown], pull[shown], "o", ms=3, color=BLUE)
    bottom.set_ylabel("residual (σ)")
    bottom.set_xlabel("reconstructed energy, calibrated (eV)")
    limit = max(3.5, float(np.abs(pull[shown]).max(initial=0.0)) * 1.1)
    bottom.set_ylim(-limit, limit)
    return figure


@styled
def kurie_figure(analysis: Analysis) -> Figure:
    """√(rate/(F p E)) against energy: a straight line to the endpoint for a massless neutrino and sharp resolution."""
    histogram = histogram_of(analysis.likelihood)
    edges = histogram.edges_ev
    centres = 0.5 * (edges[1:] + edges[:-1])
    efficiency = analysis.response.efficiency.total(centres)
    electron = electron_factor(centres, analysis.fit.endpoint_ev, analysis.likelihood.physics.corrections)
    factor = electron / electron.mean() * efficiency / efficiency.mean()
    background = analysis.fit.values["background"] / histogram.bins

    def kurie(counts: Array) -> Array:
        return np.sqrt(np.maximum(counts - background, 0.0) / factor)

    error = (
        0.5 / np.sqrt(factor) * np.sqrt(np.maximum(histogram.counts, 1) / np.maximum(histogram.counts - background, 1))
    )
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    seen = histogram.counts > 0
    axes.errorbar(centres[seen], kurie(histogram.counts)[seen], error[seen], fmt="o", ms=3, lw=1, color="#222222",
                  label="electrons")  # fmt: skip
    axes.plot(centres, kurie(histogram.expected(analysis.fit.values)), color=BLUE, label="fit, with resolution")
    _mark_endpoints(axes, analysis)
    axes.set_xlabel("reconstructed energy, calibrated (eV)")
    axes.set_ylabel("√(electrons / F p E)  (arb. unit)")
    axes.set_title("Kurie plot, background subtracted")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper right")
    return figure


@styled
def regression_figure(calibration: PredictionTable, response: Response) -> Figure:
    """How far poor electrons are pulled to the middle of the training window, and what the correction leaves."""
    energy, std, truth = _calibration_electrons(calibration, response)
    corrected, _ = response.calibrate(energy, std)
    worst = std >= np.quantile(std, 0.75)
    figure = Figure(figsize=(8.4, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for values, colour, label in ((energy, ORANGE, "as estimated"), (corrected, BLUE, "corrected")):
        where, mean, error = _binned_mean(truth[worst], (values - truth)[worst], 8)
        left.errorbar(where, mean, error, fmt="o-", ms=3.5, lw=1.2, color=colour, label=label)
    for edge in (response.low_ev + response.edge_ev, response.high_ev - response.edge_ev):
        left.axvline(edge, color=GREY, lw=0.8, ls=":", label="not used outside" if edge < response.centre_ev else None)
    left.axhline(0, color=GREY, lw=0.8)
    left.set_xlabel("true energy (eV)")
    left.set_ylabel("mean of estimate − truth (eV)")
    left.set_title(f"Least certain quarter (σ > {np.quantile(std, 0.75):.2g} eV)")
    left.margins(y=0.3)
    left.legend(loc="upper center", ncol=3, fontsize=8, handlelength=1.1, columnspacing=0.9)
    left.locator_params(axis="x", nbins=5)
    where, slope, error = _binned_slopes(std, truth - response.centre_ev, energy - truth, 6)
    right.errorbar(where, slope, error, fmt="o", ms=4, lw=1.2, color=ORANGE, label="calibration electrons")
    top = _draw_beyond_the_cut(right, calibration, response)
    fine = np.linspace(std.min(), max(std.max(), top), 200)
    right.plot(fine, response.gain(fine) - 1, color=BLUE, label="model of the response")
    right.plot(fine, -((fine / response.prior_std_ev) ** 2), color=GREY, ls="--", label="posterior means, −σ²/τ²")
    right.axhline(0, color=GREY, lw=0.8)
    right.set_xlabel("stated uncertainty σ (eV)")
    right.set_ylabel("slope of the residual with energy")
    right.set_title("Regression to the prior")
    right.legend()
    return figure


@styled
def pull_figure(calibration: PredictionTable, response: Response) -> Figure:
    """Pulls of the calibrated energies with the modelled density, and the efficiency of the quality cut."""
    energy, std, truth = _calibration_electrons(calibration, response)
    corrected, width = response.calibrate(energy, std)
    pull = (corrected - truth) / width
    figure = Figure(figsize=(8.4, 3.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    edges = np.linspace(-6, 6, 49)
    counts = np.histogram(pull, edges)[0]
    left.stairs(counts / len(pull) / np.diff(edges), edges, color="#222222", label="calibration electrons")
    fine = np.linspace(-6, 6, 400)
    density = sum(
        weight / ratio * np.exp(-0.5 * (fine / ratio) ** 2) / np.sqrt(2 * np.pi)
        for weight, ratio in response.components()
    )
    left.plot(fine, density, color=BLUE, label="model")
    left.set_yscale("log")
    left.set_ylim(bottom=0.3 / len(pull))
    left.set_xlabel("(calibrated − true energy) / core width")
    left.set_ylabel("probability density")
    left.set_title(f"Pulls; stated σ × {np.exp(response.parameter('log_scale')):.2f} is the core width")
    left.legend(loc="upper left", fontsize=8, handlelength=1.1)
    _draw_efficiency(right, calibration, response)
    return figure


@styled
def profile_figure(
    likelihood: EndpointLikelihood, best: EndpointFit, name: str, label: str, reach: float = 3.0
) -> Figure:
    """2 Δ(−ln L) along a parameter, everything else fitted anew, beside the parabola of HESSE."""
    value, error = best.values[name], best.errors[name]
    points = value + np.linspace(-reach, reach, 17) * error
    figure = Figure(figsize=(4.8, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.plot(points, profile(likelihood, best, name, points), "o-", color=BLUE, label="profile likelihood")
    fine = np.linspace(points[0], points[-1], 200)
    axes.plot(fine, ((fine - value) / error) ** 2, color=GREY, ls="--", label="parabola")
    for level in (1.0, 4.0):
        axes.axhline(level, color="#bbbbbb", lw=0.8)
    axes.set_xlabel(label)
    axes.set_ylabel("2 Δ(−ln L)")
    axes.legend(loc="upper center")
    return figure


@styled
def mass_figure(limit: MassLimits) -> Figure:
    """Left: the likelihood along the mass with what each construction accepts; right: the Bayesian posterior of m²."""
    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    physical = limit.scanned.physical()
    masses = np.sqrt(physical.mass_squared_ev2)
    left.plot(masses, physical.rise(), color="#222222", label="profile likelihood")
    left.axhline(chi2.ppf(limit.confidence, 1), color=ORANGE, ls="--", lw=1.2, label="profile: χ² with one degree")
    if limit.belt is not None:
        at = np.sqrt(limit.belt.mass_squared_ev2)
        label = f"Feldman–Cousins: {limit.belt.toys} toys a point"
        left.plot(at, limit.belt.critical, "o-", ms=4, lw=1.2, color=BLUE, label=label)
    top = 3 * chi2.ppf(limit.confidence, 1)
    left.set_ylim(0, _LEGEND_ROOM * top)
    left.set_xlim(0, _shown_to(masses, physical.rise() <= top))
    left.set_xlabel("neutrino mass (eV)")
    left.set_ylabel("2 Δ(−ln L), best m² ≥ 0")
    left.set_title("Accepted: below the line")
    left.legend(loc="upper left", fontsize=8)
    right.plot(physical.mass_squared_ev2, limit.posterior, color=GREEN, label="posterior, flat in m² ≥ 0")
    right.axvline(limit.bayesian.high_ev2, color=GREEN, ls=":", label=f"{limit.confidence:.0%} below")
    right.set_xlabel("squared mass (eV²)")
    right.set_ylabel("posterior density (peak = 1)")
    right.set_ylim(0, _LEGEND_ROOM)
    right.set_xlim(0, _shown_to(physical.mass_squared_ev2, limit.posterior > _NOTHING))
    right.legend(loc="upper right", fontsize=8)
    return figure


def _shown_to(values: Array, of_interest: NDArray[np.bool_]) -> float:
    """Return where an axis ends whose points of interest are a part of what was scanned."""
    last = int(np.flatnonzero(of_interest)[-1]) if of_interest.any() else len(values) - 1
    return float(values[min(last + 1, len(values) - 1)])


@styled
def shifts_figure(shifts: list[Shift]) -> Figure:
    """The shift of the endpoint when one assumption at a time moves."""
    figure = Figure(figsize=(6.4, 0.9 + 0.42 * max(len(shifts), 1)), layout="constrained")
    axes = figure.subplots()
    for row, shift in enumerate(shifts):
        axes.barh(row, shift.endpoint_ev, color=BLUE if shift.counted else "#bbbbbb")
        axes.annotate(f" {signed(shift.endpoint_ev, 3)} eV ", (shift.endpoint_ev, row), va="center",
                      ha="left" if shift.endpoint_ev >= 0 else "right", fontsize=8.5)  # fmt: skip
    axes.set_yticks(range(len(shifts)), [shift.label for shift in shifts])
    axes.axvline(0, color=GREY, lw=0.8)
    axes.margins(x=0.3)
    axes.set_xlabel("shift of the endpoint (eV)")
    return figure


@styled
def coverage_figure(toys: Sequence[Toy], endpoint_ev: float) -> Figure:
    """Pulls of the fitted endpoints with the standard normal density, and the first intervals beside the truth."""
    good = [toy for toy in toys if toy["valid"]]
    pull = pulls(good, endpoint_ev)
    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    edges = np.linspace(-4, 4, 25)
    left.stairs(np.histogram(pull, edges)[0], edges, color="#222222", label="pseudo-experiments")
    fine = np.linspace(-4, 4, 200)
    scale = len(pull) * (edges[1] - edges[0]) / np.sqrt(2 * np.pi)
    left.plot(fine, scale * np.exp(-0.5 * fine**2), color=BLUE, label="standard normal")
    left.set_xlabel("(fitted − true endpoint) / its uncertainty")
    left.set_ylabel("pseudo-experiments")
    left.set_title(f"Pulls: mean {pull.mean():+.2f}, width {pull.std(ddof=1) if len(pull) > 1 else 0:.2f}")
    left.legend()
    for row, toy in enumerate(good[:40]):
        low, high = toy["low_ev"] - endpoint_ev, toy["high_ev"] - endpoint_ev
        right.plot([low, high], [row, row], lw=1.4, color=BLUE if low <= 0 <= high else ORANGE)
    right.axvline(0, color=GREEN, ls=":", lw=1.4)
    right.set_xlabel("68 % interval of the endpoint − truth (eV)")
    right.set_ylabel("pseudo-experiment")
    right.set_title("Orange intervals miss the truth")
    return figure


@styled
def sensitivity_figure(points: Sequence[Sensitivity]) -> Figure:
    """Uncertainties against electrons, resolution and background; lines: Fisher information."""
    figure = Figure(figsize=(9.6, 5.2), layout="constrained")
    axes = figure.subplots(2, 3, sharey="row")
    names = (("electrons", "electrons in the window"), ("resolution_ev", "resolution (eV)"),
             ("background_fraction", "background fraction"))  # fmt: skip
    rows = (("endpoint_ev", "endpoint_expected_ev", "endpoint (eV)"),
            ("mass_squared_ev2", "mass_squared_expected_ev2", "squared mass (eV²)"))  # fmt: skip
    for column, (name, label) in enumerate(names):
        chosen = sorted(_varied(points, name), key=lambda point: getattr(point, name))
        x = [getattr(point, name) for point in chosen]
        for row, (seen, expected, what) in enumerate(rows):
            panel = axes[row, column]
            panel.loglog(x, [getattr(point, seen) for point in chosen], "o", color=BLUE, label="fits")
            panel.loglog(x, [getattr(point, expected) for point in chosen], color=GREY, label="Fisher information")
            panel.set_xlabel(label)
            panel.set_xticks(x, [f"{value:g}" for value in x])
            panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            panel.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            panel.xaxis.set_minor_locator(NullLocator())
            if column == 0:
                panel.set_ylabel(f"error of the {what}")
    axes[0, 0].legend()
    return figure


def endpoint_text(analysis: Analysis) -> str:
    """Return 'E₀ ± stat ± syst eV'."""
    return f"{analysis.fit.endpoint_ev:.2f} ± {analysis.statistical_ev:.2f} ± {analysis.systematic_ev:.2f} eV"


def _varied(points: Sequence[Sensitivity], name: str) -> list[Sensitivity]:
    """Return the points that differ in one quantity only, from those of the most common values of the others."""
    others = [key for key in ("electrons", "resolution_ev", "background_fraction") if key != name]
    settings = Counter(tuple(getattr(point, key) for key in others) for point in points)
    chosen = max(settings, key=lambda setting: _distinct(points, name, others, setting))
    return [point for point in points if tuple(getattr(point, key) for key in others) == chosen]


def _distinct(points: Sequence[Sensitivity], name: str, others: list[str], setting: tuple[float, ...]) -> int:
    return len({getattr(p, name) for p in points if tuple(getattr(p, key) for key in others) == setting})


def _mark_endpoints(axes, analysis: Analysis) -> None:  # type: ignore[no-untyped-def]
    low, high = analysis.interval.low_ev, analysis.interval.high_ev
    if analysis.interval.found:
        axes.axvspan(low, high, color=ORANGE, alpha=0.25, lw=0, label="fitted endpoint, 68 %")
    if analysis.true_endpoint_ev is not None:
        axes.axvline(analysis.true_endpoint_ev, color=GREEN, lw=1.4, ls=":", label="true endpoint")


def _draw_beyond_the_cut(axes, calibration: PredictionTable, response: Response) -> float:  # type: ignore[no-untyped-def]
    """Draw the slopes of electrons whose error bar does not pass; return the largest error bar drawn."""
    energy, std = energies_and_stds(calibration)
    truth = calibration.truth(ENERGY)
    shown = (std > response.max_std_ev) & (std < response.prior_std_ev / 2) & np.isfinite(energy) & np.isfinite(truth)
    if shown.sum() < FEWEST_SHOWN:
        return 0.0
    where, slope, error = _binned_slopes(std[shown], truth[shown] - response.centre_ev, (energy - truth)[shown], 3)
    axes.errorbar(where, slope, error, fmt="o", ms=4, lw=1.2, mfc="white", color=ORANGE, label="cut away")
    axes.axvline(response.max_std_ev, color=GREY, lw=0.8, ls=":")
    return float(max(where))


def _draw_efficiency(axes, calibration: PredictionTable, response: Response) -> None:  # type: ignore[no-untyped-def]
    _, std = energies_and_stds(calibration, response.max_spread_ev)
    truth = calibration.truth(ENERGY)
    edges = np.linspace(response.low_ev, response.high_ev, 11)
    passed = np.histogram(truth[response.passes(std)], edges)[0]
    everything = np.maximum(np.histogram(truth, edges)[0], 1)
    share = passed / everything
    centres = 0.5 * (edges[1:] + edges[:-1])
    axes.errorbar(centres, share, np.sqrt(np.maximum(share * (1 - share), 0.25 / everything) / everything), fmt="o",
                  ms=4, lw=1.2, color="#222222", label="calibration electrons")  # fmt: skip
    fine = np.linspace(response.low_ev, response.high_ev, 100)
    axes.plot(fine, response.efficiency.total(fine), color=BLUE, label="logistic model")
    axes.set_ylim(0, 1.05)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("true energy (eV)")
    axes.set_ylabel(f"electrons with σ ≤ {response.max_std_ev:.2g} eV")
    axes.set_title("Efficiency of the quality cut")
    axes.locator_params(axis="x", nbins=5)
    axes.legend(loc="lower left")


def _calibration_electrons(calibration: PredictionTable, response: Response) -> tuple[Array, Array, Array]:
    energy, std = energies_and_stds(calibration, response.max_spread_ev)
    truth = calibration.truth(ENERGY).astype(np.float64)
    good = response.passes(std) & np.isfinite(energy) & np.isfinite(truth)
    return energy[good], np.maximum(std[good], 1e-3), truth[good]


def _binned_mean(x: Array, y: Array, bins: int) -> tuple[Array, Array, Array]:
    groups = np.array_split(np.argsort(x), bins)
    return (
        np.array([x[g].mean() for g in groups]),
        np.array([y[g].mean() for g in groups]),
        np.array([y[g].std() / np.sqrt(max(len(g), 1)) for g in groups]),
    )


def _binned_slopes(std: Array, distance: Array, residual: Array, bins: int) -> tuple[Array, Array, Array]:
    """Return (mean σ, slope of residual with distance, its error) in groups of σ."""
    rows = []
    for group in np.array_split(np.argsort(std), bins):
        x = distance[group] - distance[group].mean()
        y = residual[group] - residual[group].mean()
        slope = (x @ y) / (x @ x)
        rows.append((std[group].mean(), slope, np.sqrt(np.mean((y - slope * x) ** 2) / (x @ x))))
    where, slopes, errors = np.array(rows).T
    return where, slopes, errors
