"""Any number of prediction tables side by side on their common rows, for resolved rows and for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table as RichTable

from reconstruction.errors import UserError
from reconstruction.judging.measures.bootstrap import Array, Figure
from reconstruction.judging.measures.calibration import Verdict, calibration_verdict
from reconstruction.judging.measures.influence import ruled_by_one
from reconstruction.judging.measures.metrics import DEFAULT_RESAMPLES, label_of, metric, table_metrics, two_sigma_of
from reconstruction.judging.measures.numbers import in_brackets, listed, plain_name, with_unit
from reconstruction.judging.measures.separation import Told, separation_metrics, separation_verdict
from reconstruction.judging.tables.apparatus import apparatus_notes
from reconstruction.judging.tables.captions import group_in_words
from reconstruction.judging.tables.judged import common_system, judge_as, judged
from reconstruction.judging.tables.splits import refuse_training, split_notes
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.schema import truth_name
from reconstruction.system import System

ALL = "all"
"""The group of all rows, in every comparison."""
_TERMINAL_METRICS = ("sigma68", "bias", "coverage1", "near_fraction", "bound_ratio", "accuracy", "auc", "ece")


@dataclass(frozen=True)
class Comparison:
    """Tables reduced to their common rows, rows aligned; `bound` too, if there is one.

    `groups` maps those of the system (where their column is known) and "all" to masks (rows,). `notes` are sentences
    that a reader must know: rows left out, failed estimates, missing columns.
    """

    tables: list[PredictionTable]
    bound: PredictionTable | None
    groups: dict[str, NDArray[np.bool_]]
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.tables[0])

    @property
    def system(self) -> System:
        """The system that its tables are of."""
        return self.tables[0].system

    @property
    def first_group(self) -> str:
        """The system's first group, if rows of these tables are in it; else all of them."""
        return next((name for name, mask in self.groups.items() if name != ALL and mask.any()), ALL)

    @property
    def targets(self) -> tuple[str, ...]:
        """Targets that at least one table estimates and has the truth of, in the order of the first tables."""
        names = [t for table in self.tables for t in table.targets if table.has_truth(t)]
        return tuple(dict.fromkeys(names))

    def estimators_of(self, target: str) -> list[PredictionTable]:
        """Return the tables that estimate a target and know its truth."""
        return [table for table in self.tables if target in table.targets and table.has_truth(target)]

    def bound_of(self, target: str) -> Array | None:
        """Return the bound on a target's standard deviation (rows,), or None."""
        return self.bound.std(target) if self.bound is not None and self.bound.has_std(target) else None

    def covariate(self, name: str) -> Array | None:
        """Return a column (rows,) of the first table that has it, the bound's included, or None."""
        tables = [*self.tables, *([self.bound] if self.bound is not None else [])]
        return next((table.columns[name] for table in tables if name in table), None)


@dataclass(frozen=True)
class Row:
    """Figures of one estimator for one target and group."""

    estimator: str
    target: str
    group: str
    figures: dict[str, Figure]
    verdict: Verdict | None
    seconds_per_electron: float | None
    relative_sigma68: Figure | None
    """σ68 over that of the first table: paired, so that its interval is that of the difference."""
    ruled: Mapping[str, str] = field(default_factory=dict)
    """Figures that one row decides: metric → a sentence that says which, and what it is without it."""


def compare(
    tables: Sequence[PredictionTable], bound: PredictionTable | None = None, *, allow_training: bool = False
) -> Comparison:
    """Line tables up on their common rows; a table of kind "bound" among them serves as the bound.

    Raises UserError when there is no estimate, no row or no truth in common, and where one of the estimators was
    trained on some of the common rows, unless `allow_training`.
    """
    bound = next((table for table in tables if table.is_bound), None) if bound is None else bound
    estimates = distinct([table for table in tables if not table.is_bound])
    if not estimates:
        raise UserError("there is no table of estimates to evaluate, only a bound: add an estimator's predictions")
    judge_as(common_system([*estimates, *([bound] if bound is not None else [])]))
    _refuse_empty(estimates)
    joined = estimates[0].join(*estimates[1:], *([bound] if bound is not None else []))
    joined_bound = joined.pop() if bound is not None else None
    for table in joined:
        refuse_training(table, "evaluated", allow_training)
    comparison = Comparison(joined, joined_bound, {})
    if not comparison.targets:
        raise UserError(
            f"no table has the true values ({truth_name(estimates[0].targets[0])} …), so nothing can be evaluated: "
            "predict labelled records"
        )
    comparison.groups.update(_groups(comparison))
    comparison.notes.extend(_notes(estimates, comparison))
    return comparison


def summarise(comparison: Comparison, *, resamples: int = DEFAULT_RESAMPLES, seed: int = 0) -> list[Row]:
    """Return the figures of every estimator, target and group, paired over the estimators."""
    judge_as(comparison.system)
    return [
        row
        for target in comparison.targets
        for group in comparison.groups
        for row in _rows_of(comparison, target, group, resamples, seed)
    ]


def terminal_summary(
    tables: Sequence[PredictionTable],
    bound: PredictionTable | None = None,
    *,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
    allow_training: bool = False,
) -> RichTable:
    """Return a compact table for the terminal: each estimator's σ68, bias and 1σ coverage, resolved and all."""
    comparison = compare(tables, bound, allow_training=allow_training)
    return summary_table(summarise(comparison, resamples=resamples, seed=seed), len(comparison))


def summary_table(rows: Sequence[Row], count: int) -> RichTable:
    """Return the compact terminal table of rows: the first target only, in parts for resolved rows and all."""
    target = rows[0].target
    chosen = [row for row in rows if row.target == target]
    table = RichTable(
        title=f"{plain_name(target)} of {judged().count(count)}; (12) is the 68 % interval of the last digits",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    table.add_column("estimator", min_width=16)
    shown = [name for name in _TERMINAL_METRICS if any(name in row.figures for row in chosen)]
    for name in shown:
        unit = with_unit(name, target)
        table.add_column(
            f"{label_of(metric(name), target)} ({unit})" if unit else label_of(metric(name), target), justify="right"
        )
    for group in dict.fromkeys(row.group for row in chosen):
        part = [row for row in chosen if row.group == group]
        table.add_row(f"[dim]{group} ({int(part[0].figures['count'].value)})[/dim]")
        for row in part:
            cells = [in_brackets(row.figures.get(name), with_unit(name, target)) for name in shown]
            table.add_row(escape(row.estimator), *cells, end_section=row is part[-1])
    return table


def _rows_of(comparison: Comparison, target: str, group: str, resamples: int, seed: int) -> list[Row]:
    mask, bound = comparison.groups[group], comparison.bound_of(target)
    rows: list[Row] = []
    for table in comparison.estimators_of(target):
        part = table.select(mask)
        if table.classes:
            rows.append(_class_row(part, target, group, resamples, seed))
            continue
        figures = table_metrics(
            part, target, bound=None if bound is None else bound[mask], resamples=resamples, seed=seed
        )
        verdict = _verdict(part, target) if part.has_std(target) else None
        seconds = table.attributes.get("seconds_per_electron")
        first = rows[0].figures.get("sigma68") if rows else None
        relative = None if first is None else figures["sigma68"].over(first)
        ruled = ruled_by_one(part, target, figures)
        rows.append(Row(table.estimator, target, group, figures, verdict, seconds, relative, ruled))
    return rows


def _class_row(table: PredictionTable, target: str, group: str, resamples: int, seed: int) -> Row:
    figures = separation_metrics(table, target, resamples=resamples, seed=seed)
    verdict, seconds = separation_verdict(table, target), table.attributes.get("seconds_per_electron")
    return Row(table.estimator, target, group, figures, verdict, seconds, None)


def _verdict(table: PredictionTable, target: str) -> Verdict:
    return calibration_verdict(table.residual(target), table.std(target), two_sigma_of(table, target))


def distinct(tables: Sequence[PredictionTable]) -> list[PredictionTable]:
    """Return tables with the names numbered that occur twice."""
    names = numbered([table.estimator for table in tables])
    return [
        table if name == table.estimator else table.renamed(name) for table, name in zip(tables, names, strict=True)
    ]


def numbered(names: Sequence[str]) -> list[str]:
    """Return names with a number behind those that occur twice."""
    return [
        f"{name} ({names[: place + 1].count(name)})" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    ]


def _refuse_empty(tables: list[PredictionTable]) -> None:
    for table in tables:
        if not len(table):
            raise UserError(f"the table of {table.estimator!r} is empty: it holds no {judged().noun}; predict again")


def _groups(comparison: Comparison) -> dict[str, NDArray[np.bool_]]:
    everything = np.ones(len(comparison), dtype=bool)
    groups = {}
    for group in judged().judging.groups:
        values = comparison.covariate(group.column)
        if values is not None:
            groups[group.name] = group.mask(values)
    return {**groups, ALL: everything}


def _notes(estimates: list[PredictionTable], comparison: Comparison) -> list[str]:
    system = judged()
    notes = [
        f"{table.estimator}: {len(comparison)} of {system.count(len(table))} are common to all tables; the rest is out."
        for table in estimates
        if len(table) != len(comparison)
    ]
    for group in system.judging.groups:
        if group.name not in comparison.groups:
            notes.append(
                f"No table has the column {group.column}, so {group_in_words(group.name)} cannot be told apart; "
                f"figures are for all {system.nouns} only."
            )
        elif not comparison.groups[group.name].any():
            notes.append(f"No {system.noun} is {group.name}: the figures for {group.name} {system.nouns} are empty.")
    for table in comparison.tables:
        notes.extend(_notes_on(table))
    return notes


def _notes_on(table: PredictionTable) -> list[str]:
    notes = [*apparatus_notes(table), *split_notes(table)]
    for target in table.targets:
        name = f"{table.estimator}, {plain_name(target)}"
        failed = int(np.sum(~np.isfinite(table.mean(target))))
        if not table.has_truth(target):
            notes.append(f"{name}: the table has no true values, so it is not evaluated.")
            continue
        if failed:
            notes.append(f"{name}: {failed} of {len(table)} estimates failed (not a number).")
        if table.classes:
            notes.extend(_notes_on_classes(table, target, name))
            continue
        if not table.has_std(target):
            notes.append(f"{name}: the table states no uncertainty, so there are no pulls and no coverage.")
            continue
        std = table.std(target)
        unusable = int(np.sum(np.isfinite(table.mean(target)) & ~(np.isfinite(std) & (std > 0))))
        if unusable:
            notes.append(f"{name}: {unusable} of {len(table)} stated uncertainties are no positive numbers.")
    return notes


def _notes_on_classes(table: PredictionTable, target: str, name: str) -> list[str]:
    stray = int((Told.of_table(table, target).truth < 0).sum())
    told = listed(list(table.classes))
    return [f"{name}: {stray} of {len(table)} are of none of the classes ({told}), and are left out."] if stray else []
