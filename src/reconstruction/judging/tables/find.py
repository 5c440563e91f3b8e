"""Which table is meant when none is named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reconstruction.errors import UserError
from reconstruction.judging.tables.table import PredictionTable

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
    tables = [read_table(path) for path in paths]
    return [table.renamed(name) for table, name in zip(tables, names, strict=True)] if names else tables


def read_table(path: Path) -> PredictionTable:
    """Read a table, or all tables of a folder as one: those that the tasks of an array wrote of an estimator's parts.

    Raises UserError for tables of different estimators and for rows that are in two of them.
    """
    if not path.is_dir():
        return PredictionTable.read(path)
    files = sorted(path.glob("*.hdf5"))
    if not files:
        raise UserError(f"the folder {path} holds no predictions (*.hdf5)")
    parts = [PredictionTable.read(file) for file in files]
    for file, part in zip(files, parts, strict=True):
        if any(part.attributes[key] != parts[0].attributes[key] for key in ("estimator", "kind", "targets")):
            raise UserError(f"{files[0]} and {file} are of different estimators: a folder is read as one table of one")
    events = np.concatenate([part.event_id for part in parts])
    if len(np.unique(events)) < len(events):
        raise UserError(f"{path} holds some rows twice: are there tables of the same data in it?")
    common = [name for name in parts[0].columns if all(name in part.columns for part in parts)]
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in common}
    return PredictionTable(columns, parts[0].attributes)


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
        f"needs: name its predictions of {table.system.nouns} with known truth (the test split) too"
    )
