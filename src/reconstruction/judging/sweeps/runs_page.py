"""One HTML page over all runs of a sweep, and its table as Markdown and CSV."""

from __future__ import annotations

from functools import partial
from html import escape
from pathlib import Path

import numpy as np

from reconstruction.files import write_whole
from reconstruction.judging.measures.metrics import two_sigma_of
from reconstruction.judging.measures.numbers import plain_name
from reconstruction.judging.pictures import plots
from reconstruction.judging.pictures.illustrations import Illustration, Panel, Section
from reconstruction.judging.pictures.plots import Curve
from reconstruction.judging.report import summary
from reconstruction.judging.report.page import (
    FIGURES,
    Ending,
    glossary,
    refuse_unwritable,
    standalone_page,
)
from reconstruction.judging.sweeps.runs import short_names
from reconstruction.judging.sweeps.runs_plots import COLOURED, colour_of, effect, training_curves
from reconstruction.judging.sweeps.runs_summary import Summary, metric_label, shown
from reconstruction.judging.tables.judged import rows_word

PAGE = "summary.html"
MARKDOWN = "summary.md"
CSV = "summary.csv"
CURVES = ("train/loss_epoch", "val/loss")

TRAINING_CAPTION = (
    "All runs on common axes, the best six in colour, a mark at each one's best checkpoint. Good: validation falls "
    "with training and stays there. Validation that rises while training falls is over-fitting; a run that has not "
    "levelled off wants more epochs; coverage belongs at the dotted 68.3 %. The first epochs' losses may lie above the "
    "picture."
)
EFFECT_CAPTION = (
    "Each mark is a run at its best checkpoint, the dashed line joins medians. A setting matters where the line moves "
    "by more than the marks scatter; where the best marks lie at an edge, the axis wants to be longer."
)
TEST_CAPTION = (
    "The best runs on their test {rows}, which took no part in the choice. Left: the fraction of {rows} that err "
    "by more; lower and further left is better. Right: observed minus nominal coverage; good lies within the grey band."
)


def write_summary(result: Summary, output_dir: Path) -> Path:
    """Write summary.html, summary.md, summary.csv and figures/*.png into a folder; returns the page's path."""
    refuse_unwritable(output_dir)
    texts = {MARKDOWN: result.markdown(), CSV: result.comma_separated()}
    sections = [_runs(result), *_effects(result), _training(result), *_test(result)]
    title = f"The runs of {result.title}"
    endings = [Ending("glossary", "What the figures mean", glossary())]
    page, pictures = standalone_page(title, _lead(result), result.notes, sections, endings, texts)
    for name, content in pictures.items():
        write_whole(output_dir / FIGURES / name, content)
    for name, text in texts.items():
        write_whole(output_dir / name, text.encode())
    write_whole(output_dir / PAGE, page.encode())
    return output_dir / PAGE


def _lead(result: Summary) -> str:
    ranking = escape(metric_label(result.by))
    head = f"{len(result.runs)} runs, best first by {ranking} at each one's best checkpoint."
    if result.best is None:
        return f'<p class="lead">{head} None has been validated yet.</p>'
    value = shown(result.best.at_best(result.by))
    return (
        f'<p class="lead">{head} The best is <b>{escape(result.best.name)}</b> with {ranking} {value} in epoch '
        f"{result.best.best_epoch}: {escape(str(result.best.checkpoint or result.best.folder))}</p>"
    )


def _runs(result: Summary) -> Section:
    columns = result.columns()
    head = "".join(f'<th scope="col">{escape(column.heading)}</th>' for column in columns)
    colours = _colours(result)
    body = []
    for run in result.runs:
        swatch = f'<span class="swatch" style="background:{colours[run.name]}"></span>'
        cells = "".join(f"<td>{escape(column.text(run))}</td>" for column in columns[1:])
        body.append(f'<tr><th scope="row">{swatch}{escape(run.name)}</th>{cells}</tr>')
    table = (
        '<div class="scroll" tabindex="0" role="region" aria-label="runs"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )
    return Section("All runs", table + _settings(result))


def _settings(result: Summary) -> str:
    """Return the full names of the settings in the table's head."""
    lines = [
        f'<tr><th scope="row">{escape(short)}</th><td>{escape(key)}</td></tr>'
        for key, short in short_names(result.keys).items()
        if key in result.shown_keys
    ]
    if not lines:
        return ""
    return f'<h3>Settings that differ</h3><div class="scroll"><table class="wrap">{"".join(lines)}</table></div>'


def _effects(result: Summary) -> list[Section]:
    short = short_names(result.keys)
    panels = [
        Panel(f"effect_{key}", partial(effect, result.runs, key, short[key], result.by), f"Effect of {short[key]}")
        for key in result.shown_keys
    ]
    if not panels:
        return []
    picture = Illustration(f"{metric_label(result.by).capitalize()} against each setting", EFFECT_CAPTION, (*panels,))
    return [Section("What the settings do", "", (picture,))]


def _training(result: Summary) -> Section:
    names = dict.fromkeys([*CURVES, *(name for run in result.runs for name in run.history if name.startswith("val/"))])
    panels = [
        Panel(
            f"training_{name}", partial(training_curves, result.runs, name), f"{metric_label(name)} against the epoch"
        )
        for name in names
        if any(name in run.history for run in result.runs)
    ]
    return Section("Training", "", (Illustration("Losses and resolutions", TRAINING_CAPTION, tuple(panels)),))


def _test(result: Summary) -> list[Section]:
    ranked = [row for run in result.runs for row in result.rows.get(run.name, ())]
    return [
        Section(
            f"Test {rows_word()}: {plain_name(target)}",
            summary.html_table(ranked, target, _colours(result)),
            _test_pictures(result, target),
        )
        for target in result.targets
    ]


def _test_pictures(result: Summary, target: str) -> tuple[Illustration, ...]:
    curves = [
        Curve(
            run.name,
            table.residual(target),
            table.std(target) if table.has_std(target) else None,
            place,
            two_sigma=two_sigma_of(table, target) if table.has_std(target) else None,
        )
        for place, run in enumerate(result.runs[:COLOURED])
        if (table := run.table) is not None and any(row.target == target for row in result.rows.get(run.name, ()))
    ]
    if not curves:
        return ()
    stated = [curve for curve in curves if curve.std is not None and np.isfinite(curve.std).any()]
    panels = [Panel(f"test_{target}_survival", partial(plots.survival, curves, target), "Fraction of errors beyond x")]
    if stated:
        panels.append(Panel(f"test_{target}_coverage", partial(plots.coverage_deviation, stated), "Coverage"))
    return (
        Illustration(
            f"{plain_name(target).capitalize()} of the best runs", TEST_CAPTION.format(rows=rows_word()), tuple(panels)
        ),
    )


def _colours(result: Summary) -> dict[str, str]:
    with plots.in_style():
        return {run.name: colour_of(place) for place, run in enumerate(result.runs)}
