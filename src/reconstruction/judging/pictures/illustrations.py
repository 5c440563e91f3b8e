"""Which pictures the report shows for a comparison, as far as its columns allow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reconstruction.judging.measures.binned import Statistic, cell_map, coverage_of, median_of, sigma68_of
from reconstruction.judging.measures.bootstrap import Array, Sample
from reconstruction.judging.measures.comparison import ALL, Comparison
from reconstruction.judging.measures.metrics import (
    MEDIAN_OF_ABSOLUTE_GAUSSIAN,
    pulls,
    selection_order,
    sigma68,
    two_sigma_of,
)
from reconstruction.judging.measures.numbers import plain_name
from reconstruction.judging.pictures import plots
from reconstruction.judging.pictures.axes import LOG_BEYOND
from reconstruction.judging.pictures.plots import Curve
from reconstruction.judging.tables.captions import caption_of, group_in_words
from reconstruction.judging.tables.judged import judged, unit_of
from reconstruction.levels import CENTRAL_68

FEW = 120
"""Fewer rows than two bins of a profile hold get a small report: no pictures in bins."""
_CHARACTER_FOLDS = str.maketrans(dict.fromkeys(" /()°:", "-"))


@dataclass(frozen=True)
class Panel:
    """One picture: `name` becomes the file name, `alt` is read aloud to those who do not see it.

    `figure` may be a function that draws it, called once when the report is rendered.
    """

    name: str
    figure: Figure | Callable[[], Figure]
    alt: str

    def drawn(self) -> Figure:
        """Return the picture."""
        return self.figure if isinstance(self.figure, Figure) else self.figure()


@dataclass(frozen=True)
class Illustration:
    """Pictures under one heading and caption."""

    title: str
    caption: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Section:
    """A part of the report; `html` is trusted markup before the pictures, `texts` are files to download by name.

    `headline` is a sentence for the first page, `first` the name of a panel that is shown there.
    """

    title: str
    html: str = ""
    illustrations: tuple[Illustration, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    headline: str = ""
    first: str = ""


def file_name(name: str) -> str:
    """Return a name for a file, without what a shell or a file system would not like."""
    return name.translate(_CHARACTER_FOLDS)


def target_illustrations(comparison: Comparison, target: str) -> tuple[Illustration, ...]:
    """Return all pictures of one target that the columns allow."""
    groups = comparison.groups
    drawn = [_residuals(comparison, target), _truth(comparison, target)]
    if len(comparison) < FEW:
        drawn += [_calibration(comparison, target, ALL)]
        return tuple(picture for picture in drawn if picture.panels)
    drawn += [_against_all(comparison, target, "resolution", sigma68_of)]
    drawn += [_against_all(comparison, target, "bias", median_of, level=0.0)]
    drawn += [_maps(comparison, target), _over_bound(comparison, target)]
    drawn += [_calibration(comparison, target, group) for group in groups]
    drawn += [_coverages(comparison, target), _selection(comparison, target)]
    return tuple(picture for picture in drawn if picture.panels)


def curves_of(comparison: Comparison, target: str, group: str = ALL, *, with_std: bool = False) -> list[Curve]:
    """Return the estimators' residuals in a group; `with_std`: only of those that state an uncertainty."""
    mask = comparison.groups[group]
    return [
        Curve(
            table.estimator,
            table.residual(target)[mask],
            table.std(target)[mask] if table.has_std(target) else None,
            place=comparison.tables.index(table),
            order=None if (order := selection_order(table, target)) is None else order[mask],
            two_sigma=two_sigma_of(table, target)[mask] if table.has_std(target) else None,
        )
        for table in comparison.estimators_of(target)
        if mask.any() and (table.has_std(target) or not with_std)
    ]


def _illustration(kind: str, target: str, panels: Sequence[Panel], group: str = "", words: str = "") -> Illustration:
    title, caption = caption_of(kind, words or (group_in_words(group) if group else ""))
    heading = f"{plain_name(target).capitalize()}: {title}" + (f" ({group})" if group else "")
    return Illustration(heading, caption, tuple(panels))


def _residuals(comparison: Comparison, target: str) -> Illustration:
    curves = curves_of(comparison, target)
    panels = [
        Panel(
            f"{target}_residual_{curve.place}",
            partial(plots.residual_histogram, curve, target),
            f"Residuals, {curve.label}",
        )
        for curve in curves
    ]
    panels.append(
        Panel(f"{target}_survival", partial(plots.survival, curves, target), "Fraction of residuals beyond x")
    )
    return _illustration("residuals", target, panels)


def _truth(comparison: Comparison, target: str) -> Illustration:
    panels = []
    for table, curve in zip(comparison.estimators_of(target), curves_of(comparison, target), strict=True):
        picture = partial(plots.truth_against_estimate, curve, table.truth(target), target)
        panels.append(Panel(f"{target}_truth_{curve.place}", picture, f"Truth against estimate, {curve.label}"))
    return _illustration("truth", target, panels)


def _against_all(
    comparison: Comparison, target: str, what: str, statistic: Statistic, level: float | None = None
) -> Illustration:
    bound = comparison.bound_of(target) if what == "resolution" else None
    curves, unit = curves_of(comparison, target), unit_of(target)
    if what == "bias" and _very_different(curves):
        curves = [replace(curve, residual=curve.residual / sigma68(curve.residual)) for curve in curves]
        unit = "σ68"
    ylabel = f"{plain_name(target)} {'σ68' if what == 'resolution' else what} ({unit})"
    panels = [
        Panel(
            f"{target}_{what}_{column}",
            partial(plots.against, curves, values, column, ylabel, statistic,
                    resolved=main_group(comparison), bound=bound, level=level),
            f"{what} against {plain_name(column)}",
        )
        for column, values in covariates_of(comparison)
    ]  # fmt: skip
    return _illustration(what, target, panels)


def _maps(comparison: Comparison, target: str) -> Illustration:
    """Maps of all estimators, and of the bound, in one scale of colours."""
    over_columns, panels = judged().judging.map_over, []
    across, up = (None, None) if over_columns is None else map(comparison.covariate, over_columns)
    if over_columns is not None and across is not None and up is not None:
        factors = [plots.axis_of(column).factor for column in over_columns]
        over = partial(cell_map, factors[0] * across, factors[1] * up)
        maps = [(curve.label, str(curve.place), over(curve.residual, sigma68_of))
                for curve in curves_of(comparison, target)]  # fmt: skip
        bound = comparison.bound_of(target)
        if bound is not None:
            maps.append(("Cramér–Rao bound, median", "bound", over(bound, median_of)))
        limits = _limits([cells.values for _, _, cells in maps])
        for label, name, cells in maps:
            picture = partial(plots.resolution_map, cells, limits, label, target, over_columns)
            panels.append(Panel(f"{target}_map_{name}", picture, f"Resolution map, {label}"))
    return _illustration("map", target, panels)


def _limits(values: Sequence[Array]) -> tuple[float, float] | None:
    """Return the smallest and largest positive value, or None."""
    together = np.concatenate([part.ravel() for part in values])
    shown = together[np.isfinite(together) & (together > 0)]
    return (float(shown.min()), float(shown.max())) if len(shown) else None


def _over_bound(comparison: Comparison, target: str) -> Illustration:
    bound, panels = comparison.bound_of(target), []
    if bound is not None:
        curves = curves_of(comparison, target)
        ratios = [Curve(curve.label, np.abs(pulls(curve.residual, bound)), None, curve.place) for curve in curves]
        label = f"{plain_name(target)}: resolution over bound"
        for column, values in covariates_of(comparison):
            picture = partial(plots.against, ratios, values, column, label, _robust_width_of_sizes,
                              resolved=main_group(comparison), reference=1.0)  # fmt: skip
            panels.append(Panel(f"{target}_over_bound_{column}", picture, f"over bound, {plain_name(column)}"))
    return _illustration("bound", target, panels)


def _calibration(comparison: Comparison, target: str, group: str) -> Illustration:
    curves, name = curves_of(comparison, target, group, with_std=True), plain_name(target)
    if not curves:
        return _illustration("calibration", target, (), group)
    panels = [
        Panel(f"{target}_pulls_{group}", partial(plots.pull_histogram, curves), f"Pull distribution, {name}"),
        Panel(
            f"{target}_coverage_{group}", partial(plots.coverage_deviation, curves), f"Coverage of intervals, {name}"
        ),
        Panel(
            f"{target}_spread_{group}",
            partial(plots.spread_against_stated, curves, target),
            f"Spread and stated σ, {name}",
        ),
    ]
    return _illustration("calibration", target, panels, group)


def _coverages(comparison: Comparison, target: str) -> Illustration:
    curves = [
        Curve(curve.label, pulls(curve.residual, curve.std), None, curve.place)
        for curve in curves_of(comparison, target, with_std=True)
        if curve.std is not None
    ]
    panels = []
    for column, values in covariates_of(comparison):
        if curves:
            picture = partial(plots.against, curves, values, column, "1σ coverage", coverage_of,
                              resolved=main_group(comparison), level=CENTRAL_68)  # fmt: skip
            panels.append(Panel(f"{target}_coverage_{column}", picture, f"1σ coverage against {plain_name(column)}"))
    return _illustration("coverage", target, panels)


def _selection(comparison: Comparison, target: str) -> Illustration:
    panels = []
    for group in comparison.groups:
        curves = curves_of(comparison, target, group, with_std=True)
        if curves:
            picture = partial(plots.efficiency_curve, curves, target, group)
            panels.append(Panel(f"{target}_selection_{group}", picture, f"Efficiency against resolution, {group}"))
    words = " (first picture) and of ".join(group_in_words(group) for group in comparison.groups)
    return _illustration("selection", target, panels, words=words)


def _very_different(curves: Sequence[Curve]) -> bool:
    widths = [width for curve in curves if np.isfinite(width := sigma68(curve.residual)) and width > 0]
    return len(widths) == len(curves) > 1 and max(widths) / min(widths) > LOG_BEYOND


def _robust_width_of_sizes(sample: Sample) -> Array:
    return sample.quantile(0.5) / MEDIAN_OF_ABSOLUTE_GAUSSIAN


def covariates_of(comparison: Comparison) -> Sequence[tuple[str, Array]]:
    """Return the columns that figures are drawn over, with their values (rows,), as far as tables have them."""
    wanted = dict(judged().judging.covariates) or {f"true_{target}": None for target in comparison.targets}
    known = [
        column if stand_in is None or comparison.covariate(column) is not None else stand_in
        for column, stand_in in wanted.items()
    ]
    found = [(column, comparison.covariate(column)) for column in known]
    return [(column, values) for column, values in found if values is not None and _varies(values)]


def main_group(comparison: Comparison) -> NDArray[np.bool_] | None:
    """Return who has markers, (rows,): the system's first group; None where all have."""
    return None if comparison.first_group == ALL else comparison.groups[comparison.first_group]


def _varies(values: Array) -> bool:
    finite = values[np.isfinite(values)]
    return len(finite) > 1 and bool(np.ptp(finite) > 0)
