"""Which table is meant when none is named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cres.errors import UserError
from cres.evaluation.table import PredictionTable

PREDICTIONS = "predictions.hdf5"


def newest_table(runs: Path) -> Path:
    """Return the newest predictions.hdf5 in the run folders below `runs`; raises UserError when there is none."""
    found = sorted(runs.glob(f"*/{PREDICTIONS}"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise UserError(
            f"there is no {runs}/*/{PREDICTIONS}; `python cli.py test` writes one for a trained network, "
            "`python scripts/estimate.py` for an estimator that is not learned"
        )
    return found[-1]


def read_tables(paths: Sequence[Path], names: Sequence[str] = ()) -> list[PredictionTable]:
    """Read tables, under other display names when `names` are given (as many as tables)."""
    if names and len(names) != len(paths):
        raise UserError(f"{len(names)} names for {len(paths)} tables: give one name for each table")
    tables = [PredictionTable.read(path) for path in paths]
    return [table.renamed(name) for table, name in zip(tables, names, strict=True)] if names else tables


def same_estimator(table: PredictionTable, candidates: Sequence[PredictionTable]) -> PredictionTable:
    """Return the candidate that the estimator of `table` made: one checkpoint, or one name where nothing was learned.

    Raises UserError when there is none.
    """
    made_by = table.attributes.get("checkpoint_hash", table.estimator)
    for candidate in candidates:
        if candidate.attributes.get("checkpoint_hash", candidate.estimator) == made_by:
            return candidate
    known = ", ".join(repr(candidate.estimator) for candidate in candidates)
    raise UserError(
        f"no table among {known} was made by the estimator of {table.estimator!r}, whose response the endpoint fit "
        "needs: name its predictions of electrons with known energies (the test split) too"
    )
