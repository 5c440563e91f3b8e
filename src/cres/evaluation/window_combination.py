"""What is assumed when windows of long tracks are combined: slopes, biases, factors; kept as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cres.errors import UserError
from cres.evaluation.window_features import basis_of
from reconstruction.files import atomic_path
from reconstruction.judging.measures.bootstrap import Array

DRIFT_PER_S = {"energy_ev": 3e4, "pitch_angle_deg": 1.0}
"""Standard deviation of a slope about which nothing is known, 1/s of the target's unit; other targets do not drift."""
BEND_PER_S2 = {"energy_ev": 5e4}

Laws = list[tuple[float, list[float]]]
"""Pairs of a number of windows and of coefficients over features of an electron, in rising order of the number."""


@dataclass(frozen=True)
class Combination:
    """What is assumed of windows: slopes, biases, and the factors that make combined error bars honest.

    drift_per_s: mean and standard deviation of a target's slope along tracks, 1/s of its unit; targets that are not
    named do not drift. bend_per_s2: standard deviation of the slope's change. drift_law: by target, coefficients of a
    quadratic in the features of the first windows, scaled by early_features, that is added to the mean slope.
    population: by target mean and standard deviation of the calibrating electrons' true values. bias: by target, for
    numbers of windows, the plane over all targets' estimates, counted from the mean in standard deviations, that is
    taken off the combined estimate. spread: by target, mean and standard deviation of the logarithm of the windows'
    stated spreads. factor68, factor95: by target, for numbers of windows, the logarithm of a factor as a parabola in
    the logarithm of the windows' spread: of the combined error bar, and on top of the central 95.45 % (two error bars
    without). `electrons`: how many calibrated it; 0 for the assumptions of the source code (slopes up to what a cavity
    on resonance radiates, no biases, no factors).
    """

    drift_per_s: dict[str, tuple[float, float]] = field(
        default_factory=lambda: {name: (0.0, std) for name, std in DRIFT_PER_S.items()}
    )
    bend_per_s2: dict[str, float] = field(default_factory=lambda: dict(BEND_PER_S2))
    early_features: list[tuple[float, float]] = field(default_factory=list)
    drift_law: dict[str, list[float]] = field(default_factory=dict)
    population: dict[str, tuple[float, float]] = field(default_factory=dict)
    bias: dict[str, Laws] = field(default_factory=dict)
    spread: dict[str, tuple[float, float]] = field(default_factory=dict)
    factor68: dict[str, Laws] = field(default_factory=dict)
    factor95: dict[str, Laws] = field(default_factory=dict)
    electrons: int = 0

    def drift(self, targets: tuple[str, ...], early: Array) -> tuple[Array, Array]:
        """Return the slopes' prior, means (electrons, targets) and standard deviations (targets,), 1/s of the unit.

        `early` (electrons, 2 · targets) are the features of the first windows.
        """
        mean, std = np.transpose([self.drift_per_s.get(name, (0.0, 0.0)) for name in targets])
        means = np.tile(mean, (len(early), 1))
        for i, name in enumerate(targets):
            if law := self.drift_law.get(name):
                means[:, i] += basis_of(early, self.early_features, len(law)) @ law
        return means, std

    def offset(self, target: str, windows: Array, estimates: Array) -> Array:
        """Return the bias of a target's combined estimate for so many windows (rows,), estimates (rows, targets)."""
        laws = self.bias.get(target)
        if not laws:
            return np.zeros(len(estimates))
        return following(laws, windows, basis_of(estimates, list(self.population.values())))

    def scale(self, target: str, windows: Array, log_spread: Array) -> Array:
        """Return the factor of a target's combined error bar for windows of these mean log spreads, (rows,) each."""
        return self._factor(self.factor68, target, windows, log_spread)

    def tail(self, target: str, windows: Array, log_spread: Array) -> Array:
        """Return the factor of two error bars that makes them the central 95.45 %, (rows,) each."""
        return self._factor(self.factor95, target, windows, log_spread)

    def _factor(self, factors: dict[str, Laws], target: str, windows: Array, log_spread: Array) -> Array:
        if not (laws := factors.get(target)):
            return np.ones(len(windows))
        return np.asarray(np.exp(following(laws, windows, basis_of(log_spread[:, None], [self.spread[target]]))))

    def write(self, path: Path) -> Path:
        """Write JSON, whole or not at all."""
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1) + "\n")
        return path

    @classmethod
    def read(cls, path: Path) -> Combination:
        """Read what `write` wrote; raises UserError for anything else, also for files of versions without biases."""
        try:
            stored = json.loads(path.read_text())
            return cls(
                drift_per_s=_pairs(stored.pop("drift_per_s")),
                early_features=[_pair(pair) for pair in stored.pop("early_features")],
                drift_law={name: [float(value) for value in law] for name, law in stored.pop("drift_law").items()},
                population=_pairs(stored.pop("population")),
                bias=_laws(stored.pop("bias")),
                spread=_pairs(stored.pop("spread")),
                factor68=_laws(stored.pop("factor68")),
                factor95=_laws(stored.pop("factor95")),
                **stored,
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(
                f"{path} is no calibration of windows of this version ({error}): remove it, or write it again with "
                "`python cli.py test --windows`"
            ) from error


def _pair(stored: list[float]) -> tuple[float, float]:
    first, second = stored
    return float(first), float(second)


def _pairs(stored: dict[str, list[float]]) -> dict[str, tuple[float, float]]:
    return {name: _pair(pair) for name, pair in stored.items()}


def _laws(stored: dict[str, Any]) -> dict[str, Laws]:
    return {
        name: [(float(number), [float(value) for value in law]) for number, law in laws]
        for name, laws in stored.items()
    }


def following(laws: Laws, windows: Array, basis: Array) -> Array:
    """Return values for so many windows (rows,): coefficients linear in their logarithm, constant beyond the ends.

    basis (rows, terms or more).
    """
    numbers = np.log([number for number, _ in laws])
    columns = np.transpose([law for _, law in laws])
    place = np.log(np.maximum(windows, 1.0))
    coefficients = np.stack([np.interp(place, numbers, column) for column in columns], axis=1)
    return np.asarray((coefficients * basis[:, : len(columns)]).sum(axis=1))
