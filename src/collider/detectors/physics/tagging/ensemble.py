"""Ensembles of boosted trees: each jet is judged by those that were trained on none of its event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from collider.detectors.particles import Floats, Integers
from collider.generation.wheels import wheel

ROUNDS: Final = 50
LEAVES: Final = 8
"""Of the trees; small, since large jets are few."""


@dataclass(frozen=True)
class Voted:
    """What an ensemble says of jets: probabilities (member, jet, class), and in which part of the events each jet is.

    codes: (class,) of the classes; part: (jet,).
    """

    codes: Integers
    members: Floats
    part: Integers


def voted(seen: Floats, kind: Integers, event: Integers, members: int, parts: int, seed: int = 0) -> Voted:
    """Return what ensembles say of jets: seen (jet, quantity), kind and event (jet,).

    Events are divided into parts; jets of one are judged by trees that were trained on the others. Each member is
    trained on as many events, drawn with repetition, of those (bagging: Breiman, Machine Learning 24 (1996) 123).
    """
    codes, truth = np.unique(kind, return_inverse=True)
    part = parts_of(event, parts, seed)
    found = np.zeros((members, len(kind), len(codes)))
    for number in range(parts):
        judged = np.flatnonzero(part == number)
        if not len(judged):  # fewer events than parts
            continue
        trained = np.flatnonzero(part != number)
        assert not np.isin(event[judged], event[trained]).any()
        for member in range(members):
            random = np.random.default_rng([seed, number, member])
            found[member, judged] = _member(seen, truth, event, trained, judged, len(codes), random)
    return Voted(codes, found, part)


def parts_of(event: Integers, parts: int, seed: int) -> Integers:
    """Return the part of each jet (jet,): all jets of an event are in the same, events are drawn."""
    _, place = np.unique(event, return_inverse=True)
    count = int(place.max()) + 1 if len(place) else 0
    return np.asarray(np.random.default_rng(seed).permutation(np.arange(count) % parts)[place])


def _member(
    seen: Floats, truth: Integers, event: Integers, trained: Integers, judged: Integers, count: int,
    random: np.random.Generator,
) -> Floats:  # fmt: skip
    """Return what one member says of the jets that are judged, (jet, class): 0 for a class that it has not seen."""
    weight = drawn(event[trained], random)
    rows, weight = trained[weight > 0], weight[weight > 0]
    found = np.zeros((len(judged), count))
    if len(np.unique(truth[rows])) < 2:
        found[:, truth[rows[0]]] = 1.0
        return found
    trees = wheel("sklearn.ensemble").HistGradientBoostingClassifier(
        max_iter=ROUNDS, max_leaf_nodes=LEAVES, early_stopping=False
    )
    trees.fit(seen[rows], truth[rows], sample_weight=weight)
    found[:, trees.classes_] = trees.predict_proba(seen[judged])
    return found


def drawn(event: Integers, random: np.random.Generator) -> NDArray[np.float64]:
    """Return how often the event of each jet was drawn, of as many events as there are, with repetition: (jet,)."""
    _, place = np.unique(event, return_inverse=True)
    count = int(place.max()) + 1
    return np.bincount(random.integers(count, size=count), minlength=count)[place].astype(np.float64)
