"""The table of figures as HTML, Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from html import escape

from reconstruction.judging.measures.comparison import Row
from reconstruction.judging.measures.metrics import CLASS_METRICS, METRICS, Metric, label_of
from reconstruction.judging.measures.numbers import plain_name, significant, with_error, with_unit
from reconstruction.judging.tables.judged import judged

_RELATIVE = "σ68 relative"
_VERDICT = "calibration"
_SECONDS = "seconds"
_BEFORE_VERDICT = ("coverage1", "ece")
"""After one of these stands the verdict: the resolution comes first, what a narrow screen shows without moving."""
PARTS = {
    "Resolution": ("sigma68", "bound_ratio", "bias", "near_fraction", "goal_fraction", _RELATIVE, _SECONDS),
    "Classes": ("accuracy", "auc", "log_loss", "ece", "ece_chance", "overconfidence", _SECONDS),
    "Uncertainties": ("coverage1", "coverage2", "pull_width", "pull_bias", "nll"),
    "Core, tails and bound": ("core_sigma", "tail_fraction", "rms", "pull_rms", "bound_sigma68", "bound_rms"),
}
"""Tables that fit on a page, and what stands in them."""
FIRST_PAGE = ("sigma68", "bound_ratio", "bias", "coverage1", "near_fraction", "accuracy", "auc", "ece")
"""What the table of the first page shows."""
EVERY = (*METRICS, *CLASS_METRICS)
RULED = "†"
"""Behind a figure that one row decides; below the table it is said which."""


def markdown(rows: Sequence[Row]) -> str:
    """Return one Markdown table a target and group, intervals included."""
    parts = []
    for target, group in _parts(rows):
        chosen = _chosen(rows, target, group)
        head = ["estimator", *_headings(chosen, target)]
        lines = [f"### {plain_name(target).capitalize()}, {group} ({judged().count(_count(chosen))})", ""]
        lines += [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
        lines += [f"| {' | '.join([_unbarred(row.estimator), *_cells(row, chosen)])} |" for row in chosen]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def comma_separated(rows: Sequence[Row]) -> str:
    """Return CSV in the long form: one line a figure with its 68 % interval, in plain units and fractions."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["target", "group", "estimator", "metric", "value", "low", "high", "unit"])
    for row in rows:
        start = [row.target, row.group, row.estimator]
        for entry in EVERY:
            if entry.name in row.figures:
                figure = row.figures[entry.name]
                unit = "" if entry.unit == "%" else with_unit(entry.name, row.target)
                writer.writerow([*start, entry.name, figure.value, figure.low, figure.high, unit])
        for name in ("count", "failed"):
            writer.writerow([*start, name, int(row.figures[name].value), "", "", ""])
        if row.relative_sigma68 is not None:
            figure = row.relative_sigma68
            writer.writerow([*start, "sigma68_relative_to_first", figure.value, figure.low, figure.high, ""])
        if row.seconds_per_electron is not None:
            writer.writerow([*start, "seconds_per_electron", row.seconds_per_electron, "", "", "s"])
        if row.verdict is not None:
            writer.writerow([*start, "calibration", row.verdict.label, "", "", ""])
    return text.getvalue()


def html_tables(rows: Sequence[Row], target: str, colours: dict[str, str]) -> str:
    """Return all figures of a target as HTML tables that fit on a page, with what one row decides below."""
    parts = [
        f"<h3>{title}</h3>{html_table(rows, target, colours, names)}"
        for title, names in PARTS.items()
        if any(name in row.figures for row in rows for name in names)
    ]
    return "".join([*parts, ruled_notes(rows, target)])


def ruled_notes(rows: Sequence[Row], target: str, names: Sequence[str] | None = None) -> str:
    """Return what is to be known of figures that one row decides, as markup; nothing where there are none."""
    said = [
        f"<li>{escape(row.estimator)}, {escape(row.group)}: {escape(sentence)}</li>"
        for row in rows
        if row.target == target
        for name, sentence in row.ruled.items()
        if names is None or name in names
    ]
    return f'<p>{RULED} One {judged().noun} decides:</p><ul class="ruled">{"".join(said)}</ul>' if said else ""


def html_table(rows: Sequence[Row], target: str, colours: dict[str, str], names: Sequence[str] | None = None) -> str:
    """Return one HTML table of a target with a part a group, in a box that scrolls sideways on narrow screens.

    `names` are the metrics that it shows, all of them where none are given.
    """
    chosen = [_with_only(row, names) for row in rows if row.target == target]
    headings = _headings(chosen, target)
    head = "".join(f'<th scope="col">{text}</th>' for text in ["estimator", *map(_linked, headings)])
    body = []
    for group in dict.fromkeys(row.group for row in chosen):
        part = _chosen(chosen, target, group)
        label = f"{group}: {judged().count(_count(part))}"
        body.append(f'<tr class="group"><th scope="colgroup" colspan="{len(headings) + 1}">{escape(label)}</th></tr>')
        body += [_html_row(row, chosen, headings, colours.get(row.estimator, "#888")) for row in part]
    caption = f"{plain_name(target)} figures"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def anchor(entry: Metric) -> str:
    """Return the identity of a metric's place in the glossary."""
    return f"about-{entry.name}"


def _linked(heading: str) -> str:
    """Return a heading as markup that leads to its meaning, where the glossary has one."""
    entry = next((entry for entry in EVERY if heading.partition(" (")[0] == label_of(entry)), None)
    return escape(heading) if entry is None else f'<a href="#{anchor(entry)}">{escape(heading)}</a>'


def badge(row: Row) -> str:
    """Return the calibration verdict as a small coloured label."""
    if row.verdict is None:
        return '<span class="badge unknown">no uncertainty</span>'
    kind = {True: "yes", False: "no", None: "unknown"}[row.verdict.calibrated]
    return f'<span class="badge {kind}">{escape(row.verdict.label)}</span>'


def _html_row(row: Row, family: Sequence[Row], headings: Sequence[str], colour: str) -> str:
    name = f'<span class="swatch" style="background:{colour}"></span>{escape(row.estimator)}'
    cells = [
        badge(row) if heading == _VERDICT else escape(cell)
        for heading, cell in zip(headings, _cells(row, family), strict=True)
    ]
    return f'<tr><th scope="row">{name}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _headings(family: Sequence[Row], target: str) -> list[str]:
    headings = []
    for entry in EVERY:
        if any(entry.name in row.figures for row in family):
            unit = with_unit(entry.name, target)
            headings.append(f"{label_of(entry, target)} ({unit})" if unit else label_of(entry, target))
        if entry.name == _before_verdict(family) and _any_verdict(family):
            headings.append(_VERDICT)
    if _any_relative(family):
        headings.append(f"{_RELATIVE} to {family[0].estimator}")
    if _any_seconds(family):
        headings.append(f"time {judged().one} (ms)")
    return headings


def _cells(row: Row, family: Sequence[Row]) -> list[str]:
    cells = []
    for entry in EVERY:
        if any(entry.name in other.figures for other in family):
            mark = f" {RULED}" if entry.name in row.ruled else ""
            cells.append(with_error(row.figures.get(entry.name), with_unit(entry.name, row.target)) + mark)
        if entry.name == _before_verdict(family) and _any_verdict(family):
            cells.append(row.verdict.label if row.verdict is not None else "–")
    if _any_relative(family):
        cells.append(with_error(row.relative_sigma68) if row.relative_sigma68 is not None else "1")
    if _any_seconds(family):
        cells.append("–" if row.seconds_per_electron is None else significant(1e3 * row.seconds_per_electron))
    return cells


def _with_only(row: Row, names: Sequence[str] | None) -> Row:
    """Return a row that knows some of its figures only."""
    if names is None:
        return row
    return replace(
        row,
        figures={name: figure for name, figure in row.figures.items() if name in (*names, "count")},
        verdict=row.verdict if any(name in names for name in _BEFORE_VERDICT) else None,
        relative_sigma68=row.relative_sigma68 if _RELATIVE in names else None,
        seconds_per_electron=row.seconds_per_electron if _SECONDS in names else None,
    )


def _unbarred(name: str) -> str:
    """Keep a bar in a name from ending its cell."""
    return name.replace("|", "\\|")


def _before_verdict(family: Sequence[Row]) -> str:
    """Return the metric after which the verdict stands: of quantities their coverage, of classes their calibration."""
    return _BEFORE_VERDICT[any("ece" in row.figures for row in family)]


def _any_verdict(family: Sequence[Row]) -> bool:
    return any(row.verdict is not None for row in family)


def _any_relative(family: Sequence[Row]) -> bool:
    return any(row.relative_sigma68 is not None for row in family)


def _any_seconds(family: Sequence[Row]) -> bool:
    return any(row.seconds_per_electron is not None for row in family)


def _parts(rows: Sequence[Row]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((row.target, row.group) for row in rows))


def _chosen(rows: Sequence[Row], target: str, group: str) -> list[Row]:
    return [row for row in rows if (row.target, row.group) == (target, group)]


def _count(rows: Sequence[Row]) -> int:
    return int(rows[0].figures["count"].value)
