"""Panels of the summary chart: each draws what the JSON holds of a head into axes of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from collider.jets.judging.mass import SUM
from collider.jets.judging.rebuilding import MEAN, REBUILT
from reconstruction.judging.measures.bootstrap import Array
from reconstruction.judging.pictures.axes import INK, legend, plain_log
from reconstruction.judging.pictures.plots import Curve
from reconstruction.levels import CENTRAL_68

Found: TypeAlias = Mapping[str, Mapping[str, Any]]
"""What the JSON holds of a head: for each of its sources, by name, figures {value, error} under their names."""
Plain: TypeAlias = Mapping[str, float | None]
_SHARES = {"accuracy": "accuracy", "top3": "top 3", "macro_f1": "macro F1", "auc": "AUC"}


def class_shares(axes: Axes, found: Found) -> None:
    """Accuracy, top 3, macro F1 and area under the curve."""
    for place, (name, figures) in enumerate(found.items()):
        points(axes, [figures[one] for one in _SHARES], name, place, len(found))
    axes.set_xticks(range(len(_SHARES)), list(_SHARES.values()))
    axes.set(title="Classes", ylabel="share, or area")
    legend(axes)


def rejection(axes: Axes, found: Found) -> None:
    """Rejection of QCD at half of each class, and fainter at 30 %; an arrow where no QCD jet passes: a lower bound."""
    kinds = list(dict.fromkeys(kind for one in found.values() for part in one["rejection"].values() for kind in part))
    for place, (name, figures) in enumerate(found.items()):
        for part, alpha in (("50", 1.0), ("30", 0.45)):
            held = figures["rejection"].get(part, {})
            at = np.array([kinds.index(kind) for kind in held]) + _aside(place, len(found))
            curve = Curve(name, np.zeros(0), None, place)
            value, error = numbers(list(held.values()))
            bounds = np.array([not one["passed"] for one in held.values()], dtype=bool)
            style: dict[str, Any] = {"color": curve.colour, "alpha": alpha, "linestyle": "none"}
            low = np.minimum(error, 0.9 * value)[~bounds]
            axes.errorbar(at[~bounds], value[~bounds], yerr=(low, error[~bounds]), marker=curve.marker,
                          label=name if part == "50" else None, **style)  # fmt: skip
            axes.plot(at[bounds], value[bounds], marker=r"$\uparrow$", markersize=8, **style)
    axes.set_xticks(range(len(kinds)), kinds, rotation=45, ha="right")
    axes.set(title="Rejection of QCD at 50 % of a class, fainter at 30 %", ylabel="1 / share of QCD that passes")
    legend(axes)
    if kinds:
        axes.set_yscale("log")
        plain_log(axes.yaxis)


def mass_response(axes: Axes, found: Found) -> None:
    """Median of the told mass over the true one, in bins of pT."""
    _in_bins(axes, found, "response")
    axes.axhline(1, color=INK, linewidth=0.8)
    axes.set(title="Mass: response", ylabel="median of told / true mass")
    legend(axes)


def mass_width(axes: Axes, found: Found) -> None:
    """Half the central 68.27 % of the response over its median, in bins of pT."""
    _in_bins(axes, found, "width")
    axes.set(title="Mass: width", ylabel="σ68 of told / true mass")
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.set_ylim(bottom=0)


def mass_coverage(axes: Axes, found: Found) -> None:
    """Share of jets within their error bar, in bins of pT."""
    _in_bins(axes, found, "coverage")
    axes.axhline(CENTRAL_68, color=INK, linewidth=0.8)
    axes.set(title="Mass: within the error bar", ylabel="jets within 1 σ")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))


def rebuilt_particles(axes: Axes, found: Found) -> None:
    """Widths of what is rebuilt of hidden particles, beside those of the mean particle."""
    shown = {"pt": "ln pT", "eta": "η", "phi": "φ", "energy": "ln E", "shell": "ln E/p"}
    _beside_the_mean(axes, found, shown)
    axes.set(title="Hidden particles", ylabel="σ68 of rebuilt − true")


def rebuilt_jets(axes: Axes, found: Found) -> None:
    """Widths of pT and mass of the jets with rebuilt particles in the place of the hidden ones."""
    _beside_the_mean(axes, found, {"jet_pt": "pT", "jet_mass": "mass"})
    axes.set(title="Jets with rebuilt particles", ylabel="σ68 of rebuilt / true")
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))


def _beside_the_mean(axes: Axes, found: Found, shown: Mapping[str, str]) -> None:
    rows: list[tuple[str, Mapping[str, Plain]]] = []
    for name, figures in found.items():
        rows.append((name, figures[REBUILT]))
        if figures[MEAN] not in [other for _, other in rows]:  # of the same jets it is the same
            rows.append((f"mean particle ({name})" if rows[1:] else "mean particle", figures[MEAN]))
    for place, (name, figures) in enumerate(rows):
        points(axes, [figures[f"{one}_width"] for one in shown], name, place, len(rows))
    axes.set_xticks(range(len(shown)), list(shown.values()))
    axes.set_xlim(-0.6, len(shown) - 0.4)
    axes.set_ylim(bottom=0)
    legend(axes)


def points(axes: Axes, figures: Sequence[Plain], name: str, place: int, of: int) -> None:
    """Draw figures one beside the other with their errors, those of several sources a little apart."""
    curve = Curve(name, np.zeros(0), None, place)
    value, error = numbers(figures)
    axes.errorbar(np.arange(len(value)) + _aside(place, of), value, yerr=error, color=curve.colour,
                  marker=curve.marker, linestyle="none", label=name)  # fmt: skip


def numbers(figures: Sequence[Plain]) -> tuple[Array, Array]:
    """Return values and errors; NaN and 0 where there are none."""
    value = np.array([np.nan if one["value"] is None else one["value"] for one in figures], dtype=np.float64)
    return value, np.array([one["error"] or 0.0 for one in figures], dtype=np.float64)


def _in_bins(axes: Axes, found: Found, figure: str) -> None:
    """Draw a figure of all bins of pT; that of all jets stands there alone where there are no bins."""
    place = 0
    for name, figures in found.items():
        for of, key in ((name, "told"), (f"{name}: {SUM}" if len(found) > 1 else SUM, "plain_sum")):
            bins = figures[key]["bins"]
            shown = [one for one in (bins[1:] or bins) if figure in one]
            low, high = np.array([one["pt_gev"] for one in shown], dtype=np.float64).reshape(-1, 2).T
            value, error = numbers([one[figure] for one in shown])
            curve = Curve(of, np.zeros(0), None, place)
            if shown:
                axes.errorbar((low + high) / 2, value, xerr=(high - low) / 2, yerr=error, color=curve.colour,
                              marker=curve.marker, linestyle="none", label=of)  # fmt: skip
            place += 1
    axes.set_xlabel("jet pT (GeV)")


def _aside(place: int, of: int) -> float:
    """Return how far aside the points of a source stand, so that those of several do not cover each other."""
    return 0.6 / max(of, 3) * (place - (of - 1) / 2)
