"""What is assumed when windows of long tracks are combined: slopes, common errors, biases, factors; kept as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cres.errors import UserError
from reconstruction.judging.measures.bootstrap import Array
from reconstruction.judging.tables.table import atomic_path

DRIFT_PER_S = {"energy_ev": 3e4, "pitch_angle_deg": 1.0}
"""Standard deviation of a slope about which nothing is known, 1/s of the target's unit; other targets do not drift."""
BEND_PER_S2 = {"energy_ev": 5e4}

Knots = list[tuple[float, float]]
"""Pairs of a place and a value: linear in the logarithm of the place between them, constant outside."""
Surface = list[tuple[float, Knots]]
"""Pairs of a number of windows and of knots over a window's error bar, in rising order of the number."""
Planes = list[tuple[float, list[float]]]
"""Pairs of a number of windows and of a plane over the estimates: its height in their middle, its slopes."""
_FURTHEST = 2.5
"""A plane goes on so many standard deviations of the calibrating electrons from their middle."""


@dataclass(frozen=True)
class Combination:
    """What is assumed of windows: drifts, common errors, biases, and the factors that make combined error bars honest.

    drift_per_s: mean and standard deviation of a target's slope along tracks, 1/s of its unit; targets that are not
    named do not drift. bend_per_s2: standard deviation of the slope's change. common_share: by target, knots of ρ, the
    share of a window's variance that all windows of an electron have in common, over a window's error bar. population:
    by target mean and standard deviation of the calibrating electrons' true values. bias: by target, for numbers of
    windows, the plane over all targets' estimates, counted from the mean in standard deviations, that is taken off the
    combined estimate. scale68, scale95: by target, for numbers of windows, knots over a window's error bar of the
    factor of the combined error bar and, on top, of the central 95.45 % (two error bars without). `electrons`: how many
    calibrated it; 0 for the assumptions of the source code (slopes up to what a cavity on resonance radiates, no common
    errors, no biases).
    """

    drift_per_s: dict[str, tuple[float, float]] = field(
        default_factory=lambda: {name: (0.0, std) for name, std in DRIFT_PER_S.items()}
    )
    bend_per_s2: dict[str, float] = field(default_factory=lambda: dict(BEND_PER_S2))
    common_share: dict[str, Knots] = field(default_factory=dict)
    population: dict[str, tuple[float, float]] = field(default_factory=dict)
    bias: dict[str, Planes] = field(default_factory=dict)
    scale68: dict[str, Surface] = field(default_factory=dict)
    scale95: dict[str, Surface] = field(default_factory=dict)
    electrons: int = 0

    def share(self, target: str, window_std: Array) -> Array:
        """Return ρ of a target for electrons whose windows have these error bars, (rows,) each."""
        knots = self.common_share.get(target)
        return between(knots, window_std) if knots else np.zeros(len(window_std))

    def offset(self, target: str, windows: Array, estimates: Array) -> Array:
        """Return the bias of a target's combined estimate for so many windows (rows,), estimates (rows, targets)."""
        planes = self.bias.get(target)
        if not planes:
            return np.zeros(len(estimates))
        numbers = np.log([number for number, _ in planes])
        coefficients = np.stack(
            [np.interp(np.log(windows), numbers, column) for column in np.transpose([plane for _, plane in planes])], 1
        )
        return np.asarray((coefficients * plane_basis(estimates, self.population)).sum(axis=1))

    def scale(self, target: str, windows: Array, window_std: Array) -> Array:
        """Return the factor of a target's combined error bar, (rows,) each."""
        return over(self.scale68.get(target), windows, window_std, 1.0)

    def tail(self, target: str, windows: Array, window_std: Array) -> Array:
        """Return the factor of two error bars that makes them the central 95.45 %, (rows,) each."""
        return over(self.scale95.get(target), windows, window_std, 1.0)

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
            drifts = {name: (float(mean), float(std)) for name, (mean, std) in stored.pop("drift_per_s").items()}
            shares = {name: _knots(knots) for name, knots in stored.pop("common_share").items()}
            population = {name: (float(mean), float(std)) for name, (mean, std) in stored.pop("population").items()}
            bias = {
                name: [(float(n), [float(value) for value in plane]) for n, plane in planes]
                for name, planes in stored.pop("bias").items()
            }
            return cls(
                drift_per_s=drifts,
                common_share=shares,
                population=population,
                bias=bias,
                scale68=_surfaces(stored.pop("scale68")),
                scale95=_surfaces(stored.pop("scale95")),
                **stored,
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(
                f"{path} is no calibration of windows of this version ({error}): remove it, or write it again with "
                "`python cli.py test --windows`"
            ) from error


def _surfaces(stored: dict[str, Any]) -> dict[str, Surface]:
    return {name: [(float(number), _knots(knots)) for number, knots in rows] for name, rows in stored.items()}


def _knots(stored: list[list[float]]) -> Knots:
    return [(float(at), float(value)) for at, value in stored]


def plane_basis(estimates: Array, population: Mapping[str, tuple[float, float]]) -> Array:
    """Return 1 and the estimates in standard deviations of a population, (rows, 1 + targets), no further than 2.5."""
    mean, std = np.transpose(list(population.values()))
    away = np.nan_to_num(np.clip((estimates - mean) / std, -_FURTHEST, _FURTHEST))
    return np.concatenate([np.ones((len(estimates), 1)), away], axis=1)


def between(knots: Knots, at: Array) -> Array:
    """Return values at places, linear in the logarithm between the knots, constant outside."""
    places, values = np.transpose(knots)
    return np.asarray(np.interp(np.log(at), np.log(places), values))


def over(surface: Surface | None, windows: Array, window_std: Array, otherwise: float) -> Array:
    """Return values for numbers of windows and error bars of windows, (rows,) each, linear in both logarithms."""
    if not surface:
        return np.full(len(windows), otherwise)
    place = np.log(np.maximum(windows, 1.0))
    numbers = np.log([number for number, _ in surface])
    values = np.stack([between(knots, window_std) for _, knots in surface])
    right = np.clip(np.searchsorted(numbers, place), 1, max(len(numbers) - 1, 1))
    if len(numbers) == 1:
        return values[0]
    left, rows = right - 1, np.arange(len(place))
    share = np.clip((place - numbers[left]) / (numbers[right] - numbers[left]), 0.0, 1.0)
    return np.asarray((1 - share) * values[left, rows] + share * values[right, rows])
