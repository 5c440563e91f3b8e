"""The part of the report on many apparatus: figures at each setting, and a map over two of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from html import escape

import numpy as np

from reconstruction.judging.measures.by_setting import BETWEEN, OUTSIDE, TRAINED, SettingRow
from reconstruction.judging.measures.comparison import ALL, Comparison
from reconstruction.judging.measures.numbers import plain_name, significant
from reconstruction.judging.pictures.illustrations import Illustration, Panel, Section
from reconstruction.judging.pictures.settings_map import settings_map
from reconstruction.judging.tables.judged import rows_word

TABLE = "settings.csv"
TITLE = "Many apparatus"
FIGURES = ("ratio", "ratio_low", "ratio_high", "coverage", "coverage_error", "std")
"""Columns of each estimator."""


def settings_section(comparison: Comparison, rows: Sequence[SettingRow], names: Sequence[str]) -> Section:
    """Return the section on the figures at each setting, those of the first target; `names` are the settings."""
    target = comparison.targets[0]
    estimators = [table.estimator for table in comparison.estimators_of(target)]
    html = f"<p>{escape(lead(comparison, target))}</p>"
    html += html_table(rows, names, estimators, measure_of(comparison, target))
    known = [row for row in rows if np.isfinite(row.setting[:2]).all()]
    pictures = (_maps(comparison, known, names, estimators, target),) if len(names) > 1 and known else ()
    texts = {TABLE: comma_separated(rows, names, estimators)}
    return Section(TITLE, html, pictures, texts, headline="".join(setting_lines(comparison, rows)[:1]))


def measure_of(comparison: Comparison, target: str) -> str:
    """Return what the figures of a target are, in words."""
    return "error over the bound" if comparison.bound_of(target) is not None else f"{plain_name(target)} σ68"


def lead(comparison: Comparison, target: str) -> str:
    """Return what the table shows, in a sentence."""
    what = (
        "median of |error|/bound over 0.6745, where 1 is what the Cramér–Rao bound allows"
        if comparison.bound_of(target) is not None
        else f"σ68 of the {plain_name(target)}, for want of a bound among the tables"
    )
    return (
        f"At each setting of the apparatus: {what}; coverage, the share of truths within one stated error bar (68.3 % "
        "is right); the median stated error bar. Settings are trained, between trained ones, outside of their range, "
        "or not known."
    )


def setting_lines(comparison: Comparison, rows: Sequence[SettingRow]) -> list[str]:
    """Return sentences for the terminal: the first estimator where trained, between and outside, for each group."""
    target = comparison.targets[0]
    estimators = [table.estimator for table in comparison.estimators_of(target)]
    lines = []
    for group in dict.fromkeys(row.group for row in rows):
        for where in (TRAINED, BETWEEN, OUTSIDE):
            part = [row for row in rows if (row.group, row.where) == (group, where)]
            if part:
                lines.append(_sentence(part, estimators, measure_of(comparison, target)))
    return lines


def _sentence(part: Sequence[SettingRow], estimators: Sequence[str], measure: str) -> str:
    group, where = part[0].group, part[0].where
    ratios = [row.ratio[0].value for row in part]
    covered = [100 * row.coverage[0][0] for row in part]
    said = (
        f"{estimators[0]}, {group}, {len(part)} {where} settings: {measure} {min(ratios):.3g} to {max(ratios):.3g}, "
        f"coverage {min(covered):.1f} to {max(covered):.1f} %"
    )
    for place, name in enumerate(estimators[1:], 1):
        over = [row.over[place].value for row in part if row.over[place] is not None]  # type: ignore[union-attr]
        said += f", {min(over):.3g} to {max(over):.3g} times {name}"
    if where == OUTSIDE:
        said += f", {100 * float(np.mean([row.flagged for row in part])):.0f} % flagged"
    return said


def comma_separated(rows: Sequence[SettingRow], names: Sequence[str], estimators: Sequence[str]) -> str:
    """Return the table as CSV, every figure with its interval."""
    heads = [*names, "where", "group", "count"]
    for name in estimators:
        heads += [
            f"{name} {what}" for what in ("ratio", "ratio_low", "ratio_high", "coverage", "coverage_error", "std")
        ]
    heads += [f"{estimators[0]} over {name}" for name in estimators[1:]] + ["flagged"]
    lines = [",".join(heads)]
    for row in rows:
        cells: list[object] = [*(f"{value:.10g}" for value in row.setting), row.where, row.group, row.count]
        for ratio, covered, std in zip(row.ratio, row.coverage, row.std, strict=True):
            cells += [f"{value:.5g}" for value in (ratio.value, ratio.low, ratio.high, *covered, std)]
        cells += [f"{over.value:.5g}" for over in row.over if over is not None]
        lines.append(",".join(map(str, [*cells, f"{row.flagged:.4g}"])))
    return "\n".join(lines) + "\n"


def html_table(rows: Sequence[SettingRow], names: Sequence[str], estimators: Sequence[str], measure: str) -> str:
    """Return the table as markup."""
    heads = [*names, "where", rows_word()]
    for name in estimators:
        heads += [f"{name}: {measure}", "coverage %", "error bar"]
    heads += [f"over {name}" for name in estimators[1:]] + ["flagged %"]
    parts = []
    for group in dict.fromkeys(row.group for row in rows):
        body = "".join(_line(row) for row in rows if row.group == group)
        head = "".join(f"<th>{escape(text)}</th>" for text in heads)
        parts.append(f'<h3>{escape(group)}</h3><div class="scroll"><table><tr>{head}</tr>{body}</table></div>')
    return "".join(parts)


def _line(row: SettingRow) -> str:
    cells = [*(f"{value:g}" for value in row.setting), row.where, str(row.count)]
    for ratio, (share, error), std in zip(row.ratio, row.coverage, row.std, strict=True):
        interval = (ratio.high - ratio.low) / 2
        cells += [f"{ratio.value:.3g} ± {interval:.1g}", f"{100 * share:.1f} ± {100 * error:.1f}", significant(std)]
    cells += [f"{over.value:.3g}" for over in row.over if over is not None]
    cells.append("" if np.isnan(row.flagged) else f"{100 * row.flagged:.0f}")
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _maps(
    comparison: Comparison, rows: Sequence[SettingRow], names: Sequence[str], estimators: Sequence[str], target: str
) -> Illustration:
    """Return the map of the first estimator over the first two settings, where both are known, for each group."""
    measure = measure_of(comparison, target)
    panels = tuple(
        Panel(
            f"settings-{group}-{estimators[0]}",
            partial(settings_map, [row for row in rows if row.group == group], names[:2], f"{measure}, {group}"),
            f"{measure} of {estimators[0]} over {names[0]} and {names[1]}, {group} {rows_word()}",
        )
        for group in comparison.groups
        if any(row.group == group for row in rows) and (group != ALL or len(rows))
    )
    caption = (
        f"{measure.capitalize()} of {estimators[0]} in colours. Rings mark settings that it was trained on, crosses "
        f"those outside of their range; where it is white there are no {rows_word()}: nothing was trapped, or taken."
    )
    return Illustration(f"{TITLE}: {measure}", caption, panels)
