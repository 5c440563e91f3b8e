"""Figures of merit of a classifier at one mass point, for all bootstrap replicates at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from collider.higgs.judging.scores import discriminant
from collider.higgs.learning.files import CLASSES, SIGNAL
from reconstruction.judging.measures.bootstrap import Figure, bootstrapped
from reconstruction.judging.measures.separation import area_under_curve

Array = NDArray[np.float64]
BACKGROUND_KEPT: Final = 0.01
SIGNAL_KEPT: Final = 0.5
FEWEST_IN_A_BIN: Final = 8
MOST_BINS: Final = 8
RESAMPLES: Final = 200
_EQUAL: Final = np.full(3, 1 / 3)


@dataclass(frozen=True, eq=False)
class Scored:
    """What a classifier says of the signal of one point and of all backgrounds, told that point's masses.

    probabilities (event, class); kinds (event,) true classes; weights (event,) expected events each stands for.
    """

    probabilities: Array
    kinds: NDArray[np.int64]
    weights: Array

    @property
    def signal(self) -> NDArray[np.bool_]:
        """Which events are signal, (event,)."""
        return self.kinds == SIGNAL

    @property
    def even(self) -> Array:
        """Weights with which each class counts the same, (event,)."""
        made = np.array(self.weights, np.float64)
        for kind in np.unique(self.kinds):
            mine = self.kinds == kind
            made[mine] /= made[mine].sum() if made[mine].sum() > 0 else 1.0
        return made

    @property
    def shares(self) -> Array:
        """Share of each background among the expected events, (background,)."""
        yields = np.array([self.weights[self.kinds == code].sum() for code in CLASSES.values() if code != SIGNAL])
        return yields / yields.sum()

    def score(self, expected: bool = False) -> Array:
        """Return the order of events, (event,): backgrounds alike, or as many of each as are expected."""
        return discriminant(self.probabilities, self.shares if expected else _EQUAL)


def figures_of(scored: Scored, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Figure]:
    """Return the figures of a point with their replicates; those of the same events and seed are paired.

    auc, efficiency (signal kept with 1 % of the background), rejection (1/background kept with half of the signal):
    each background counts the same. accuracy: of the four classes, each the same. significance: Asimov, of the expected
    events in bins of the score.
    """
    score, even, signal = scored.score(), scored.even, scored.signal
    right = (scored.probabilities.argmax(1) == scored.kinds).astype(np.float64)
    expected = scored.score(expected=True)
    bins = bins_of(expected, signal)

    def statistics(drawn: Array) -> dict[str, Array]:
        weights = drawn * even
        kept, rejected = working_points(score, signal, weights)
        return {
            "auc": area_under_curve(score, signal, weights),
            "accuracy": (weights @ right) / weights.sum(1),
            "efficiency": kept,
            "rejection": rejected,
            "significance": significance(*binned(bins, signal, drawn * scored.weights)),
        }

    return bootstrapped(statistics, len(score), resamples, seed)


def working_points(score: Array, signal: NDArray[np.bool_], weights: Array) -> tuple[Array, Array]:
    """Return signal efficiency at 1 % background, and 1/background at half of the signal; ∞ where none is left."""
    ours, others = kept_shares(score, signal, weights)
    kept = np.where(others <= BACKGROUND_KEPT, ours, 0.0).max(axis=1)
    passed = np.where(ours >= SIGNAL_KEPT, others, 1.0).min(axis=1)
    with np.errstate(divide="ignore"):
        return kept, 1 / passed


def kept_shares(score: Array, signal: NDArray[np.bool_], weights: Array) -> tuple[Array, Array]:
    """Return the shares of signal and background (replicate, threshold) that are kept, as the threshold falls."""
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.diff(score[order], append=-np.inf) < 0)  # events with one score pass together
    ours, others = (np.cumsum(weights[:, order] * chosen[order], axis=1)[:, last] for chosen in (signal, ~signal))
    return ours / ours[:, -1:], others / others[:, -1:]


def bins_of(score: Array, signal: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the bin of each event, 0 the most signal-like: each holds at least so many generated backgrounds.

    Bins grow from the top by twos, so that the best hold little: 8, 16, 32 … backgrounds.
    """
    others = np.sort(score[~signal])[::-1]
    edges: list[float] = []
    taken = FEWEST_IN_A_BIN
    while taken < len(others) and len(edges) < MOST_BINS - 1:
        edges.append(float(others[taken - 1]))
        taken += FEWEST_IN_A_BIN * 2 ** len(edges)
    return np.searchsorted(-np.array(edges), -score, side="left").astype(np.int64)


def binned(bins: NDArray[np.int64], signal: NDArray[np.bool_], weights: Array) -> tuple[Array, Array]:
    """Return expected signal and background (replicate, bin)."""
    place = np.zeros((len(bins), int(bins.max()) + 1))
    place[np.arange(len(bins)), bins] = 1.0
    return (weights * signal) @ place, (weights * ~signal) @ place


def significance(signal: Array, background: Array) -> Array:
    """Return √(Σ 2((s + b) ln(1 + s/b) − s)) over bins         Cowan et al. 2011, arXiv:1007.1727, eq. 97

    signal, background (replicate, bin) expected events. Bins without background, by which nothing can be said, are left
    out.
    """
    there = background > 0
    b = np.where(there, background, 1.0)
    parts = 2 * ((signal + b) * np.log1p(signal / b) - signal)
    return np.sqrt(np.where(there, parts, 0.0).sum(axis=1))
