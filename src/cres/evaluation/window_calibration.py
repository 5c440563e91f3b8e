"""What combining windows assumes, measured on tracks of known start values: slopes, common share, biases, factors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from cres.errors import UserError
from cres.evaluation.window_combination import DRIFT_PER_S, Combination, Knots, Planes, Surface, plane_basis
from cres.evaluation.windows import WINDOW, WINDOW_VARIANCE, combine_windows, with_common
from reconstruction.judging.measures.bootstrap import CENTRAL_68, CENTRAL_95, Array
from reconstruction.judging.measures.metrics import sigma68
from reconstruction.judging.tables.table import PredictionTable

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]
Measure = Callable[[Array, Array], float]
"""What residuals and error bars of a group of electrons give."""

FEWEST_TRACKS = 50
"""Electrons that a calibration of the combination needs."""
TRACKS_PER_KNOT = 100
"""Fewer, and the quantiles that the factors are would be noise: so many tell a coverage to 5 %, and knots average."""
MOST_KNOTS = 8
_MOST_COMMON = 25.0
_GROUPS = 3
_ALIKE, _SAME = 1.5, 1.01
_ROUNDS, _FAR = 20, 1.5
_LEVELS = np.array([0.5, 0.6, CENTRAL_68, 0.75, 0.8])


def fit_combination(windows: PredictionTable) -> Combination:
    """Return the combination calibrated on electrons with truth: slopes, common share, biases, factors.

    The slopes' mean and width are those of the electrons themselves. The common share ρ is the one at which pulls with
    all windows are one wide, found in three groups of equal size by the error bar of a window. The bias, for 2, 4, 8, …
    windows, is a plane over the targets, fitted to the residuals so that outliers hardly count. Factors, for the same
    numbers and in groups by the error bar of a window, make 68.27 % of the truths lie within one error bar, 95.45 %
    within the wide interval. Raises UserError with fewer than 50 electrons.
    """
    targets = windows.targets
    missing = [name for name in targets if not windows.has_truth(name)]
    if missing:
        raise UserError(f"windows are calibrated on electrons with known values, but there is no true {missing[0]}")
    free = combine_windows(windows)
    if len(free) < FEWEST_TRACKS:
        raise UserError(
            f"{len(free)} electrons are too few to calibrate combined windows, {FEWEST_TRACKS} are needed: "
            "give --data.fractions a larger validation share, or name more electrons"
        )
    drifts = {name: _population(free, name) for name in targets if f"{name}_drift" in free}
    found = Combination(drift_per_s=drifts, electrons=len(free))
    counts = _counts(windows)
    population = {name: (float(np.nanmean(free.truth(name))), _width(free.truth(name))) for name in targets}
    found = replace(found, population=population)
    found = replace(found, bias=_planes(windows, found, counts))
    together = combine_windows(windows, found)
    shares = {}
    for i, name in enumerate(targets):
        of_windows = together.column(WINDOW_VARIANCE)[:, i]
        shares[name] = _common_shares(together.residual(name), together.std(name) ** 2, of_windows)
    found = replace(found, common_share=shares)
    found = replace(found, scale68=_surfaces(windows, found, counts, _factors68, 1.0))
    return replace(found, scale95=_surfaces(windows, found, counts, _factors95, 1.0))


def _counts(windows: PredictionTable) -> list[int]:
    """Return 2, 4, 8, … and the largest number of windows: where the combination is measured."""
    most = int(windows.column(WINDOW).max()) + 1
    powers = [2**power for power in range(1, most.bit_length()) if 2**power <= most]
    return [count for count in dict.fromkeys([*powers, most]) if count > 1]


def _width(values: Array) -> float:
    """Return the standard deviation, 1 where all are alike."""
    return float(np.nanstd(values)) or 1.0


def _planes(windows: PredictionTable, combination: Combination, counts: list[int]) -> dict[str, Planes]:
    """Return by target the plane that fits the residuals, for each number of windows.

    Over the true values: over the estimates, which hold the errors, it would pull them to the population's middle.
    """
    found: dict[str, Planes] = {name: [(1.0, [0.0] * (1 + len(windows.targets)))] for name in windows.targets}
    for count in counts:
        together = combine_windows(windows, combination, first=count)
        truth = np.stack([together.truth(name) for name in windows.targets], axis=1)
        basis = plane_basis(truth, combination.population)
        for name, planes in found.items():
            planes.append((float(count), _plane(basis, together.residual(name), together.std(name)).tolist()))
    return found


def _plane(basis: Array, residual: Array, std: Array) -> Array:
    """Return coefficients of least squares weighted by 1/σ², by less beyond one and a half widths of the pulls."""
    known = np.isfinite(residual) & np.isfinite(std)
    basis, pull, std = basis[known], residual[known] / std[known], std[known]
    weight = np.ones(len(pull))
    for _ in range(_ROUNDS):
        root = np.sqrt(weight)
        coefficients = np.linalg.lstsq(basis * (root / std)[:, None], pull * root, rcond=None)[0]
        away = np.abs(pull - basis @ coefficients / std)
        weight = np.minimum(1.0, _FAR * np.quantile(away, CENTRAL_68) / np.maximum(away, 1e-300))
    return np.asarray(coefficients)


def _surfaces(
    windows: PredictionTable, combination: Combination, counts: list[int], value: Measure, alone: float
) -> dict[str, Surface]:
    """Return by target what `value` says of groups of electrons for each number of windows; of one window `alone`."""
    found: dict[str, Surface] = {name: [(1.0, [(1.0, alone)])] for name in windows.targets}
    for count in counts:
        together = combine_windows(windows, combination, first=count)
        for i, name in enumerate(windows.targets):
            window_std = np.sqrt(together.column(WINDOW_VARIANCE)[:, i])
            residual, std = together.residual(name), together.std(name)
            knots = [(float(np.median(window_std[group])), value(residual[group], std[group]))
                     for group in _groups(window_std, np.isfinite(residual) & np.isfinite(std))]  # fmt: skip
            found[name].append((float(count), knots))
    return found


def _groups(window_std: Array, known: Mask, per_group: int = TRACKS_PER_KNOT, most: int = MOST_KNOTS) -> list[Rows]:
    """Return the known electrons in groups of equal size by the error bar of a window; those that are alike in one."""
    rows = np.flatnonzero(known)
    ordered = rows[np.argsort(window_std[rows], kind="stable")]
    alike = window_std[ordered[-1]] ** 2 < _ALIKE * window_std[ordered[0]] ** 2
    groups = np.array_split(ordered, 1 if alike else int(np.clip(len(ordered) // per_group, 1, most)))
    merged = groups[:1]
    for group in groups[1:]:
        if np.median(window_std[group]) < _SAME * np.median(window_std[merged[-1]]):
            merged[-1] = np.concatenate([merged[-1], group])
        else:
            merged.append(group)
    return merged


def _factors68(residual: Array, std: Array) -> float:
    """Return the width of the pulls around their central 68 %: five quantiles are steadier than one."""
    return float(np.mean(np.quantile(np.abs(residual) / std, _LEVELS) / norm.ppf((1 + _LEVELS) / 2)))


def _factors95(residual: Array, std: Array) -> float:
    return float(np.quantile(np.abs(residual) / std, CENTRAL_95)) / 2


def _common_shares(residual: Array, variance: Array, window_variance: Array) -> Knots:
    """Return pairs of a window's error bar and ρ, where the width of the pulls of a group is one."""
    known = np.isfinite(residual) & np.isfinite(variance)
    pairs = []
    for group in _groups(np.sqrt(window_variance), known, 1, _GROUPS):
        low, high = 0.0, _MOST_COMMON
        for _ in range(30):
            share = 0.5 * (low + high)
            std = np.sqrt(with_common(variance[group], window_variance[group], share))
            low, high = (share, high) if sigma68(residual[group] / std) > 1 else (low, share)
        pairs.append((float(np.sqrt(np.median(window_variance[group]))), 0.0 if low == 0.0 else high))
    return pairs


def _population(table: PredictionTable, target: str) -> tuple[float, float]:
    """Return mean and standard deviation of the slopes of a population, the errors of the slopes taken off."""
    slope, std = table.column(f"{target}_drift"), table.column(f"{target}_drift_std")
    assumed = DRIFT_PER_S[target]
    variance = sigma68(slope) ** 2 - float(np.median(std)) ** 2
    return float(np.median(slope)), float(np.clip(np.sqrt(max(variance, 0.0)), 0.05 * assumed, assumed))
