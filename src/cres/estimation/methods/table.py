"""Estimates as the predictions table that evaluation and endpoint read, and what it says about its records.

The split, whether anything was fitted on it, the apparatus.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from cres import schema
from cres.estimation.estimates import Estimated
from cres.estimation.methods.recordings import Recordings, Rows
from cres.estimation.methods.task import Task
from cres.evaluation.signature import RECORDS, Signature
from reconstruction.judging.tables.apparatus import APPARATUS, WARNING
from reconstruction.judging.tables.splits import LEARNED, look_up
from reconstruction.judging.tables.table import PredictionTable

FITTED = ("carrier", "peaks", "matched-filter")
"""Methods that fit curves or spreads on the training split."""
SEEDED = "seeded"


def to_table(
    recordings: Recordings,
    rows: Rows,
    estimates: Estimated,
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


def stamped(table: PredictionTable, task: Task, recordings: Recordings, rows: Rows) -> PredictionTable:
    """Return a table of these rows with its split and its apparatus.

    What is seeded by a network was trained on what the network was trained on, and is as far from its apparatus.
    """
    attributes = {LEARNED: task.method in FITTED, APPARATUS: json.dumps(_signature(recordings, rows).to_dict())}
    codes = _codes(recordings)[rows]
    if task.method == SEEDED and task.network is not None:
        network = PredictionTable.read(task.network)
        known = network.columns.get(schema.SPLIT, np.full(len(network), schema.SPLITS["unknown"]))
        codes = look_up(table.event_id, network.event_id, known)
        attributes[LEARNED] = network.attributes.get(LEARNED, True)
        attributes |= {name: network.attributes[name] for name in (WARNING,) if name in network.attributes}
        attributes["network_checkpoint_hash"] = network.attributes.get("checkpoint_hash", "")
    return table.with_columns({schema.SPLIT: codes}).with_attributes(attributes)


def failures(table: PredictionTable) -> str:
    """Return how many fits of a table failed, in words; empty where the method has nothing that can fail."""
    failed = int(table.column("fit_failed").sum()) if "fit_failed" in table else None
    lost = int(np.sum(~np.isfinite(table.mean(table.targets[0]))))
    parts = [] if failed is None else [f"{failed} of {len(table)} fits failed"]
    if "fell_back" in table:
        parts.append(f"for {int(table.column('fell_back').sum())} the network's answer stands")
    if lost:
        parts.append(f"{lost} electrons have no estimate")
    return ", ".join(parts)


def _codes(recordings: Recordings) -> Rows:
    """Return the part of the data's split of every row."""
    codes = np.full(len(recordings.records), schema.SPLITS["new"], np.int64)
    for part in ("train", "validation", "test"):
        codes[getattr(recordings.split, part)] = schema.SPLITS[part]
    return codes


def _signature(recordings: Recordings, rows: Rows) -> Signature:
    records = recordings.records
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), RECORDS)).astype(np.int64)]
    axial = records.scalar(schema.AXIAL_FREQUENCY)[rows] if schema.AXIAL_FREQUENCY in records.scalar_columns else None
    volts = torch.view_as_real(recordings.series(some)).numpy()
    return Signature.measure(volts, records.sampling_rate_hz, records.lo_frequency_hz, axial)
