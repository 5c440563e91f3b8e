"""Rows paired by their event_id: of several tables, and of a table and its records; loud where equal ids are others.

Every simulation counts its rows from 0, so that equal ids alone make no pair: what states a truth is compared by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from reconstruction import schema
from reconstruction.errors import UserError
from reconstruction.judging.tables.columns import Values

if TYPE_CHECKING:
    from reconstruction.judging.tables.table import PredictionTable


@runtime_checkable
class Identified(Protocol):
    """Records on disk, with the identity of each row."""

    @property
    def event_ids(self) -> NDArray[np.int64]:
        """Identity of each row, (rows,)."""

    @property
    def scalar_columns(self) -> Sequence[str]:
        """Names of the columns of one number a row."""

    def scalar(self, name: str) -> Values:
        """Return one of them, (rows,)."""

    def describe(self, row: int) -> str:
        """Say which row of which file this is."""


def common_rows(tables: Sequence[PredictionTable]) -> list[PredictionTable]:
    """Return tables reduced to their common rows, rows in one order (sorted by event id).

    Raises UserError when there is none, or when one id has two truths (tables of different simulations).
    """
    common = tables[0].event_id
    for other in tables[1:]:
        common = np.intersect1d(common, other.event_id)
    if len(tables) > 1 and not len(common):
        names = " and ".join(repr(table.estimator) for table in tables)
        noun = tables[0].system.noun
        raise UserError(f"the tables of {names} have no {noun} in common: predict the same data with each")
    joined = [table.select(_positions(table.event_id, np.sort(common))) for table in tables]
    for other in joined[1:]:
        _require_one_truth(joined[0], other)
    return joined


def require_truth_of(table: PredictionTable, records: Identified, advice: str) -> bool:
    """Raise UserError where records of a table's ids are of other rows; returns whether any truth could tell it.

    `advice` says what to do. Records without truth, and rows that are not among the records, are not compared.
    """
    shared = [name for name in records.scalar_columns if schema.truth_name(name) in table]
    common, ours, theirs = np.intersect1d(table.event_id, records.event_ids, return_indices=True)
    for name in shared:
        known, found = table.truth(name)[ours], records.scalar(name)[theirs]
        other = ~_same(known, found)
        if other.any():
            row = int(np.argmax(other))
            raise UserError(
                f"{int(other.sum())} of {table.system.count(len(common))} of {table.estimator!r} have the event_id of "
                f"records with another truth ({records.describe(int(theirs[row]))}: {name} is {found[row]:.10g}, in "
                f"the table {known[row]:.10g}): they come from different simulations; {advice}"
            )
    return bool(shared and len(common))


def _same(one: Values, other: Values) -> NDArray[np.bool_]:
    """Return where two truths are one, (rows,): float32 in one of the two is no other row."""
    same: NDArray[np.bool_] = np.isclose(one, other, rtol=1e-6, atol=0, equal_nan=True)
    return same


def _positions(event_id: Values, wanted: Values) -> Values:
    order = np.argsort(event_id)
    return order[np.searchsorted(event_id, wanted, sorter=order)]


def _require_one_truth(first: PredictionTable, second: PredictionTable) -> None:
    for target in first.targets:
        if not (target in second.targets and first.has_truth(target) and second.has_truth(target)):
            continue
        same = _same(first.truth(target), second.truth(target))
        if not same.all():
            raise UserError(
                f"{first.estimator!r} and {second.estimator!r} disagree on the true {target} of {np.sum(~same)} "
                f"{first.system.nouns} with the same event_id: they come from different simulations"
            )
