"""Which part of the estimator's own data a row was in, and who must not see those that it was trained on.

A table says it row by row in the column `split`, and in words in the attribute `split`. An estimator that
fits nothing to training rows (a likelihood, the bound) says so with `learned: False`: its training rows are
as good as any. Tables of earlier versions have neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reconstruction import schema
from reconstruction.errors import UserError

if TYPE_CHECKING:
    from reconstruction.judging.tables.table import PredictionTable

LEARNED = "learned"
"""Attribute of a table: whether its estimator fitted anything to training rows."""

ALLOW_TRAINING = "--allow-training"


def described_split(codes: NDArray[np.int64]) -> str:
    """Return the parts that rows (rows,) are in: "test", or "154 train, 19 validation, 19 test" for several."""
    counts = {name: int(np.sum(codes == code)) for name, code in schema.SPLITS.items()}
    present = {name: count for name, count in counts.items() if count}
    return next(iter(present)) if len(present) == 1 else ", ".join(f"{n} {name}" for name, n in present.items())


def rows_in(table: PredictionTable, part: str) -> NDArray[np.bool_]:
    """Return which rows (rows,) were in a part ("train", "validation", "test", "new", "unknown")."""
    if schema.SPLIT not in table:
        return np.full(len(table), part == "unknown")
    return np.asarray(table.column(schema.SPLIT) == schema.SPLITS[part])


def trained_on(table: PredictionTable) -> NDArray[np.bool_]:
    """Return which rows (rows,) the table's estimator was trained on, as far as it is known."""
    return rows_in(table, "train") & bool(table.attributes.get(LEARNED, True))


def refuse_training(table: PredictionTable, purpose: str, allowed: bool = False) -> None:
    """Raise UserError where a table holds rows that its estimator was trained on: they look better than any new.

    `purpose` names what is done with it: "evaluated", "used as calibration".
    """
    trained, rows = int(trained_on(table).sum()), table.system.count(len(table))
    if trained and not allowed:
        raise UserError(
            f"the table of {table.estimator!r} is not {purpose}: {trained} of its {rows} are training "
            f"{table.system.nouns}, on which errors are too small; give predictions of the test split (`cli.py test`, "
            f"scripts/estimate.py --split test), or {ALLOW_TRAINING}"
        )


def split_notes(table: PredictionTable) -> list[str]:
    """Return what a reader must know of a table's rows, in sentences; nothing for those that are new to it."""
    if not table.attributes.get(LEARNED, True):
        return []
    notes, rows = [], table.system.count(len(table))
    trained, unknown = int(trained_on(table).sum()), int(rows_in(table, "unknown").sum())
    if trained:
        notes.append(f"{trained} of {rows} are training {table.system.nouns}: errors on them are too small.")
    if calibrated := int(rows_in(table, "validation").sum()):
        notes.append(f"{calibrated} of {rows} are of the validation split, which chose and calibrated the model.")
    if unknown:
        notes.append(
            f"the table does not say which split {unknown} of its {rows} are of; where the estimator "
            "was trained on them, errors are too small."
        )
    return [f"{table.estimator}: {note}" for note in notes]


def look_up(event_id: NDArray[np.int64], ids: NDArray[np.int64], codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the codes (rows,) of rows, of those with `ids` that have `codes`; "unknown" for all others."""
    unknown = np.full(len(event_id), schema.SPLITS["unknown"], np.int64)
    if not len(ids):
        return unknown
    order = np.argsort(ids, kind="stable")
    place = order[np.searchsorted(ids, event_id, sorter=order).clip(max=len(ids) - 1)]
    return np.where(ids[place] == event_id, codes[place], unknown)
