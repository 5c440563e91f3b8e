"""Which pictures the report shows of a target whose values are classes."""

from __future__ import annotations

from functools import partial

import numpy as np

from reconstruction.judging.measures.binned import mean_of
from reconstruction.judging.measures.comparison import ALL, Comparison
from reconstruction.judging.measures.numbers import plain_name
from reconstruction.judging.measures.separation import Told
from reconstruction.judging.pictures import class_plots, plots
from reconstruction.judging.pictures.class_plots import Teller
from reconstruction.judging.pictures.illustrations import FEW, Illustration, Panel, covariates_of, main_group
from reconstruction.judging.pictures.plots import Curve
from reconstruction.judging.tables.captions import caption_of, group_in_words
from reconstruction.judging.tables.table import PredictionTable


def class_illustrations(comparison: Comparison, target: str) -> tuple[Illustration, ...]:
    """Return all pictures of a target whose values are classes; nothing where it is a quantity."""
    tables = [table for table in comparison.estimators_of(target) if table.classes]
    if not tables:
        return ()
    drawn = [_confusion(comparison, tables, target)]
    drawn += [_roc(comparison, tables, target, group) for group in comparison.groups]
    drawn += [_reliability(comparison, tables, target, group) for group in comparison.groups]
    if len(comparison) >= FEW:
        drawn.append(_accuracy(comparison, tables, target))
    return tuple(picture for picture in drawn if picture.panels)


def _confusion(comparison: Comparison, tables: list[PredictionTable], target: str) -> Illustration:
    panels = []
    for label, place, told in _tellers(comparison, tables, target, ALL):
        names = list(comparison.tables[place].classes)
        picture = partial(class_plots.confusion_matrix, told, names, label)
        panels.append(Panel(f"{target}_confusion_{place}", picture, f"True and told class, {label}"))
    return _illustration("confusion", target, panels)


def _roc(comparison: Comparison, tables: list[PredictionTable], target: str, group: str) -> Illustration:
    """One picture a class; of two classes the second one's says all."""
    names = list(tables[0].classes)
    alike = [table for table in tables if list(table.classes) == names]
    tellers = _tellers(comparison, alike, target, group)
    places = (1,) if len(names) == 2 else range(len(names))
    panels = [
        Panel(
            f"{target}_roc_{group}" if len(names) == 2 else f"{target}_roc_{group}_{names[place]}",
            partial(class_plots.roc_curves, tellers, place, names[place]),
            f"{names[place]} kept against others kept, {group}",
        )
        for place in places
        if tellers
    ]
    return _illustration("roc", target, panels, group)


def _reliability(comparison: Comparison, tables: list[PredictionTable], target: str, group: str) -> Illustration:
    tellers = _tellers(comparison, tables, target, group)
    picture = partial(class_plots.reliability, tellers, group)
    panels = [Panel(f"{target}_reliability_{group}", picture, f"Reliability, {group}")] if tellers else []
    return _illustration("reliability", target, panels, group)


def _accuracy(comparison: Comparison, tables: list[PredictionTable], target: str) -> Illustration:
    curves = []
    for table in tables:
        told = Told.of_table(table, target)
        right = np.where(told.usable, told.right, np.nan)
        curves.append(Curve(table.estimator, right, None, comparison.tables.index(table)))
    panels = []
    for column, values in covariates_of(comparison):
        picture = partial(plots.against, curves, values, column, f"{plain_name(target)}: accuracy", mean_of,
                          resolved=main_group(comparison))  # fmt: skip
        panels.append(Panel(f"{target}_accuracy_{column}", picture, f"Accuracy against {plain_name(column)}"))
    return _illustration("accuracy", target, panels)


def _tellers(comparison: Comparison, tables: list[PredictionTable], target: str, group: str) -> list[Teller]:
    """Return what tables told of the rows of a group, where there are any."""
    mask, found = comparison.groups[group], []
    for table in tables:
        told = Told.of_table(table, target)
        kept = told.select(mask & told.usable)
        if len(kept.truth):
            found.append((table.estimator, comparison.tables.index(table), kept))
    return found


def _illustration(kind: str, target: str, panels: list[Panel], group: str = "") -> Illustration:
    title, caption = caption_of(kind, group_in_words(group) if group else "")
    heading = f"{plain_name(target).capitalize()}: {title}" + (f" ({group})" if group else "")
    return Illustration(heading, caption, tuple(panels))
