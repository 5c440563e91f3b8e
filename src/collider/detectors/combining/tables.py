"""Tables of several detectors as one: which rows they share, what they say of them, the combination and its bound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from collider.detectors.combining.weights import Floats, LearnedWeights
from collider.detectors.learning.columns import (
    CALORIMETER_SUM,
    CHARGED_HADRON,
    ECAL,
    ECAL_SUM,
    ELECTRON,
    HCAL,
    IDENTITY,
    KALMAN,
    KALMAN_ERROR,
    MOMENTUM,
    MUON,
    MUON_CODE,
    NEUTRAL_HADRON,
    PHOTON,
    TRACK_BOUND,
)
from collider.detectors.system import SYSTEM
from reconstruction import schema
from reconstruction.errors import UserError
from reconstruction.judging.measures.metrics import coverage, sigma68
from reconstruction.judging.tables.table import PredictionTable

COMBINED, BOUND_NAME = "combined", "inverse-variance bound"
USES: Final = {ECAL: (ELECTRON, PHOTON), HCAL: (CHARGED_HADRON, NEUTRAL_HADRON), MUON: (MUON_CODE,)}
"""Identities for which a detector's own network speaks, where a table says who is what; other tables always do."""
TRUE, PART = schema.truth_name(MOMENTUM), schema.SPLIT
FEWEST_JUDGED: Final = 20


@dataclass(frozen=True)
class Said:
    """What tables say of the rows of all of them: estimates and errors (row, table), NaN where one says nothing.

    columns: those that all tables have, (row,) of the first one that has the row; part: codes of SPLITS, the earliest
    part that a row is in for any table: what one network was trained on is no test of the combination.
    """

    names: tuple[str, ...]
    event_id: np.ndarray[Any, np.dtype[np.int64]]
    estimates: Floats
    errors: Floats
    part: np.ndarray[Any, np.dtype[np.int64]]
    columns: Mapping[str, np.ndarray[Any, Any]]

    @property
    def truth(self) -> Floats | None:
        """True momenta (row,), None where a table has none."""
        return None if TRUE not in self.columns else np.asarray(self.columns[TRUE], dtype=np.float64)

    def rows(self, part: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the rows of a part; rows that no network knew are a test, too."""
        codes = [schema.SPLITS[name] for name in ((part, "new") if part == "test" else (part,))]
        return np.flatnonzero(np.isin(self.part, codes))


def said_by(tables: Mapping[str, PredictionTable], identity: PredictionTable | None = None) -> Said:
    """Return what tables say of all rows that any of them has.

    identity: a table that says who is what; ECAL, HCAL and muon tables (by name) then speak for whom they are made.
    What its network was trained on is no test of the combination either. Raises UserError for a table of another
    system, of a bound, without momenta, error bars or parts, or without a row of another table, and for a row with two
    truths.
    """
    if len(tables) < 2:
        raise UserError("a combination is of two tables or more: name them as tracker=TABLE ecal=TABLE …")
    for name, table in tables.items():
        _require(name, table)
    ids, times = np.unique(np.concatenate([table.event_id for table in tables.values()]), return_counts=True)
    for name, table in tables.items():
        if not (times[np.searchsorted(ids, table.event_id)] > 1).any():
            raise UserError(f"the table of {name} has no candidate of another table: make all of the same events")
    shared = set.intersection(*(set(table.columns) for table in tables.values()))
    # posteriors, intervals and densities are those of one network
    known_names = {*SYSTEM.columns, *map(schema.truth_name, SYSTEM.truths)} - {MOMENTUM}
    kept = sorted(shared & known_names)
    columns: dict[str, np.ndarray[Any, Any]] = {}
    estimates, errors = np.full((2, len(ids), len(tables)), np.nan)
    part, known = np.full(len(ids), schema.SPLITS["new"]), np.zeros(len(ids), dtype=bool)
    for place, table in enumerate(tables.values()):
        rows = np.searchsorted(ids, table.event_id)
        _require_one_truth(tables, place, rows, columns, known)
        estimates[rows, place], errors[rows, place] = table.mean(MOMENTUM), table.std(MOMENTUM)
        part[rows] = np.minimum(part[rows], table.column(PART))
        fresh = ~known[rows]
        for name in kept:
            values = table.column(name)
            columns.setdefault(name, np.zeros((len(ids), *values.shape[1:]), values.dtype))[rows[fresh]] = values[fresh]
        known[rows] = True
    bad = ~(np.isfinite(estimates) & (errors > 0))
    estimates[bad] = errors[bad] = np.nan
    if identity is not None:
        _require_identity(identity)
        _, mine, theirs = np.intersect1d(ids, identity.event_id, return_indices=True)
        kind = np.full(len(ids), -1)
        kind[mine] = identity.column(IDENTITY)[theirs]
        part[mine] = np.minimum(part[mine], identity.column(PART)[theirs])
        silent = _silent(tuple(tables), kind)
        estimates[silent] = errors[silent] = np.nan
    return Said(tuple(tables), ids, estimates, errors, part, columns)


def require_candidates(what: str, table: PredictionTable) -> None:
    """Raise UserError for a table of another system, or of a bound, whose estimates are the truth."""
    if table.system.name != SYSTEM.name:
        raise UserError(f"{what} is of {table.system.nouns}, not of {SYSTEM.nouns}")
    if table.is_bound:
        raise UserError(f"{what} is a bound, which estimates nothing: take one that was predicted")


def _require(name: str, table: PredictionTable) -> None:
    require_candidates(f"the table of {name}", table)
    if MOMENTUM not in table.targets or not table.has_std(MOMENTUM):
        raise UserError(
            f"the table of {name} has no {MOMENTUM} with its error bar: train with data.targets=[{MOMENTUM}] and a "
            "head that states uncertainties"
        )
    require_parts(f"the table of {name}", table)


def require_parts(what: str, table: PredictionTable) -> None:
    """Raise UserError for a table that does not say of every row whether its network was trained on it."""
    if PART not in table or (table.column(PART) == schema.SPLITS["unknown"]).any():
        raise UserError(
            f"{what} does not say which rows its network was trained on: make it with `python cli.py predict --run=RUN`"
        )


def _require_identity(identity: PredictionTable) -> None:
    if IDENTITY not in identity.targets:
        raise UserError(f"the table of identities estimates {', '.join(identity.targets)}: train identity.yaml")
    require_candidates("the table of identities", identity)
    require_parts("the table of identities", identity)


def _require_one_truth(
    tables: Mapping[str, PredictionTable], place: int, rows: Any, columns: Mapping[str, Any], known: Any
) -> None:
    name = list(tables)[place]
    if TRUE not in columns:
        return
    truth, both = tables[name].truth(MOMENTUM), known[rows]
    if not np.allclose(columns[TRUE][rows][both], truth[both], rtol=1e-6, equal_nan=True):
        raise UserError(
            f"the table of {name} has other true momenta for the same candidates: make all of the same events"
        )


def _silent(names: tuple[str, ...], kind: Any) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return where a table is not asked, (row, table): for whom it was not made, or who has no identity (−1)."""
    return np.stack(
        [~np.isin(kind, USES[name]) if name in USES else np.zeros(len(kind), dtype=bool) for name in names], axis=1
    )


def combination(said: Said) -> tuple[PredictionTable, PredictionTable, LearnedWeights]:
    """Return the table of combined momenta, that of the inverse-variance bound, and the weights.

    They are learned on the validation split. Raises UserError where there is no truth to learn from, or too few rows.
    """
    truth = said.truth
    if truth is None:
        raise UserError("weights are learned from true momenta, and one of the tables has none: use simulated events")
    learn = said.rows("validation")
    weights = LearnedWeights.learned(said.names, said.estimates[learn], said.errors[learn], truth[learn])
    mean, std = weights.combined(said.estimates, said.errors)
    speaking = np.isfinite(said.estimates).sum(axis=1)
    rows = np.flatnonzero(np.isfinite(mean))
    extra = {name: values[rows] for name, values in said.columns.items()}
    extra |= {PART: said.part[rows], "detectors_combined": speaking[rows]}
    extra |= {f"of_{name}": np.isfinite(said.estimates[rows, place]) for place, name in enumerate(said.names)}
    combined = PredictionTable.from_estimates(
        said.event_id[rows],
        {MOMENTUM: mean[rows]},
        estimator=f"{COMBINED} ({', '.join(said.names)})",
        std={MOMENTUM: std[rows]},
        observables=extra,
        system=SYSTEM,
    )
    least = weights.bound(said.estimates, said.errors)[rows]
    bound = PredictionTable.from_estimates(
        said.event_id[rows],
        {MOMENTUM: truth[rows]},
        estimator=BOUND_NAME,
        std={MOMENTUM: least},
        truth={MOMENTUM: truth[rows]},
        kind="bound",
        system=SYSTEM,
    )
    return combined, bound, weights


def figures(said: Said, weights: LearnedWeights) -> list[dict[str, Any]]:
    """Return, for each set of detectors that speak together on the test split, how well each and all of them do.

    σ68 of (estimate − truth)/truth, of the combination also over the inverse-variance bound, with its coverage.
    """
    truth = said.truth
    assert truth is not None
    test = said.rows("test")
    values, sigma = weights.scaled(said.estimates[test], said.errors[test])
    mean, std = weights.combined(said.estimates[test], said.errors[test])
    least = weights.bound(said.estimates[test], said.errors[test])
    true, there = truth[test], np.isfinite(values)
    found = []
    for pattern in np.unique(there, axis=0):
        rows = np.flatnonzero((there == pattern).all(axis=1))
        if pattern.sum() < 1 or len(rows) < FEWEST_JUDGED:
            continue
        away = mean[rows] - true[rows]
        alone = {
            said.names[i]: {
                "resolution": sigma68(values[rows, i] / true[rows] - 1),
                "coverage": coverage(values[rows, i] - true[rows], sigma[rows, i]),
            }
            for i in np.flatnonzero(pattern)
        }
        share = coverage(away, std[rows])
        found.append(
            {
                "detectors": list(alone),
                "candidates": len(rows),
                "alone": alone,
                "resolution": sigma68(away / true[rows]),
                "over_bound": sigma68(away / least[rows]),
                "coverage": share,
                "coverage_error": float(np.sqrt(max(share * (1 - share), 1e-12) / len(rows))),
            }
        )
    return found


# What needs no network ------------------------------------------------------------------------------------------------

BINS: Final = 8


def kalman_table(table: PredictionTable) -> PredictionTable:
    """Return what the Kalman filter says of the candidates of a table that have a track, with its stated errors."""
    rows = np.flatnonzero(np.isfinite(table.column(KALMAN)))
    return _classical(table, rows, table.column(KALMAN)[rows], table.column(KALMAN_ERROR)[rows], "Kalman filter")


def track_bound_table(table: PredictionTable) -> PredictionTable:
    """Return the bound of the momentum from the hits of each track: a table of kind "bound"."""
    rows = np.flatnonzero(np.isfinite(table.column(TRACK_BOUND)))
    least, truth = table.column(TRACK_BOUND)[rows], table.truth(MOMENTUM)[rows]
    return _classical(table, rows, truth, least, "bound of the hits", kind="bound")


def sum_table(table: PredictionTable, column: str) -> PredictionTable:
    """Return energies of clusters, with their response and errors as functions of the sum.

    Both are measured in bins of equally many rows of the training and validation splits: the median of p over the sum,
    and half of its central 68.27 %. Raises UserError where those are too few.
    """
    values, truth, part = table.column(column), table.truth(MOMENTUM), table.column(PART)
    there = np.isfinite(values) & (values > 0)
    known = np.flatnonzero(there & np.isin(part, [schema.SPLITS[name] for name in ("train", "validation")]))
    if len(known) < BINS * FEWEST_JUDGED:
        raise UserError(
            f"the response of {column} is measured on rows of the training and validation splits, and the table has "
            f"{len(known)} with it: make it with `python cli.py predict --run=RUN`, of more events"
        )
    order = known[np.argsort(values[known])]
    parts = np.array_split(order, BINS)
    at = np.array([np.median(np.log(values[one])) for one in parts])
    response = np.array([np.median(truth[one] / values[one]) for one in parts])
    spread = np.array([sigma68(truth[one] / values[one]) for one in parts])
    rows = np.flatnonzero(there)
    size = values[rows]
    mean, std = (size * np.interp(np.log(size), at, curve) for curve in (response, spread))
    return _classical(table, rows, mean, std, {ECAL_SUM: "ECAL clusters", CALORIMETER_SUM: "clusters of both"}[column])


def _classical(
    table: PredictionTable, rows: Any, mean: Any, std: Any, name: str, kind: Any = "estimate"
) -> PredictionTable:
    extra = {PART: table.column(PART)[rows]} | {c: table.column(c)[rows] for c in ("eta", "phi_rad") if c in table}
    return PredictionTable.from_estimates(
        table.event_id[rows],
        {MOMENTUM: mean},
        estimator=name,
        std={MOMENTUM: std},
        truth={MOMENTUM: table.truth(MOMENTUM)[rows]},
        observables=extra,
        kind=kind,
        system=SYSTEM,
    )
