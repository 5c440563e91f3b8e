"""All runs of a sweep in one table: what differs, how well each does, which is best."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table as RichTable

from reconstruction.errors import UserError, nearest
from reconstruction.judging.measures.bootstrap import Figure
from reconstruction.judging.measures.comparison import ALL, Row, compare, summarise
from reconstruction.judging.measures.metrics import label_of, metric
from reconstruction.judging.measures.numbers import in_brackets, plain_name, significant, with_unit
from reconstruction.judging.sweeps.runs import DEFAULT_MONITOR, Run, differences, read_runs, short_names
from reconstruction.judging.tables.find import read_table
from reconstruction.judging.tables.judged import judged, rows_word
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.sweeps import WHAT_LOSS_MEANS

WHICH_ELECTRONS = ("data.data", "data.fractions", "data.split")
"""Keys that change which rows a run is judged on."""
MOST_KEYS = 12
"""Runs of unlike configurations differ in hundreds of keys; more than this are shown in the CSV file alone."""
TEST_METRICS = (
    (True, "sigma68"),
    (False, "sigma68"),
    (False, "coverage1"),
    (True, "bound_ratio"),
    (False, "accuracy"),
    (False, "auc"),
)
"""Whether of the system's first group (else of all), and which figure."""


@dataclass(frozen=True)
class SummaryColumn:
    """One column of the table: `text` for people, `raw` for programs."""

    heading: str
    text: Callable[[Run], str]
    raw: Callable[[Run], Any]
    wide: bool = False
    """Left out where there is little room."""


@dataclass(frozen=True)
class Summary:
    """The runs, best first, with the figures of their test rows.

    `by` is the metric that ranks them, at the epoch of each run's best checkpoint; `keys` are the dotted keys in which
    they differ; `rows` maps a run's name to its figures of every target and group.
    """

    title: str
    runs: list[Run]
    by: str
    keys: list[str]
    rows: dict[str, list[Row]]
    notes: list[str]

    @property
    def best(self) -> Run | None:
        """The run with the smallest value of the ranking metric."""
        return next((run for run in self.runs if math.isfinite(run.at_best(self.by))), None)

    @property
    def targets(self) -> list[str]:
        """The targets that were tested."""
        return list(dict.fromkeys(row.target for rows in self.rows.values() for row in rows))

    def figure(self, run: Run, target: str, group: str, name: str) -> Figure | None:
        """Return a figure of a run's test rows, None where it is not known."""
        found = [row for row in self.rows.get(run.name, ()) if (row.target, row.group) == (target, group)]
        return found[0].figures.get(name) if found else None

    def columns(self, all_keys: bool = False) -> list[SummaryColumn]:
        """Return the columns of the table; all keys that differ, or as many as can be read."""
        return [
            SummaryColumn("run", lambda run: run.name, lambda run: run.name),
            *self._settings(all_keys),
            SummaryColumn("status", lambda run: run.status, lambda run: run.status),
            SummaryColumn("best epoch", lambda run: _or_dash(run.best_epoch), lambda run: run.best_epoch, wide=True),
            *self._validation(),
            *self._test(),
            SummaryColumn(
                "best checkpoint", lambda run: _or_dash(run.checkpoint), lambda run: run.checkpoint, wide=True
            ),
        ]

    @property
    def shown_keys(self) -> list[str]:
        """The keys that the tables and pictures show."""
        return self.keys[:MOST_KEYS]

    def _settings(self, all_keys: bool) -> list[SummaryColumn]:
        short = short_names(self.keys)
        return [
            SummaryColumn(
                short[key],
                lambda run, key=key: setting(run, key),  # type: ignore[misc]
                lambda run, key=key: run.config.get(key),  # type: ignore[misc]
            )
            for key in (self.keys if all_keys else self.shown_keys)
        ]

    def _validation(self) -> list[SummaryColumn]:
        names = dict.fromkeys([self.by, *(name for run in self.runs for name in run.history)])
        return [
            SummaryColumn(
                metric_label(name),
                lambda run, name=name: shown(run.at_best(name)),  # type: ignore[misc]
                lambda run, name=name: _none_for_nan(run.at_best(name)),  # type: ignore[misc]
                wide=name != self.by,
            )
            for name in names
            if name.startswith("val/") and any(math.isfinite(run.at_best(name)) for run in self.runs)
        ]

    def _test(self) -> list[SummaryColumn]:
        return [
            self._test_column(target, group, name)
            for target in self.targets
            for group, name in _test_metrics()
            if any(self.figure(run, target, group, name) is not None for run in self.runs)
        ]

    def _test_column(self, target: str, group: str, name: str) -> SummaryColumn:
        unit = with_unit(name, target)
        heading = f"{plain_name(target)} {label_of(metric(name), target)}, {group}{f' ({unit})' if unit else ''}"

        def raw(run: Run) -> float | None:
            figure = self.figure(run, target, group, name)
            return None if figure is None else _none_for_nan(figure.value)

        return SummaryColumn(
            heading,
            lambda run: in_brackets(self.figure(run, target, group, name), unit),
            raw,
            wide=target != self.targets[0],
        )

    def terminal(self, width: int = 80) -> RichTable:
        """Return the table for a terminal of so many columns: what fits, and how many columns the CSV file has more."""
        candidates = [column for column in self.columns() if not column.wide]
        cells = [[_shortened(column.text(run)) for run in self.runs] for column in candidates]
        widths = [_natural_width(column, texts) for column, texts in zip(candidates, cells, strict=True)]
        chosen = _that_fit(widths, self._importance(candidates), width)
        title = f"{self.title}, best first by {metric_label(self.by)}; (12) is the 68 % interval of the last digits"
        more = len(self.columns(all_keys=True)) - len(chosen)
        caption = f"{more} more columns: summary.csv" if more else None
        table = RichTable(
            title=title, title_justify="left", caption=caption, caption_justify="left", box=SIMPLE_HEAD, padding=(0, 1)
        )
        for place in chosen:
            heading = escape(candidates[place].heading)
            table.add_column(heading, justify="left" if place == 0 else "right", width=widths[place])
        for row in range(len(self.runs)):
            table.add_row(*(escape(cells[place][row]) for place in chosen))
        return table

    def _importance(self, columns: Sequence[SummaryColumn]) -> list[int]:
        """Return the places of columns, those first that are told even where there is little room."""
        settings = {column.heading for column in self._settings(all_keys=False)}
        ranking = metric_label(self.by)

        def rank(place: int) -> int:
            heading = columns[place].heading
            if heading in ("run", ranking):
                return 0
            return 1 if heading in settings else 3 if heading == "status" else 2

        return sorted(range(len(columns)), key=rank)

    def markdown(self) -> str:
        """Return the table in Markdown."""
        columns = self.columns()
        lines = [[column.heading for column in columns], ["---", *["---:"] * (len(columns) - 1)]]
        lines += [[column.text(run) for column in columns] for run in self.runs]
        return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)

    def headings(self) -> list[str]:
        """Return the headings of all columns, settings under their full keys."""
        full = dict(zip(short_names(self.keys).values(), self.keys, strict=True))
        return [full.get(column.heading, column.heading) for column in self.columns(all_keys=True)]

    def comma_separated(self) -> str:
        """Return the table as CSV: plain numbers, settings under their full keys, nothing for what is not known."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        columns = self.columns(all_keys=True)
        writer.writerow(self.headings())
        for run in self.runs:
            writer.writerow(["" if column.raw(run) is None else as_text(column.raw(run)) for column in columns])
        return text.getvalue()


def summarise_runs(
    folder: Path, *, bound: Path | None = None, by: str | None = None, resamples: int = 200, seed: int = 0
) -> Summary:
    """Read the runs of a folder and summarise them, best first.

    `by` ranks them (a column of metrics.csv, smaller is better): by default what the checkpoints follow, or σ68 of the
    first target where that is not comparable. Test figures never rank: they would no longer be independent.
    Raises UserError.
    """
    runs = read_runs(folder)
    keys = differences(runs)
    by = _ranking(runs, keys) if by is None else _known(by, runs)
    notes = [note for run in runs for note in run.notes]
    limits = None if bound is None else read_table(bound)
    rows = {run.name: _test_rows(run, limits, resamples, seed, notes) for run in runs if run.table is not None}
    ranked = sorted(runs, key=lambda run: (not math.isfinite(run.at_best(by)), run.at_best(by), run.name))
    return Summary(folder.name, ranked, by, keys, rows, [*notes, *_notes(runs, keys, by)])


_BETWEEN = 3
WIDEST_CELL = 22
"""Longer texts are cut in the terminal's table."""


def _shortened(text: str) -> str:
    """Return a cell's text: of a class with its options the name of the class alone, numbers with six digits."""
    with contextlib.suppress(ValueError):
        return f"{float(text):.6g}" if len(text) > 8 else text
    if text.startswith("{"):
        with contextlib.suppress(ValueError, KeyError):
            text = str(json.loads(text)["class_path"]).rpartition(".")[2]
    return text if len(text) <= WIDEST_CELL else f"{text[: WIDEST_CELL - 1]}…"


def _natural_width(column: SummaryColumn, texts: Sequence[str]) -> int:
    """Return how wide a column is whose heading is broken between words."""
    return max(len(word) for word in [*column.heading.split(), *texts])


def _that_fit(widths: Sequence[int], importance: Sequence[int], room: int) -> list[int]:
    """Return the places of the most important columns that fit beside each other, in their order."""
    chosen: list[int] = []
    used = 2  # the table's own edges
    for place in importance:
        if used + widths[place] + _BETWEEN <= room:
            chosen.append(place)
            used += widths[place] + _BETWEEN
    return sorted(chosen)


def metric_label(name: str) -> str:
    """Return how a person calls a column of metrics.csv: val/energy_sigma68_eV → validation energy σ68 (eV)."""
    stage, _, rest = name.partition("/")
    words = rest.replace("_sigma68_", " σ68 _").replace("_epoch", "").replace("_step", "")
    text, _, unit = words.partition(" _")
    label = f"{text.replace('_', ' ')}{f' ({unit})' if unit else ''}"
    return f"{ {'val': 'validation', 'train': 'training'}.get(stage, stage) } {label}".strip()


def setting(run: Run, key: str) -> str:
    """Return a value of a run's configuration as text."""
    value = run.config.get(key)
    return "–" if value is None else as_text(value)


def as_text(value: Any) -> str:
    """Return a value as text; classes without their module."""
    if isinstance(value, list | dict):
        return json.dumps(value)
    return (
        value.rpartition(".")[2]
        if isinstance(value, str) and value.startswith(("reconstruction.", "cres."))
        else str(value)
    )


def shown(value: float) -> str:
    """Return a number with four digits, a dash where it is not known."""
    return significant(value, 4) if math.isfinite(value) else "–"


def _ranking(runs: Sequence[Run], keys: Sequence[str]) -> str:
    monitors = {run.monitor for run in runs if run.config}
    comparable = len(monitors) == 1 and not any(key.startswith(WHAT_LOSS_MEANS) for key in keys)
    widths = [name for run in runs for name in run.history if name.startswith("val/") and "_sigma68" in name]
    return widths[0] if widths and not comparable else next(iter(monitors), DEFAULT_MONITOR)


def _known(by: str, runs: Sequence[Run]) -> str:
    names = sorted({name for run in runs for name in run.history})
    if by not in names:
        raise UserError(f"no run has the metric {by!r}{nearest(by, names)}: known are {', '.join(names)}")
    return by


def _test_rows(run: Run, bound: PredictionTable | None, resamples: int, seed: int, notes: list[str]) -> list[Row]:
    """Return the figures of one run on its own test rows; what cannot be evaluated becomes a note."""
    assert run.table is not None
    try:
        return summarise(compare([run.table], bound), resamples=resamples, seed=seed)
    except UserError as error:
        notes.append(f"Run {run.name} is not evaluated: {error}.")
        return []


def _notes(runs: Sequence[Run], keys: Sequence[str], by: str) -> list[str]:
    notes = []
    waiting = [run for run in runs if not run.is_over]
    pruned = sum(run.is_pruned for run in runs)
    if pruned:
        notes.append(f"{pruned} of {len(runs)} runs were ended early, since the others were better at the same epoch.")
    if waiting:
        names = ", ".join(f"{run.name} ({run.status})" for run in waiting[:8])
        more = f" and {len(waiting) - 8} more" if len(waiting) > 8 else ""
        notes.append(f"{len(waiting)} of {len(runs)} runs are not complete: {names}{more}.")
    if len(keys) > MOST_KEYS:
        notes.append(f"The runs differ in {len(keys)} settings; the first {MOST_KEYS} are shown, the CSV file has all.")
    if any(key.startswith(WHICH_ELECTRONS) for key in keys):
        notes.append(f"The runs differ in their data or its split, so each was judged on {rows_word()} of its own.")
    if any(key.startswith(WHAT_LOSS_MEANS) for key in keys):
        notes.append(f"The runs differ in what their loss means, so they are ranked by {metric_label(by)}.")
    return notes


def _none_for_nan(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _or_dash(value: object) -> str:
    return "–" if value is None else str(value)


def _test_metrics() -> list[tuple[str, str]]:
    """Return group and figure of the columns of test figures."""
    first = next((group.name for group in judged().judging.groups), ALL)
    return list(dict.fromkeys((first if of_first else ALL, name) for of_first, name in TEST_METRICS))
