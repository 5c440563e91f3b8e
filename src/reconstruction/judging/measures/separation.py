"""How well classes are told apart, and whether their stated probabilities are right, in numbers.

What is judged are probabilities: accuracy by the most probable class, the area under the ROC curve by their order, the
log loss and the calibration error by their values. A calibration error is never zero, even of right probabilities:
beside it stands what chance alone makes of it for as many rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconstruction.judging.measures.bootstrap import Array, Figure, bootstrapped
from reconstruction.judging.measures.calibration import FEWEST, Verdict
from reconstruction.judging.tables.judged import rows_word
from reconstruction.judging.tables.table import PredictionTable

BINS = 15
"""Of the stated probability, of equal width                    Guo et al. 2017, arXiv:1706.04599, sec. 2"""
DEFAULT_RESAMPLES = 400
CALIBRATION_TOLERANCE = 0.01
"""Calibration error beyond that of chance that does not matter in practice."""
_CHANCES = 200
_SIGNIFICANCE = 3.0
_LEAST = 1e-12


@dataclass(frozen=True, eq=False)
class Told:
    """Stated probabilities (row, class), NaN for none, and the place of each row's true class, −1 where it is none."""

    probabilities: Array
    truth: NDArray[np.int64]

    @classmethod
    def of(cls, truth: NDArray[Any], codes: NDArray[Any], probabilities: NDArray[Any]) -> Told:
        """Take the truth as codes (row,), of which `codes` (class,) are known."""
        named = np.asarray(truth)[:, None] == np.asarray(codes)[None, :]
        return cls(np.asarray(probabilities, np.float64), np.where(named.any(axis=1), named.argmax(axis=1), -1))

    @classmethod
    def of_table(cls, table: PredictionTable, target: str) -> Told:
        """Return what a table states of its classes."""
        return cls.of(table.truth(target), np.array(list(table.classes.values())), table.probabilities())

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Which rows state probabilities and are of one of the classes, (row,)."""
        return np.isfinite(self.probabilities).all(axis=1) & (self.truth >= 0)

    def select(self, rows: NDArray[np.bool_]) -> Told:
        """Return some rows."""
        return Told(self.probabilities[rows], self.truth[rows])

    @property
    def confidence(self) -> Array:
        """Stated probability of the most probable class, (row,)."""
        return self.probabilities.max(axis=1)

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the most probable class is the true one, (row,)."""
        return self.probabilities.argmax(axis=1) == self.truth

    @property
    def of_the_true(self) -> Array:
        """Stated probability of the true class, (row,)."""
        return np.take_along_axis(self.probabilities, self.truth[:, None], axis=1)[:, 0]

    def confusion(self) -> NDArray[np.int64]:
        """Return how many rows of each class were taken for which, (true, told)."""
        count = self.probabilities.shape[1]
        places = self.truth * count + self.probabilities.argmax(axis=1)
        return np.bincount(places, minlength=count * count).reshape(count, count)


def separation_metrics(
    table: PredictionTable, target: str, *, resamples: int = DEFAULT_RESAMPLES, seed: int = 0
) -> dict[str, Figure]:
    """Return the figures of a table that tells classes apart, with paired bootstrap intervals.

    Rows without probabilities count as `failed`; those of another class than the table's are left out.
    """
    told = Told.of_table(table, target)
    failed = ~np.isfinite(told.probabilities).all(axis=1)
    usable = told.usable

    def statistics(weights: Array) -> dict[str, Array]:
        kept = _figures(told.select(usable), weights[:, usable])
        return kept | {"count": weights.sum(axis=1), "failed": weights @ failed}

    figures = bootstrapped(statistics, len(table), resamples, seed)
    chance = chance_errors(told.select(usable), seed)
    # a resample has a calibration error of its own beside that of the sample: its spread is no interval
    figures["ece"] = Figure(figures["ece"].value, np.zeros(0))
    return figures | {"ece_chance": Figure(float(chance.mean()) if len(chance) else np.nan, np.zeros(0))}


def separation_figures(told: Told) -> dict[str, float]:
    """Return accuracy, area under the curve and calibration error of rows, all by name."""
    kept = told.select(told.usable)
    found = _figures(kept, np.ones((1, len(kept.truth))))
    return {name: float(found[name][0]) for name in ("accuracy", "auc", "ece")}


def _figures(told: Told, weights: Array) -> dict[str, Array]:
    """Return one number for each row of weights (replicate, row)."""
    total = weights.sum(axis=1)
    right, confidence = told.right.astype(np.float64), told.confidence
    return {
        "accuracy": _over(weights @ right, total),
        "auc": mean_area(told, weights),
        "log_loss": _over(weights @ -np.log(np.maximum(told.of_the_true, _LEAST)), total),
        "ece": calibration_error(confidence, right, weights),
        "overconfidence": _over(weights @ (confidence - right), total),
    }


def mean_area(told: Told, weights: Array) -> Array:
    """Return the area under the ROC curve of each class against all others, averaged over those that rows are of.

    Of two classes both areas are the same.
    """
    count = told.probabilities.shape[1]
    places = (1,) if count == 2 else range(count)
    areas = np.stack([area_under_curve(told.probabilities[:, i], told.truth == i, weights) for i in places])
    known = np.isfinite(areas)
    return _over(np.where(known, areas, 0.0).sum(axis=0), known.sum(axis=0).astype(np.float64))


def area_under_curve(score: Array, positive: NDArray[np.bool_], weights: Array) -> Array:
    """Return the probability that a positive row scores higher than another one, ties counting half, by replicate.

    score, positive (row,); weights (replicate, row). NaN where there are none of either.
    Hanley and McNeil 1982, Radiology 143, 29
    """
    if not len(score):
        return np.full(len(weights), np.nan)
    order = np.argsort(score, kind="stable")
    first = np.flatnonzero(np.diff(score[order], prepend=-np.inf) > 0)
    drawn = weights[:, order]
    ours, others = (np.add.reduceat(drawn * chosen[order], first, axis=1) for chosen in (positive, ~positive))
    below = np.cumsum(others, axis=1) - 0.5 * others
    return _over((ours * below).sum(axis=1), ours.sum(axis=1) * others.sum(axis=1))


def calibration_error(confidence: Array, right: Array, weights: Array) -> Array:
    """Return the expected calibration error: Σ over bins of |stated probability − frequency| by share of the rows."""
    distance = np.zeros((len(confidence), BINS))
    distance[np.arange(len(confidence)), bins_of(confidence)] = confidence - right
    return _over(np.abs(weights @ distance).sum(axis=1), weights.sum(axis=1))


def bins_of(confidence: Array) -> NDArray[np.int64]:
    """Return the bin of each stated probability, (row,)."""
    return np.clip((confidence * BINS).astype(np.int64), 0, BINS - 1)


def chance_errors(told: Told, seed: int = 0) -> Array:
    """Return calibration errors of truths that are drawn with the stated probabilities: what chance alone makes."""
    confidence = told.confidence if len(told.truth) else np.zeros(0)
    if not len(confidence):
        return np.zeros(0)
    drawn = np.random.default_rng(seed).uniform(size=(_CHANCES, len(confidence))) < confidence
    one = np.ones((1, len(confidence)))
    return np.array([calibration_error(confidence, right, one)[0] for right in drawn.astype(np.float64)])


def separation_verdict(table: PredictionTable, target: str) -> Verdict:
    """Judge stated probabilities by how often the most probable class is the true one.

    They are wrong where the calibration error is larger than chance makes it, by more than a practical tolerance and
    three standard deviations of that.
    """
    told = Told.of_table(table, target)
    told = told.select(told.usable)
    count = len(told.truth)
    if count < FEWEST:
        reason = f"{count} {rows_word()} with probabilities are too few for a verdict ({FEWEST} are needed)"
        return Verdict(None, "too few", (reason,))
    right, confidence = told.right.astype(np.float64), told.confidence
    error = float(calibration_error(confidence, right, np.ones((1, count)))[0])
    chance = chance_errors(told)
    if error - chance.mean() <= max(CALIBRATION_TOLERANCE, _SIGNIFICANCE * float(chance.std())):
        return Verdict(True, "calibrated", ("the most probable class is the true one as often as it says",))
    excess = float((confidence - right).mean())
    if abs(excess) <= _SIGNIFICANCE * float(np.sqrt((confidence * (1 - confidence)).mean() / count)):
        label = "wrong probabilities"
    else:
        label = "over-confident" if excess > 0 else "under-confident"
    said = f"{label}: {100 * confidence.mean():.1f} % are said to be right, {100 * right.mean():.1f} % are"
    return Verdict(False, label, (f"{said}; the calibration error is {100 * error:.1f} %",))


def _over(numerator: Array, denominator: Array) -> Array:
    return np.divide(numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=denominator > 0)
