"""One network at every mass point beside boosted trees and dedicated networks: everything the report and JSON hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from collider.higgs.judging.figures import RESAMPLES, Scored, binned, bins_of, figures_of
from collider.higgs.judging.limits import BANDS, expected_limits, relative_uncertainty
from collider.higgs.judging.scores import Network, Unseen
from collider.higgs.judging.trees import Trees
from collider.higgs.learning.files import CLASSES, SIGNAL
from collider.higgs.making.config import Point
from collider.higgs.making.samples import MASSES
from reconstruction.judging.measures.bootstrap import Figure
from reconstruction.judging.measures.separation import Told, chance_errors, separation_figures

FEWEST: Final = 20
"""Of unseen signal events, fewer of which say nothing of a point."""
FULL: Final = 40
"""Of unseen signal events, with fewer of which a point is but a place on the map."""
MAP: Final = "map"
"""Role of points that are generated for the map alone."""
SYSTEMATIC: Final = 0.1
"""What the background of a bin is not known to besides its statistics."""
TRAINED, INTERPOLATED, EXTRAPOLATED = "trained", "between", "outside"
NETWORK, DEDICATED, TREES, DEDICATED_TREES = "network", "dedicated network", "boosted trees", "dedicated trees"


def has_all(role: str, events: int) -> bool:
    """Return whether a point has all figures: its events are enough, and it is no mere place on the map."""
    return events >= FULL and role != MAP


@dataclass(frozen=True, eq=False)
class PointResult:
    """What is known of one mass point.

    where: trained, between trained ones, or outside of their range. outside: the network's own flag. figures: by
    classifier and name. ratio: (1 − AUC) of the network over that of another, by its name, paired. spread: mean
    standard deviation of p(signal) among the networks of an ensemble, NaN for one. wrong: AUC where the network is told
    other masses. limits: upper limits on the branching ratio by classifier, for each of BANDS. scored: by classifier.
    """

    point: Point
    where: str
    role: str
    outside: bool
    events: int
    figures: dict[str, dict[str, Figure]]
    ratio: dict[str, Figure]
    spread: float
    wrong: dict[Point, float] = field(default_factory=dict)
    limits: dict[str, list[float]] = field(default_factory=dict)
    scored: dict[str, Scored] = field(default_factory=dict)

    @property
    def full(self) -> bool:
        """Whether it is more than a place on the map."""
        return has_all(self.role, self.events)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers, None for what is not finite."""
        return {
            **dict(zip(MASSES, self.point, strict=True)),
            "where": self.where,
            "role": self.role,
            "outside_trained_range": self.outside,
            "signal_events": self.events,
            "figures": {name: {key: _plain(one) for key, one in own.items()} for name, own in self.figures.items()},
            "one_minus_auc_ratio": {name: _plain(one) for name, one in self.ratio.items()},
            "ensemble_spread": _finite(self.spread),
            "auc_told_other_masses": [
                dict(zip(MASSES, told, strict=True)) | {"auc": value} for told, value in self.wrong.items()
            ],
            "expected_limit_branching_ratio": {
                name: {_band(band): _finite(value) for band, value in zip(BANDS, own, strict=True)}
                for name, own in self.limits.items()
            },
        }


def _band(band: int) -> str:
    return "median" if band == 0 else f"{band:+d} sigma"


def _plain(figure: Figure) -> dict[str, float | None]:
    return {"value": _finite(figure.value), "low": _finite(figure.low), "high": _finite(figure.high)}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


@dataclass(frozen=True, eq=False)
class MassComparison:
    """What is compared: networks that are told masses (several are an ensemble), dedicated ones by point, trees."""

    networks: Sequence[Network]
    dedicated: Mapping[Point, Network]
    trees: Trees | None
    events: Unseen
    roles: Mapping[Point, str]
    reference: float
    """Branching ratio that the signal's weights are made with; NaN, with which there are no limits, if not known."""
    resamples: int = RESAMPLES
    systematic: float = SYSTEMATIC

    def at(self, point: Point) -> PointResult:
        """Return what is known of one point."""
        rows = np.concatenate([self.events.signals[point], self.events.backgrounds])
        members = [network.probabilities(self.events.data, rows, point) for network in self.networks]
        said = {NETWORK: np.mean(members, axis=0)}
        if point in self.dedicated:
            said[DEDICATED] = self.dedicated[point].probabilities(self.events.data, rows, point)
        if self.trees is not None:
            said[TREES] = self.trees.probabilities(rows, point)
            if point in self.trees.dedicated:
                said[DEDICATED_TREES] = self.trees.probabilities(rows, point, dedicated=True)
        kinds, weights = self.events.kinds(rows), self.events.weights(rows)
        scored = {name: Scored(probabilities, kinds, weights) for name, probabilities in said.items()}
        figures = {name: figures_of(one, self.resamples) for name, one in scored.items()}
        lost = {name: _lost(own["auc"]) for name, own in figures.items()}
        role, count = self.roles.get(point, ""), len(self.events.signals[point])
        full = has_all(role, count)
        return PointResult(
            point,
            self.where(point),
            role,
            self.networks[0].outside(point),
            count,
            figures,
            {name: lost[NETWORK].over(one) for name, one in lost.items() if name != NETWORK},
            float(np.std([one[:, SIGNAL] for one in members], axis=0).mean()) if len(members) > 1 else math.nan,
            self._told_others(point, rows) if full else {},
            {name: self._limits(one) for name, one in scored.items()} if full and math.isfinite(self.reference) else {},
            scored,
        )

    def where(self, point: Point) -> str:
        """Return where a point lies among those that the network was trained on."""
        if any(np.allclose(point, one, rtol=1e-6) for one in self.networks[0].points):
            return TRAINED
        return EXTRAPOLATED if self.networks[0].outside(point) else INTERPOLATED

    def _told_others(self, point: Point, rows: Any) -> dict[Point, float]:
        """Return the AUC where the network is told the masses of other trained points: signal and background alike."""
        found = {}
        for other in self.networks[0].points:
            if not np.allclose(other, point):
                members = [network.probabilities(self.events.data, rows, other) for network in self.networks]
                scored = Scored(np.mean(members, axis=0), self.events.kinds(rows), self.events.weights(rows))
                found[other] = figures_of(scored, 0)["auc"].value
        return found

    def _limits(self, scored: Scored) -> list[float]:
        """Return the expected limits on the branching ratio, in bins of the score."""
        bins = bins_of(scored.score(expected=True), scored.signal)
        signal, background = (part[0] for part in binned(bins, scored.signal, scored.weights[None]))
        others = ~scored.signal
        sigma = relative_uncertainty(scored.weights[others], bins[others], len(background), self.systematic)
        return [self.reference * mu for mu in expected_limits(signal, background, sigma)]


def _lost(auc: Figure) -> Figure:
    return Figure(1 - auc.value, 1 - auc.replicates)


def calibration_of(results: Sequence[PointResult]) -> dict[str, float]:
    """Return the calibration of the network's probabilities at trained points, each class as frequent as the others.

    ece: the expected calibration error of resampled events; ece_chance: what chance alone makes of it.
    """
    told = even_told([one.scored[NETWORK] for one in results if one.where == TRAINED])
    if not len(told.truth):
        return {}
    return {
        "ece": separation_figures(told)["ece"],
        "ece_chance": float(chance_errors(told).mean()),
        "events": float(len(told.truth)),
    }


def even_told(scored: Sequence[Scored], seed: int = 0) -> Told:
    """Return events of which each class is as frequent as the rarest one: what the probabilities are meant for.

    The backgrounds of all points are the same events: each is told the masses of one point, as in a training. Told
    those of every point it would come so many times, and what chance makes of independent events would be too little.
    """
    random = np.random.default_rng(seed)
    probabilities, kinds = np.zeros((0, len(CLASSES))), np.zeros(0, np.int64)
    for place, one in enumerate(scored):
        turn = np.cumsum(~one.signal) % len(scored) == place
        mine = one.signal | turn
        probabilities, kinds = np.concatenate([probabilities, one.probabilities[mine]]), np.r_[kinds, one.kinds[mine]]
    fewest = int(np.bincount(kinds, minlength=len(CLASSES)).min())
    rows = [random.permutation(np.flatnonzero(kinds == kind))[:fewest] for kind in CLASSES.values()]
    return Told(probabilities[np.concatenate(rows)], kinds[np.concatenate(rows)])
