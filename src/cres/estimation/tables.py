"""What an estimator found, as the predictions table that evaluation and endpoint read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cres import schema
from cres.estimation.recordings import Recordings, Rows
from cres.evaluation.table import PredictionTable

Values = NDArray[Any]


@dataclass(frozen=True)
class Estimates:
    """Estimates by target (names on disk), with standard uncertainties, and columns of the estimator's own."""

    values: Mapping[str, Values]
    std: Mapping[str, Values]
    extra: Mapping[str, Values] = field(default_factory=dict)
    covariance: Values | None = None
    kind: Literal["estimate", "bound"] = "estimate"
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Of the table, beside those that every table has."""


def joined(parts: list[Estimates]) -> Estimates:
    """Return the estimates of consecutive blocks as one."""
    covariances = [part.covariance for part in parts if part.covariance is not None]
    return Estimates(
        _joined([part.values for part in parts]),
        _joined([part.std for part in parts]),
        _joined([part.extra for part in parts]),
        covariance=np.concatenate(covariances) if covariances else None,
        kind=parts[0].kind,
        attributes=parts[0].attributes,
    )


def _joined(parts: list[Mapping[str, Values]]) -> dict[str, Values]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def to_table(
    recordings: Recordings,
    rows: Rows,
    estimates: Estimates,
    estimator: str,
    seconds_per_electron: float,
    config: Mapping[str, Any],
) -> PredictionTable:
    """Return the table of these rows with truth (where the data have it), observables and ancestry."""
    scalars = recordings.scalars(rows)
    truth = {name: scalars[name] for name in schema.TRUTH_COLUMNS if name in scalars}
    known = {schema.prediction_name(name) for name in (*estimates.values, *estimates.extra)}
    others = {name: values for name, values in scalars.items() if schema.prediction_name(name) not in known}
    table = PredictionTable.from_estimates(
        recordings.records.event_ids[rows],
        estimates.values,
        estimator=estimator,
        std=estimates.std,
        covariance=estimates.covariance,
        truth=truth,
        observables={**others, **estimates.extra},
        kind=estimates.kind,
        seconds_per_electron=seconds_per_electron,
        config=config,
        seed=recordings.noise_seed,
        sources=[file.path for file in recordings.records.files],
    )
    return PredictionTable(table.columns, {**table.attributes, **estimates.attributes})
