"""Boosted decision trees on the quantities of jets: what a network of particles is to beat."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collider.generation.wheels import wheel
from collider.jets.learning.data import JetDataModule
from collider.jets.making.classes import KINDS
from collider.jets.schema import CLASS, JET_COLUMNS, MASS
from collider.jets.system import SYSTEM
from reconstruction import schema
from reconstruction.errors import UserError
from reconstruction.judging.tables.columns import CLASSES
from reconstruction.judging.tables.table import PredictionTable

NAME: Final = "boosted trees"
QUANTITIES: Final = (*(name for name in JET_COLUMNS if name != "jet_phi"), MASS)
ROUNDS: Final = 200


def tree_table(data: JetDataModule, seed: int = 0) -> PredictionTable:
    """Return what boosted trees say of the test split, trained on the training split of the same jets.

    They see pT, η, energy, number of constituents, masses and subjettiness with its ratios. Training stops where the
    validation split no longer gains. Raises UserError where a quantity or scikit-learn is missing, or there are too few
    jets to train on two classes and to test.
    """
    data.setup("fit")
    if not data.labelled or data.targets != (CLASS,):
        raise UserError(f"boosted trees learn classes: the files need the labels of JetClass, and targets [{CLASS}]")
    missing = [name for name in QUANTITIES if name not in data.records.columns]
    if missing:
        raise UserError(f"boosted trees need the column {missing[0]}, which the data have not")
    split = data.split
    code = np.asarray(data.records.scalar(CLASS))
    known = np.unique(code[split.train])
    if len(known) < 2 or not len(split.test):
        raise UserError(
            f"boosted trees need jets of two classes to train on and some to test: {data.data} has {len(known)} in its "
            f"training split, and {len(split.test)} jets in its test split"
        )
    validation = split.validation[np.isin(code[split.validation], known)]
    seen = quantities(data.records, QUANTITIES)
    trees = wheel("sklearn.ensemble").HistGradientBoostingClassifier(
        max_iter=ROUNDS, learning_rate=0.1, early_stopping=True, n_iter_no_change=10, random_state=seed
    )
    judged = {"X_val": seen[validation], "y_val": code[validation]} if len(validation) else {}
    trees.fit(seen[split.train], code[split.train], **judged)
    started = time.perf_counter()
    said = trees.predict_proba(seen[split.test])
    seconds = (time.perf_counter() - started) / len(split.test)
    return _table(data, split.test, trees.classes_, said, seconds)


def quantities(records: Any, names: Sequence[str]) -> NDArray[np.float64]:
    """Return quantities of jets (jet, quantity), with the ratios τ2/τ1, τ3/τ2 and τ4/τ3 behind them."""
    columns = {name: np.asarray(records.scalar(name), np.float64) for name in names}
    ratios = [
        np.divide(
            columns[f"jet_tau{n + 1}"], columns[f"jet_tau{n}"], out=np.zeros(len(records)),
            where=columns[f"jet_tau{n}"] > 0,
        )
        for n in (1, 2, 3)
    ]  # fmt: skip
    return np.stack([*columns.values(), *ratios], axis=1)


def _table(
    data: JetDataModule, rows: NDArray[np.int64], codes: NDArray[Any], said: NDArray[np.float64], seconds: float
) -> PredictionTable:
    """Return the table of classes that a network's would be."""
    names = {kind.code: kind.name for kind in KINDS}
    classes = {names.get(int(code), f"class {int(code)}"): int(code) for code in codes}
    records = data.records
    table = PredictionTable.from_estimates(
        records.event_ids[rows],
        {CLASS: codes[said.argmax(axis=1)]},
        estimator=NAME,
        truth={CLASS: records.scalar(CLASS)[rows]},
        observables={name: records.scalar(name)[rows] for name in ("jet_pt", MASS, "jet_nparticles")},
        seconds_per_electron=seconds,
        sources=[Path(file.path) for file in records.files],
        system=SYSTEM,
    )
    stated = {schema.probability_name(name): said[:, place] for place, name in enumerate(classes)}
    return table.with_columns(stated).with_attributes({CLASSES: classes})
