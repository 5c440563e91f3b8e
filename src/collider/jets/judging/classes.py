"""How well classes of jets are told apart: accuracy, top 3, F1, area under the curve, rejection of the background."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from collider.jets.schema import CLASS
from reconstruction.errors import UserError
from reconstruction.judging.measures.bootstrap import Array, Figure, bootstrapped
from reconstruction.judging.measures.separation import DEFAULT_RESAMPLES, Told, mean_area
from reconstruction.judging.tables.table import PredictionTable

TOP: Final = 3
EFFICIENCIES: Final = (0.5, 0.3)
BACKGROUND: Final = "QCD"
FEWEST: Final = 20
"""Of a class or of the background: with fewer a rejection says nothing."""


@dataclass(frozen=True)
class Rejection:
    """One over the share of background jets that pass where `efficiency` of a class does.

    passed: how many of `background` jets pass. Where none does, the rejection is larger than their number.
    """

    name: str
    efficiency: float
    passed: int
    background: int

    @property
    def value(self) -> float:
        """The rejection; with no jet that passes its lower bound."""
        return self.background / max(self.passed, 1)

    @property
    def error(self) -> float:
        """Its statistical error: that of the number that pass."""
        return self.value / float(np.sqrt(max(self.passed, 1)))

    def __str__(self) -> str:
        if not self.passed:
            return f"> {self.background}"
        digits = 0 if self.error >= 1 else 1
        return f"{self.value:.{digits}f} ± {self.error:.{digits}f}"


def class_figures(table: PredictionTable, resamples: int = DEFAULT_RESAMPLES, seed: int = 0) -> dict[str, Figure]:
    """Return accuracy, top 3, macro F1 and the mean area under the curves, with bootstrap intervals.

    Raises UserError for a table that tells no classes of jets apart, or without a truth.
    """
    told = told_of(table)

    def statistics(weights: Array) -> dict[str, Array]:
        total = weights.sum(axis=1)
        rank = (told.probabilities > told.of_the_true[:, None]).sum(axis=1)
        return {
            "accuracy": weights @ told.right / total,
            "top3": weights @ (rank < TOP) / total,
            "macro_f1": _macro_f1(told, weights),
            "auc": mean_area(told, weights),
        }

    return bootstrapped(statistics, len(told.truth), resamples, seed)


def told_of(table: PredictionTable) -> Told:
    """Return the usable rows of a table. Raises UserError where there are none."""
    if table.targets != (CLASS,) or not table.classes:
        raise UserError(f"the table of {table.estimator!r} tells no classes of jets apart ({CLASS})")
    if not table.has_truth(CLASS):
        raise UserError(f"the table of {table.estimator!r} has no truth: its jets were not labelled")
    told = Told.of_table(table, CLASS)
    told = told.select(told.usable)
    if not len(told.truth):
        raise UserError(f"the table of {table.estimator!r} has no jet of a class that it knows")
    return told


def _macro_f1(told: Told, weights: Array) -> Array:
    """Return the mean over classes of 2 · right/(told + true), by replicate; of classes without any jet nothing."""
    said = told.probabilities.argmax(axis=1)
    found = []
    for place in np.unique(told.truth):
        right = weights @ ((said == place) & (told.truth == place))
        both = weights @ (said == place) + weights @ (told.truth == place)
        found.append(2 * right / np.maximum(both, 1))
    return np.asarray(np.mean(found, axis=0), dtype=np.float64)


def rejections(table: PredictionTable) -> list[Rejection]:
    """Return the rejection of the background for each other class at 50 and 30 % of its jets.

    The score is p/(p + p of the background), as JetClass's paper has it (arXiv:2202.03772, sec. 5.1); classes with too
    few jets are left out.
    """
    told = told_of(table)
    names = list(table.classes)
    if BACKGROUND not in names:
        return []
    background = names.index(BACKGROUND)
    found = []
    for place, name in enumerate(names):
        if place == background:
            continue
        score = told.probabilities[:, place] / np.maximum(
            told.probabilities[:, place] + told.probabilities[:, background], 1e-300
        )
        signal, others = score[told.truth == place], score[told.truth == background]
        if min(len(signal), len(others)) < FEWEST:
            continue
        for efficiency in EFFICIENCIES:
            threshold = np.quantile(signal, 1 - efficiency)
            found.append(Rejection(name, efficiency, int((others >= threshold).sum()), len(others)))
    return found
