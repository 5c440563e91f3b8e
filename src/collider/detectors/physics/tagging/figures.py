"""How well large jets are told apart: areas under ROC curves with intervals, of ensembles and of each member alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from collider.detectors.particles import Floats, Integers
from collider.detectors.physics.chain import RULES, TRUTH, FlowResults
from collider.detectors.physics.config import PhysicsConfig
from collider.detectors.physics.measures import RESAMPLES, by_events, clopper_pearson
from collider.detectors.physics.tagging.ensemble import Voted, voted
from collider.detectors.physics.tagging.large import QUANTITIES, TAGGED
from reconstruction.judging.measures.bootstrap import Array, Figure
from reconstruction.judging.measures.separation import Told, area_under_curve

FEWEST_OF_A_CLASS: Final = 20
MASS_ALONE: Final = "soft-drop mass alone"
_MASS: Final = (QUANTITIES.index("soft_drop_mass_gev"),)


@dataclass(frozen=True)
class TaggedBy:
    """How one ensemble tells classes apart; each mapping by class.

    told: its mean probabilities, of the classes in the order of TAGGED; area: under the ROC curve of the class against
    all others; alone: (member,) that of each member; others: share of the others that
    pass with half of the class, and its 68 % interval.
    """

    told: Told
    area: Mapping[str, Figure]
    alone: Mapping[str, Floats]
    others: Mapping[str, tuple[float, float, float]]


@dataclass(frozen=True)
class TaggingFigures:
    """Large jets of true particles: how many of each class, of which share each flow has one, and who tells what apart.

    judged: by class, those that all flows have, of the classes that are common enough to be told apart; by: by flow,
    of the rules also by the soft-drop mass alone; kinds, masses_gev: of the judged ones, codes (jet,) and the soft-drop
    masses (jet,) by flow.
    """

    jets: Mapping[str, int]
    found: Mapping[str, float]
    judged: Mapping[str, int]
    by: Mapping[str, TaggedBy]
    kinds: Integers
    masses_gev: Mapping[str, Floats]


def tagging_figures(measured: FlowResults, config: PhysicsConfig, resamples: int = RESAMPLES) -> TaggingFigures:
    """Return how large jets are told apart; `by` is empty where there are too few of two classes."""
    large, flows = measured.large, (*measured.flows, TRUTH)
    kind = large["kind"]
    there = {flow: np.isfinite(large[flow]).all(axis=1) for flow in flows}
    both = np.stack(list(there.values())).all(axis=0)
    counts = {name: int((kind == code).sum()) for name, code in TAGGED.items()}
    common = [code for code in TAGGED.values() if (kind[both] == code).sum() >= FEWEST_OF_A_CLASS]
    rows = np.flatnonzero(both & np.isin(kind, common))
    judged = {name: int((kind[rows] == code).sum()) for name, code in TAGGED.items() if code in common}
    found = {flow: float(mask.mean()) if len(kind) else float("nan") for flow, mask in there.items()}
    masses = {flow: large[flow][rows, _MASS[0]] for flow in flows}
    by = {}
    if len(common) > 1:
        asked = {flow: large[flow][rows] for flow in flows} | {MASS_ALONE: large[RULES][rows][:, _MASS]}
        event = large["event"][rows]
        cuts = config.tagging
        for name, seen in asked.items():
            said = voted(seen, kind[rows], event, cuts.members, cuts.parts)
            by[name] = tagged_by(said, kind[rows], event, resamples)
    return TaggingFigures(counts, found, judged, by, kind[rows], masses)


def tagged_by(said: Voted, kind: Integers, event: Integers, resamples: int) -> TaggedBy:
    """Return the figures of an ensemble; kind, event: (jet,). Events are resampled, members and trees are not."""
    names = [name for name, code in TAGGED.items() if code in said.codes]
    codes = np.array([TAGGED[name] for name in names])
    members = said.members[:, :, np.searchsorted(said.codes, codes)]
    told = Told.of(kind, codes, members.mean(axis=0))

    def statistics(weights: Array) -> dict[str, Array]:
        return {
            name: area_under_curve(told.probabilities[:, place], told.truth == place, weights)
            for place, name in enumerate(names)
        }

    one = np.ones((1, len(kind)))
    alone = {
        name: np.array([area_under_curve(member[:, place], told.truth == place, one)[0] for member in members])
        for place, name in enumerate(names)
    }
    others = {name: _with_half(told, place) for place, name in enumerate(names)}
    return TaggedBy(told, by_events(statistics, event, resamples), alone, others)


def _with_half(told: Told, place: int) -> tuple[float, float, float]:
    score, mine = told.probabilities[:, place], told.truth == place
    passed, total = np.array([(score[~mine] >= np.median(score[mine])).sum()]), np.array([(~mine).sum()])
    low, high = clopper_pearson(passed, total)
    return float(passed[0] / total[0]), float(low[0]), float(high[0])
