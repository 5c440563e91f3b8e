"""The comparison as one page that needs no network, and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, Final

import numpy as np

import collider
from collider.higgs.judging import pictures
from collider.higgs.judging.compare import (
    DEDICATED,
    DEDICATED_TREES,
    EXTRAPOLATED,
    INTERPOLATED,
    NETWORK,
    SYSTEMATIC,
    TRAINED,
    TREES,
    MassComparison,
    PointResult,
    calibration_of,
    even_told,
)
from collider.higgs.judging.limits import BANDS
from collider.higgs.judging.trees import STEPS
from collider.higgs.making.config import Point
from reconstruction.files import write_whole
from reconstruction.judging.measures.bootstrap import Figure
from reconstruction.judging.pictures.class_plots import reliability
from reconstruction.judging.pictures.illustrations import Illustration, Panel, Section
from reconstruction.judging.report.page import FIGURES, standalone_page
from reconstruction.provenance import ancestry, git_commit

PAGE: Final = "report.html"
DATA: Final = "comparison.json"
TITLE: Final = "One network for all masses of a charged Higgs boson"
ASKED: Final = {TRAINED: 1.05, INTERPOLATED: 1.15}
"""(1 − AUC) over that of dedicated networks that is asked for."""
MOST_CURVES: Final = 6


def write_report(
    comparison: MassComparison, results: Sequence[PointResult], times: Mapping[str, float], folder: Path
) -> Path:
    """Write report.html, comparison.json and figures/*.png, each whole or not at all; return the page's path."""
    summary = summary_of(comparison, results, times)
    sections = [section for section in sections_of(results) if section is not None]
    lead = "".join(f"<p>{escape(line)}</p>" for line in summary["in_words"])
    page, drawn = standalone_page(TITLE, lead, notes_of(comparison, results), sections, (), {})
    for name, content in drawn.items():
        write_whole(folder / FIGURES / name, content)
    write_whole(folder / DATA, (json.dumps(summary, indent=1) + "\n").encode())
    return write_whole(folder / PAGE, page.encode())


def summary_of(
    comparison: MassComparison, results: Sequence[PointResult], times: Mapping[str, float]
) -> dict[str, Any]:
    """Return what the JSON holds."""
    told = {
        "networks": [str(one.folder) for one in comparison.networks],
        "dedicated": {f"{point[0]:g},{point[1]:g}": str(one.folder) for point, one in comparison.dedicated.items()},
        "parameters": comparison.networks[0].parameters,
        "resamples": comparison.resamples,
        "systematic": comparison.systematic,
        "backgrounds": len(comparison.events.backgrounds),
    }
    return {
        **ancestry(f"collider {collider.__version__}", git_commit(Path(__file__)), told, 0),
        "in_words": in_words(comparison, results, times),
        "medians": medians(results),
        "calibration": calibration_of(results),
        "processor_s": dict(times),
        "points": [one.to_dict() for one in results],
    }


def medians(results: Sequence[PointResult]) -> dict[str, dict[str, float]]:
    """Return the median (1 − AUC) ratio over each classifier, by where the points lie."""
    found: dict[str, dict[str, float]] = {}
    for where in (TRAINED, INTERPOLATED, EXTRAPOLATED):
        mine = [one for one in results if one.where == where and one.full]
        names = dict.fromkeys(name for one in mine for name in one.ratio)
        found[where] = {
            name: float(np.median([one.ratio[name].value for one in mine if name in one.ratio])) for name in names
        }
    return found


def in_words(comparison: MassComparison, results: Sequence[PointResult], times: Mapping[str, float]) -> list[str]:
    """Return what came of it, a sentence each."""
    network = comparison.networks[0]
    lines = [
        f"{_count(len(comparison.networks), 'network')} of {network.parameters} weights, told the masses, at "
        f"{len(results)} mass points: {sum(one.where == TRAINED for one in results)} trained, "
        f"{sum(one.where == INTERPOLATED for one in results)} between them, "
        f"{sum(one.where == EXTRAPOLATED for one in results)} outside of their range."
    ]
    for where, ratios in medians(results).items():
        for name, value in ratios.items():
            asked = f" (asked: at most {ASKED[where]:g})" if name == DEDICATED and where in ASKED else ""
            lines.append(f"{where}: (1 − AUC) is {value:.3f} times that of the {name}, median of the points{asked}.")
    if "network" in times and "dedicated" in times:
        share = times["network"] / (12 * times["dedicated"])
        lines.append(
            f"The training took {times['network']:.0f} s of processor time, a dedicated one {times['dedicated']:.0f} s"
            f", so {share:.2f} of twelve of them (asked: at most {1 / 6:.2f})."
        )
    flagged = [one for one in results if one.outside]
    if flagged:
        lines.append(f"Flagged as outside of the trained range: {', '.join(_name(one.point) for one in flagged)}.")
    calibration = calibration_of(results)
    if calibration:
        lines.append(
            f"Calibration error of the probabilities at trained points {100 * calibration['ece']:.1f} %, of which "
            f"chance alone makes {100 * calibration['ece_chance']:.1f} %."
        )
    return lines


def _count(number: int, noun: str) -> str:
    return f"One {noun}" if number == 1 else f"An ensemble of {number} {noun}s, each"


def _name(point: Point) -> str:
    return f"({point[0]:g}, {point[1]:g})"


def notes_of(comparison: MassComparison, results: Sequence[PointResult]) -> list[str]:
    """Return what has to be known beside the figures."""
    few = min((one.events for one in results if one.full), default=0)
    notes = [
        f"{len(comparison.events.backgrounds)} background events that no network met, told at each point its masses, "
        f"and {few} or more signal events at a point with all figures. Intervals are 68 %, of {comparison.resamples} "
        "resamples of these events; those of ratios are paired. What differs between trainings is not in them: that "
        "takes several seeds.",
        "Signal and every background count the same in AUC, accuracy, efficiency and rejection; significance and "
        "limits are of expected events.",
    ]
    if not math.isfinite(comparison.reference):
        notes.append("No limits: without samples.json it is not known which branching ratio the weights stand for.")
    if comparison.trees is not None:
        notes.append(f"Boosted trees: {STEPS} steps of HistGradientBoostingClassifier on quantities and the masses.")
    return notes


def sections_of(results: Sequence[PointResult]) -> list[Section | None]:
    """Return the parts of the page; None for those that there is nothing for."""
    full = [one for one in results if one.full]
    return [
        _table_section(full),
        _plane_section(results),
        _curves_section(full),
        _wrong_section(full),
        _limits_section(full),
        _spread_section(full),
        _calibration_section(full),
    ]


def _table_section(results: Sequence[PointResult]) -> Section:
    heads = [
        "mH⁺",
        "mA",
        "where",
        "events",
        "classifier",
        "AUC",
        "accuracy",
        "signal at 1 % background",
        "rejection at half of the signal",
        "significance",
        "(1 − AUC): network over it",
    ]
    body = "".join(_lines(one) for one in results)
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    html = f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'
    others = [name for name in (DEDICATED, TREES, DEDICATED_TREES) if any(name in one.ratio for one in results)]
    drawn: tuple[Illustration, ...] = ()
    if others:
        caption = "1 − AUC of the network over that of others: below 1 it is better. Bars are 68 % of paired resamples."
        panel = Panel("ratios", partial(pictures.ratio_picture, results, others), "ratio of 1 − AUC at each mass point")
        drawn = (Illustration("Against others", caption, (panel,)),)
    return Section("At each mass point", html, drawn)


def _lines(result: PointResult) -> str:
    rows = []
    for name, figures in result.figures.items():
        point = [f"{result.point[0]:g}", f"{result.point[1]:g}", result.where, str(result.events)]
        cells = [
            *(point if name == NETWORK else [""] * 4),
            name,
            said(figures["auc"], 4),
            *(_per_cent(figures[key]) for key in ("accuracy", "efficiency")),
            said(figures["rejection"], 0),
            said(figures["significance"], 2),
            said(result.ratio[name], 3) if name in result.ratio else "",
        ]
        rows.append(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    return "".join(rows)


def _per_cent(figure: Figure) -> str:
    return f"{100 * figure.value:.1f} ± {100 * _half(figure):.1f} %"


def _half(figure: Figure) -> float:
    return (figure.high - figure.low) / 2


def said(figure: Figure, digits: int) -> str:
    """Return a figure with half of its interval."""
    if not math.isfinite(figure.value):
        return "no background left" if figure.value > 0 else ""
    spread = f" ± {_half(figure):.{digits}f}" if math.isfinite(_half(figure)) else ""
    return f"{figure.value:.{digits}f}{spread}"


def _plane_section(results: Sequence[PointResult]) -> Section | None:
    if len(results) < 3:
        return None
    caption = (
        "Area under the ROC curve at each generated point. Rings mark trained points, crosses those outside of the "
        "trained range. Where mA is near mH⁺ the W is soft; near 91 GeV the backgrounds' Z hides the pair of muons."
    )
    panels = tuple(
        Panel(file, partial(pictures.plane_picture, results, name), f"AUC of the {name} over the plane of both masses")
        for file, name in (("plane", NETWORK), ("plane-trees", TREES))
        if all(name in one.figures for one in results)
    )
    return Section("Over the plane of masses", "", (Illustration("Heat map", caption, panels),))


def _curves_section(results: Sequence[PointResult]) -> Section | None:
    chosen = [one for one in results if DEDICATED in one.figures] or list(results)
    panels = tuple(
        Panel(
            f"roc-{one.point[0]:g}-{one.point[1]:g}",
            partial(pictures.roc_picture, one),
            f"ROC curves at {_name(one.point)}",
        )
        for one in chosen[:MOST_CURVES]
    )
    if not panels:
        return None
    caption = "Each background counts the same; the dotted line is guessing. Numbers are areas under the curves."
    return Section("ROC curves", "", (Illustration("Signal against background", caption, panels),))


def _wrong_section(results: Sequence[PointResult]) -> Section | None:
    shown = [one for one in results if one.wrong]
    if not shown:
        return None
    caption = (
        "The network is told masses of other trained points, for signal and backgrounds alike. Had it learned nothing "
        "of them, the marks would fall on each other."
    )
    panel = Panel("wrong-masses", partial(pictures.wrong_picture, shown), "AUC with right and wrong masses told")
    return Section("Wrong masses, on purpose", "", (Illustration("What it is told matters", caption, (panel,)),))


def _limits_section(results: Sequence[PointResult]) -> Section | None:
    shown = [one for one in results if one.limits and all(math.isfinite(value) for value in one.limits[NETWORK])]
    if not shown:
        return None
    caption = (
        "Expected upper limit on B(t → H⁺b) B(H⁺ → W A) B(A → μμ) at 95 % (asymptotic CLs) from a likelihood in bins "
        f"of the score; the background of a bin is uncertain by {100 * SYSTEMATIC:.0f} % and by its generated events. "
        "Numbers above are masses of H⁺ in GeV; points of one mA stand side by side. No systematic uncertainty between "
        "bins: a sensitivity to compare classifiers by, not that of an experiment."
    )
    panel = Panel("limits", partial(pictures.limit_picture, shown), "expected limits against the mass of A")
    heads = ("mH⁺", "mA", *(f"{name}: median" for name in shown[0].limits))
    rows = [
        [f"{one.point[0]:g}", f"{one.point[1]:g}", *(f"{own[BANDS.index(0)]:.2e}" for own in one.limits.values())]
        for one in shown
    ]
    html = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    same = all(list(one.limits) == list(shown[0].limits) for one in shown)
    table = f'<div class="scroll"><table><tr>{head}</tr>{html}</table></div>' if same else ""
    return Section("Expected limits", table, (Illustration("Limit on the branching ratio", caption, (panel,)),))


def _spread_section(results: Sequence[PointResult]) -> Section | None:
    shown = [one for one in results if math.isfinite(one.spread)]
    if not shown:
        return None
    caption = (
        "Mean standard deviation of p(signal) among networks that differ in their seeds alone: it has to grow where "
        "none of them was trained."
    )
    panel = Panel("spread", partial(pictures.spread_picture, shown), "spread of the ensemble against distance")
    return Section("Where the networks differ", "", (Illustration("Spread of the ensemble", caption, (panel,)),))


def _calibration_section(results: Sequence[PointResult]) -> Section | None:
    told = even_told([one.scored[NETWORK] for one in results if one.where == TRAINED])
    if not len(told.truth):
        return None
    caption = (
        "How often the most probable class is the true one, where all four are equally frequent, at trained points."
    )
    draw = partial(reliability, [(NETWORK, 0, told)], "class")
    panel = Panel("reliability", draw, "frequency of being right against the stated probability")
    return Section("Are the probabilities right?", "", (Illustration("Reliability", caption, (panel,)),))
