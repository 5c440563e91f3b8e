"""The report's first page: a verdict in words, one table and five pictures. Words are made of the table's own rows."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from reconstruction.judging.measures.comparison import ALL, Comparison, Row
from reconstruction.judging.measures.numbers import listed, plain_name, with_error, with_unit
from reconstruction.judging.pictures.illustrations import FEW, Panel, Section
from reconstruction.judging.report.summary import FIRST_PAGE, html_table, ruled_notes
from reconstruction.judging.tables.judged import judged, rows_word

PICTURES = 5
_REACHED = 1.05
"""A ratio to the bound that is called reaching it, where its interval allows it."""


def first_page(
    comparison: Comparison, rows: Sequence[Row], colours: dict[str, str], sections: Sequence[Section]
) -> str:
    """Return verdict and table of the first target as markup; the pictures are `first_panels`."""
    target = rows[0].target
    verdict = "".join(f"<li>{sentence}</li>" for sentence in verdict_sentences(comparison, rows, sections))
    name = escape(plain_name(target))
    return (
        f'<ul class="verdict">{verdict}</ul><h3>The {name} in one table</h3>'
        f"{html_table(rows, target, colours, FIRST_PAGE)}{ruled_notes(rows, target, FIRST_PAGE)}"
    )


def first_panels(comparison: Comparison, sections: Sequence[Section]) -> list[tuple[str, Panel]]:
    """Return the pictures that matter most with a caption each, five at most.

    Tails, resolution, bias, coverage and the spectrum; others where those are not there.
    """
    target = comparison.targets[0]
    group, covariate = comparison.first_group, _covariate(target)
    name, rows = plain_name(target), rows_word()
    wanted = {
        f"{target}_survival": f"Share of {rows} whose {name} is off by more. Good: early and steep.",
        f"{target}_resolution_{covariate}": f"Resolution. Good: low, on the dashed bound. Dotted: all {rows}.",
        f"{target}_bias_true_{target}": "Bias. Good: on the line everywhere.",
        f"{target}_coverage_{group}": f"Coverage, {group} {rows}. Good: within the grey band.",
        f"{target}_roc_{group}": f"What is let through of others, {group} {rows}. Good: in the upper left corner.",
        f"{target}_reliability_{group}": f"Are probabilities right, {group} {rows}? Good: on the diagonal.",
        f"{target}_confusion_0": "True and told class. Good: all on the diagonal.",
        f"{target}_accuracy_{covariate}": "How often the class is right. Good: high.",
        **{section.first: f"{section.title}." for section in sections if section.first},
        f"{target}_ranks_{ALL}": "Ranks of the truth. Good: flat, within the grey band.",
        f"{target}_over_bound_{covariate}": "Over the Cramér–Rao bound. Good: 1.",
        f"{target}_spread_{group}": "Observed spread against the stated σ. Good: on the diagonal.",
        f"{target}_truth_0": "Truth and estimate. Good: on the diagonal.",
    }
    known = {panel.name: panel for s in sections for picture in s.illustrations for panel in picture.panels}
    return [(words, known[panel]) for panel, words in wanted.items() if panel in known][:PICTURES]


def verdict_sentences(comparison: Comparison, rows: Sequence[Row], sections: Sequence[Section] = ()) -> list[str]:
    """Return the verdict as sentences of markup: resolution, error bars of each target, what sections add."""
    said = [_resolution(rows)]
    said += [sentence for target in comparison.targets if (sentence := _error_bars(rows, target))]
    said += [escape(section.headline) for section in sections if section.headline]
    if len(comparison) < FEW:
        said.append(
            f"{judged().count(len(comparison))} are few: figures have wide intervals, and pictures in bins are left "
            f"out ({FEW} are needed)."
        )
    return [sentence for sentence in said if sentence]


def _covariate(target: str) -> str:
    """Return the column that matters most to a target: the first true value of another quantity."""
    true = [column for column in judged().judging.covariates if column.startswith("true_")]
    return next((column for column in reversed(true[:2]) if column != f"true_{target}"), f"true_{target}")


def _resolution(rows: Sequence[Row]) -> str:
    """Say which estimator is the sharpest, how sharp, and how far from the bound."""
    target = rows[0].target
    if _tells_classes(rows, target):
        return _separation(rows, target)
    groups = dict.fromkeys(row.group for row in rows)
    group = next((g for g in groups if any(_of(rows, target, g, "sigma68"))), ALL)
    measured = _of(rows, target, group, "sigma68")
    if not measured:
        return f"No estimate of the {escape(plain_name(target))} is a finite number."
    best = min(measured, key=lambda row: row.figures["sigma68"].value)
    unit = with_unit("sigma68", target)
    count = int(best.figures["count"].value)
    whose = f"all {judged().count(count)}" if group == ALL else f"{count} {group} {rows_word()}"
    start = "" if len(measured) == 1 else "The sharpest is "
    said = f"<b>Resolution.</b> {start}{escape(best.estimator)}: σ68 {_figure(best, 'sigma68')} {unit} for {whose}"
    ratio = best.figures.get("bound_ratio")
    if ratio is None or not ratio.value > 0:
        return f"{said}."
    low = ratio.low if ratio.low == ratio.low else ratio.value
    reached = low <= _REACHED and ratio.value <= 2 * _REACHED - 1
    words = "the Cramér–Rao bound, which is reached" if reached else "the Cramér–Rao bound"
    return f"{said}, {_figure(best, 'bound_ratio')} times {words}."


def _separation(rows: Sequence[Row], target: str) -> str:
    """Say which estimator tells classes apart best, of all rows."""
    measured = _of(rows, target, ALL, "auc")
    if not measured:
        return f"The {escape(plain_name(target))} cannot be judged: all {rows_word()} are of one class."
    best = max(measured, key=lambda row: row.figures["auc"].value)
    start = "" if len(measured) == 1 else "The best is "
    count = judged().count(int(best.figures["count"].value))
    return (
        f"<b>Separation.</b> {start}{escape(best.estimator)}: AUC {_figure(best, 'auc')}, "
        f"{_figure(best, 'accuracy')}\u00a0% right, of all {count}."
    )


def _error_bars(rows: Sequence[Row], target: str) -> str:
    """Say whose error bars hold, in the words of the verdicts in the tables."""
    judged = [row for row in rows if row.target == target and row.verdict is not None]
    if not judged:
        return ""
    names = dict.fromkeys(row.estimator for row in judged)
    honest = [n for n in names if all(row.verdict.calibrated for row in judged if row.estimator == n and row.verdict)]
    parts = [f"Honest: {escape(listed(honest))}"] if honest else []
    parts += [
        f"{escape(row.estimator)}, {escape(row.group)}: {escape(row.verdict.label)}"
        for row in judged
        if row.verdict is not None and row.estimator not in honest and row.verdict.calibrated is not True
    ]
    what = "Probabilities" if _tells_classes(rows, target) else "Error bars"
    return f"<b>{what} of the {escape(plain_name(target))}.</b> {'; '.join(parts)}."


def _tells_classes(rows: Sequence[Row], target: str) -> bool:
    return any("auc" in row.figures for row in rows if row.target == target)


def _of(rows: Sequence[Row], target: str, group: str, name: str) -> list[Row]:
    return [
        row
        for row in rows
        if row.target == target and row.group == group and name in row.figures and row.figures[name].value > 0
    ]


def _figure(row: Row, name: str) -> str:
    return with_error(row.figures[name], with_unit(name, row.target))
