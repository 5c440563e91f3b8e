"""The part of the report on whole posteriors: simulation-based calibration, TARP, coverage at every level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from html import escape

import numpy as np
from numpy.typing import NDArray

from reconstruction.errors import UserError
from reconstruction.judging.measures.bootstrap import Array
from reconstruction.judging.measures.comparison import Comparison
from reconstruction.judging.measures.diagnostics import (
    Uniformity,
    estimates_of,
    parts_of,
    rank_fractions,
    shape_in_words,
    sharpest,
    tarp_fractions,
    uniformity,
)
from reconstruction.judging.measures.numbers import listed, plain_name, significant
from reconstruction.judging.measures.posterior import posterior_of
from reconstruction.judging.pictures import diagnostics_plots as plots
from reconstruction.judging.pictures.illustrations import Illustration, Panel, Section
from reconstruction.judging.tables.captions import caption_of, group_in_words
from reconstruction.judging.tables.judged import rows_word
from reconstruction.judging.tables.table import PredictionTable

TITLE = "Is the whole posterior right?"
_INTRODUCTION = (
    "An error bar can be honest and the posterior around it wrong, in its tails or in how the targets go together. "
    "Where it is right, the stated probability below the truth is uniform: simulation-based calibration (SBC), Talts "
    "et al. 2018, arXiv:1804.06788. TARP, Lemos et al. 2023, arXiv:2302.03026, asks the same of all targets together, "
    "by the distance from a random point near the estimate. Where the point is near another, sharper estimate, TARP "
    "also fails for a posterior that is honest but has not read all that the record tells. The distance is that from "
    "the uniform distribution; it counts where it is above its limit: 0.02, or what chance does in 0.27\u00a0% of "
    "samples."
)


@dataclass(frozen=True)
class Judged:
    """u of one estimator's rows for one target, or f of TARP where the target is "".

    `against` is the name of the other estimator whose estimates TARP's points are near, "" for its own.
    """

    table: PredictionTable
    place: int
    target: str
    fractions: Array
    against: str = ""

    @property
    def test(self) -> str:
        """What it is called."""
        if self.target:
            return f"SBC of the {plain_name(self.target)}"
        return f"TARP near {self.against}" if self.against else "TARP"


def judge(comparison: Comparison) -> list[Judged]:
    """Return u of every estimator and target, and f of TARP, (rows,) each; nothing where no uncertainty is stated."""
    found = []
    for place, table in enumerate(comparison.tables):
        judged = [t for t in table.targets if t in comparison.targets]
        for target in judged:
            try:
                found.append(Judged(table, place, target, rank_fractions(table, target)))
            except UserError:  # states no uncertainty: the report says so elsewhere
                continue
        if len(judged) == len(table.targets) > 1 and all(map(table.has_std, judged)):
            found.append(Judged(table, place, "", tarp_fractions(table)))
            best = sharpest(comparison.tables, table.targets)
            if best is not None and best is not table:
                near_best = tarp_fractions(table, anchors=estimates_of(best, table.targets))
                found.append(Judged(table, place, "", near_best, best.estimator))
    return found


def in_one_sentence(judged: Sequence[Judged]) -> str:
    """Return which estimators' posteriors pass, and what the others fail, of all rows."""
    said = []
    for name in dict.fromkeys(one.table.estimator for one in judged):
        own = [one for one in judged if one.table.estimator == name and not one.against]
        failed = [one.test for one in own if uniformity(one.fractions).passed is False]
        tests = "SBC and TARP" if any(not one.target for one in own) else "SBC"
        said.append(f"{name} fails {listed(failed)}" if failed else f"{name} passes {tests}")
    return f"Whole posteriors, all {rows_word()}: {'; '.join(said)}."


def diagnostics_section(comparison: Comparison) -> Section | None:
    """Return the section, None where no table states an uncertainty."""
    judged = judge(comparison)
    if not judged:
        return None
    pictures = [_ranks(comparison, judged), _tarp(comparison, judged)]
    pictures += [_levels(judged, target) for target in comparison.targets]
    shown = tuple(picture for picture in pictures if picture.panels)
    return Section(TITLE, _table(comparison, judged), shown, headline=in_one_sentence(judged))


def _table(comparison: Comparison, judged: Sequence[Judged]) -> str:
    """Return what was found, as a table in words and numbers."""
    head = ("estimator", rows_word(), "test", "distance", "limit", "p", "what it says")
    rows = []
    for group, mask in comparison.groups.items():
        for one in judged:
            found = uniformity(one.fractions[mask])
            cells = [f"{group} ({found.count})", one.test, *_numbers(found), _verdict(found, one, mask)]
            text = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
            rows.append(f'<tr><th scope="row">{escape(one.table.estimator)}</th>{text}</tr>')
    sources = "; ".join(
        f"{table.estimator}: {posterior.source}"
        for table in dict.fromkeys(one.table for one in judged)
        if (posterior := posterior_of(table)) is not None
    )
    heads = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
    return (
        f"<p>{_INTRODUCTION}</p><p>Read from the tables: {escape(sources)}.</p>"
        '<div class="scroll" tabindex="0" role="region" aria-label="posterior diagnostics"><table class="said">'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _numbers(found: Uniformity) -> list[str]:
    if not found.count:
        return ["–", "–", "–"]
    chance = "< 0.0001" if found.p_value < 1e-4 else significant(found.p_value, 2)
    return [f"{found.distance:.3f}", f"{found.limit:.3f}", chance]


def _verdict(found: Uniformity, one: Judged, mask: NDArray[np.bool_]) -> str:
    if found.passed is None:
        return "too few"
    if found.passed:
        return "passes"
    if one.against:
        return f"the record tells more, as {one.against} shows"
    return f"fails: {shape_in_words(one.fractions[mask])}" if one.target else "fails"


def _ranks(comparison: Comparison, judged: Sequence[Judged]) -> Illustration:
    panels = []
    for target in comparison.targets:
        for group, mask in comparison.groups.items():
            curves = [(one.table.estimator, one.place, one.fractions[mask]) for one in judged if one.target == target]
            if curves:
                title = f"{plain_name(target)}, {group}"
                picture = partial(plots.rank_histogram, curves, title)
                panels.append(Panel(f"{target}_ranks_{group}", picture, f"SBC ranks, {title}"))
    return Illustration(*caption_of("ranks"), tuple(panels))


def _tarp(comparison: Comparison, judged: Sequence[Judged]) -> Illustration:
    panels = []
    for group, mask in comparison.groups.items():
        chosen = [one for one in judged if not one.target]
        curves = [(_legend(one), one.place, one.fractions[mask]) for one in chosen]
        if curves:
            dashed = [bool(one.against) for one in chosen]
            picture = partial(plots.distance_from_uniform, curves, group_in_words(group).partition(" (")[0], dashed)
            panels.append(Panel(f"tarp_{group}", picture, f"TARP, {group} {rows_word()}"))
    return Illustration(*caption_of("tarp"), tuple(panels))


def _legend(one: Judged) -> str:
    return f"{one.table.estimator} near {one.against}" if one.against else one.table.estimator


def _levels(judged: Sequence[Judged], target: str) -> Illustration:
    title, caption = caption_of("levels")
    panels = []
    for one in judged:
        for column in one.table.targets if one.target == target else ():
            parts = parts_of(one.table.mean(column), one.fractions)
            if len(parts) > 1:
                picture = partial(plots.coverage_by_part, parts, column, one.table.estimator)
                name = f"{target}_levels_{column}_{one.place}"
                panels.append(Panel(name, picture, f"Coverage by {plain_name(column)}, {one.table.estimator}"))
    return Illustration(f"{plain_name(target).capitalize()}: {title}", caption, tuple(panels))
