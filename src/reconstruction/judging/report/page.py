"""One HTML file that works offline, on a phone and in print; beside it the table as Markdown and CSV, and PNGs."""

from __future__ import annotations

import base64
import io
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from importlib.resources import files
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from reconstruction.errors import UserError
from reconstruction.files import atomic_path, write_whole
from reconstruction.judging.measures.comparison import Comparison, Row, compare, summarise
from reconstruction.judging.measures.metrics import (
    CLASS_METRICS,
    DEFAULT_RESAMPLES,
    METRICS,
    Metric,
    label_of,
    meaning_of,
)
from reconstruction.judging.measures.numbers import plain_name
from reconstruction.judging.pictures import plots
from reconstruction.judging.pictures.axes import keep_labels_inside
from reconstruction.judging.pictures.class_illustrations import class_illustrations
from reconstruction.judging.pictures.illustrations import (
    FEW,
    Illustration,
    Panel,
    Section,
    file_name,
    target_illustrations,
)
from reconstruction.judging.pictures.plots import Curve
from reconstruction.judging.report import summary
from reconstruction.judging.report.diagnostics_section import diagnostics_section
from reconstruction.judging.report.first_page import first_page, first_panels
from reconstruction.judging.tables.judged import judge_as, judged, rows_word
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.progress import progress_bar
from reconstruction.provenance import VERSION

REPORT = "report.html"
MARKDOWN = "table.md"
CSV = "table.csv"
FIGURES = "figures"
SAVED_DPI = 150
WIDE_PX = 560
"""A wider picture has a row to itself: in a column of three it could not be read."""


@dataclass(frozen=True)
class Ending:
    """A part after the sections, without pictures; `html` is trusted markup."""

    identity: str
    title: str
    html: str


def write_report(
    tables: Sequence[PredictionTable],
    output_dir: Path | str,
    *,
    bound: PredictionTable | None = None,
    sections: Sequence[Section] = (),
    title: str | None = None,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
    allow_training: bool = False,
) -> Path:
    """Evaluate tables on their common rows and write report.html, table.md, table.csv and figures/*.png.

    `bound` is a table of kind "bound" (one among `tables` serves too); `sections` are added after the figures
    (endpoint, training curves). Everything is made before anything is written, each file appears whole or not at all.
    Returns the path of the report. Raises UserError for tables that cannot be compared and for an unwritable folder.
    """
    comparison = compare(tables, bound, allow_training=allow_training)
    rows = summarise(comparison, resamples=resamples, seed=seed)
    return write_comparison(comparison, rows, output_dir, sections=sections, title=title)


def write_comparison(
    comparison: Comparison,
    rows: Sequence[Row],
    output_dir: Path | str,
    *,
    sections: Sequence[Section] = (),
    title: str | None = None,
) -> Path:
    """Write the report of a comparison that is summarised already; see `write_report`."""
    judge_as(comparison.system)
    folder, title = Path(output_dir), title or f"How well are the {rows_word()} reconstructed?"
    refuse_unwritable(folder)
    own = [Section(*_target_head(comparison, rows, t), _pictures_of(comparison, t)) for t in comparison.targets]
    posteriors = [] if len(comparison) < FEW else [diagnostics_section(comparison)]
    everything = [*own, *(section for section in posteriors if section is not None), *sections]
    texts = {MARKDOWN: summary.markdown(rows), CSV: summary.comma_separated(rows)}
    for section in sections:
        texts |= section.texts
    page, pictures = _page(comparison, rows, everything, title, texts)
    for name, content in pictures.items():
        write_whole(folder / FIGURES / name, content)
    for name, text in texts.items():
        write_whole(folder / name, text.encode())
    write_whole(folder / REPORT, page.encode())
    return folder / REPORT


def data_uri(content: bytes, kind: str) -> str:
    """Return content as a link that carries it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def colours_of(comparison: Comparison) -> dict[str, str]:
    """Return each estimator's colour in all pictures."""
    with plots.in_style():
        empty = [Curve(table.estimator, np.zeros(0), None, i) for i, table in enumerate(comparison.tables)]
        return {curve.label: curve.colour for curve in empty}


def _page(
    comparison: Comparison, rows: Sequence[Row], sections: Sequence[Section], title: str, texts: Mapping[str, str]
) -> tuple[str, dict[str, bytes]]:
    """Return the page and the PNG files of its pictures."""
    endings = (
        Ending("glossary", "What the figures mean", glossary(_told(rows))),
        Ending("origins", "Where the tables come from", _origins(comparison)),
    )
    first = Front(first_page(comparison, rows, colours_of(comparison), sections), first_panels(comparison, sections))
    return standalone_page(title, _lead(comparison), comparison.notes, sections, endings, texts, first)


@dataclass(frozen=True)
class Front:
    """What comes first: trusted markup and some of the sections' pictures, with captions. What follows is folded."""

    html: str
    panels: Sequence[tuple[str, Panel]]


def standalone_page(
    title: str,
    lead: str,
    notes: Sequence[str],
    sections: Sequence[Section],
    endings: Sequence[Ending],
    texts: Mapping[str, str],
    first: Front | None = None,
) -> tuple[str, dict[str, bytes]]:
    """Return a page that needs no other file, and the PNG files of its pictures.

    `lead` is trusted markup below the title; `notes` are plain sentences; `texts` are files to download by name.
    Behind a `first` page sections are folded below their headings.
    """
    pictures: dict[str, bytes] = {}
    panels = sum(len(illustration.panels) for section in sections for illustration in section.illustrations)
    with progress_bar() as bar:
        task = bar.add_task("Drawing the report", total=panels, unit="pictures")
        render = partial(_panel, pictures=pictures, advance=lambda: bar.advance(task))
        front = "" if first is None else _front(first, render)
        body = [_section(section, i, render, first is not None) for i, section in enumerate(sections)]
    parts = [
        _head(title),
        f"<header><h1>{escape(title)}</h1>{lead}</header><main>",
        *(f'<p class="note">{escape(note)}</p>' for note in notes),
        front,
        _contents(sections, endings),
        *body,
        *(_foldable(end.identity, end.title, end.html, first is not None) for end in endings),
        _downloads(texts),
        f"</main><footer>Made by cres {escape(VERSION)}. This file needs no network.</footer></body></html>",
    ]
    return "\n".join(parts), pictures


def _head(title: str) -> str:
    style = files("reconstruction.judging.report").joinpath("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title><style>{style}</style></head><body>'
    )


def _lead(comparison: Comparison) -> str:
    counts = ", ".join(f"{int(mask.sum())} {group}" for group, mask in comparison.groups.items())
    names = ", ".join(table.estimator for table in comparison.tables)
    groups = "".join(
        f"{one.name.capitalize()} are {rows_word()} with a {one.words}: {one.why}. " for one in judged().judging.groups
    )
    return (
        f'<p class="lead">On the same {rows_word()} ({escape(counts)}): {escape(names)}. {escape(groups)}'
        "Intervals are 68\u00a0% intervals of a paired bootstrap. A heading of a table leads to what it means.</p>"
    )


def _pictures_of(comparison: Comparison, target: str) -> tuple[Illustration, ...]:
    """Return the pictures of a target: of a quantity, or of classes."""
    classes = class_illustrations(comparison, target)
    return classes or target_illustrations(comparison, target)


def _target_head(comparison: Comparison, rows: Sequence[Row], target: str) -> tuple[str, str]:
    findings = [
        f"<li><b>{escape(row.estimator)}</b>, {escape(row.group)}: {_prose('; '.join(row.verdict.findings))}.</li>"
        for row in rows
        if row.target == target and row.verdict is not None
    ]
    verdicts = f"<h3>Calibration in words</h3><ul>{''.join(findings)}</ul>" if findings else ""
    return plain_name(target).capitalize(), summary.html_tables(rows, target, colours_of(comparison)) + verdicts


def _front(first: Front, render: Callable[[Panel], str]) -> str:
    pictures = "".join(
        f'<figure class="key"><figcaption>{_prose(caption)}</figcaption>{render(panel)}</figure>'
        for caption, panel in first.panels
    )
    return f'<section id="first">{first.html}<div class="keys">{pictures}</div></section>'


def _section(section: Section, place: int, render: Callable[[Panel], str], folded: bool) -> str:
    parts = [section.html]
    parts += [_illustration(picture, f"s{place}-{i}", render) for i, picture in enumerate(section.illustrations)]
    return _foldable(f"s{place}", section.title, "\n".join(parts), folded)


def _foldable(identity: str, title: str, html: str, folded: bool) -> str:
    """Return a section; folded, it opens by its heading and by links to what is in it."""
    if not folded:
        return f'<section id="{identity}"><h2>{escape(title)}</h2>\n{html}</section>'
    heading = f"<summary><h2>{escape(title)}</h2></summary>"
    return f'<section><details id="{identity}">{heading}\n{html}</details></section>'


def _illustration(illustration: Illustration, identity: str, render: Callable[[Panel], str]) -> str:
    panels = "".join(render(panel) for panel in illustration.panels)
    across = columns_for(len(illustration.panels))
    return (
        f'<figure id="{identity}"><h3>{escape(illustration.title)}</h3>'
        f"<figcaption>{_prose(illustration.caption)}</figcaption>"
        f'<div class="panels across{across}">{panels}</div></figure>'
    )


def columns_for(panels: int) -> int:
    """Return how many panels stand in a row, so that none is left alone in the last one."""
    return next((across for across in (3, 2, 4) if panels % across != 1), 3) if panels > 1 else 1


def _prose(text: str) -> str:
    """Return text as markup in which no line ends between a number and its per cent."""
    return escape(text).replace(" %", "\u00a0%")


def _panel(panel: Panel, pictures: dict[str, bytes], advance: Callable[[], None]) -> str:
    name = f"{file_name(panel.name)}.png"
    if name not in pictures:  # those of the first page are shown twice, and drawn once
        pictures[name] = _png(panel.drawn())
        advance()
    content = pictures[name]
    width, height = (round(96 * side / SAVED_DPI) for side in _pixels(content))
    source = data_uri(content, "image/png")
    wide = ' class="wide"' if width > WIDE_PX else ""
    return f'<img src="{source}" alt="{escape(panel.alt)}" width="{width}" height="{height}"{wide}>'


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    with plots.in_style():
        keep_labels_inside(figure)
        figure.savefig(stream, format="png", dpi=SAVED_DPI, pil_kwargs={"compress_level": 3})
    return stream.getvalue()


def _pixels(png: bytes) -> tuple[int, int]:
    """Return width and height of a PNG, from its first chunk."""
    width, height = struct.unpack(">II", png[16:24])
    return int(width), int(height)


def _contents(sections: Sequence[Section], endings: Sequence[Ending]) -> str:
    items = []
    for i, section in enumerate(sections):
        inner = "".join(
            f'<li><a href="#s{i}-{j}">{escape(picture.title.removeprefix(f"{section.title}: "))}</a></li>'
            for j, picture in enumerate(section.illustrations)
        )
        items.append(f'<li><a href="#s{i}">{escape(section.title)}</a><ol>{inner}</ol></li>')
    ends = {**{end.identity: end.title for end in endings}, "files": "Files"}
    items += [f'<li><a href="#{identity}">{text}</a></li>' for identity, text in ends.items()]
    # without a script: a box that is ticked opens the list where the screen is narrow
    return (
        '<nav aria-label="Contents"><input type="checkbox" id="unfold"><label for="unfold">Contents</label>'
        f"<ol>{''.join(items)}</ol></nav>"
    )


def glossary(metrics: Sequence[Metric] = METRICS) -> str:
    """Return what every figure of the tables means, as markup; the tables' heads link to it."""
    entries = "".join(
        f'<dt id="{summary.anchor(entry)}">{escape(label_of(entry))}</dt><dd>{_prose(meaning_of(entry))}</dd>'
        for entry in metrics
    )
    return f"<dl>{entries}</dl>"


def _told(rows: Sequence[Row]) -> Sequence[Metric]:
    """Return the metrics of what is in the tables: quantities, classes or both."""
    classes = [any("auc" in row.figures for row in rows if row.target == target) for target in {r.target for r in rows}]
    return (*(() if all(classes) else METRICS), *(CLASS_METRICS if any(classes) else ()))


def _origins(comparison: Comparison) -> str:
    tables = [*comparison.tables, *([comparison.bound] if comparison.bound is not None else [])]
    parts = []
    for table in tables:
        lines = "".join(
            f'<tr><th scope="row">{escape(_attribute(name))}</th><td>{escape(_listed(value))}</td></tr>'
            for name, value in table.attributes.items()
            if name != "estimator" and value not in ("", "{}")
        )
        parts.append(f'<h3>{escape(table.estimator)}</h3><div class="scroll"><table class="wrap">{lines}</table></div>')
    return "".join(parts)


def _attribute(name: object) -> str:
    """Return the name of an attribute in the words of the system: seconds_per_electron is of any row."""
    return str(name).replace("electron", judged().noun)


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _downloads(texts: Mapping[str, str]) -> str:
    kinds = {
        ".md": "text/markdown;charset=utf-8",
        ".csv": "text/csv;charset=utf-8",
        ".json": "application/json",
    }
    links = "".join(
        f'<li><a download="{name}" href="{data_uri(text.encode(), kinds[Path(name).suffix])}">{name}</a></li>'
        for name, text in texts.items()
    )
    return f'<section id="files"><h2>Files</h2><ul class="buttons">{links}</ul></section>'


def refuse_unwritable(folder: Path) -> None:
    """Raise before minutes of work, and before earlier outputs are touched."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: --output wants a folder")
    with atomic_path(folder / ".writable") as probe:
        probe.touch()
    (folder / ".writable").unlink()
