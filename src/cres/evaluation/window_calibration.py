"""What combining windows assumes, measured on tracks of known start values: slopes, biases, factors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cres.errors import UserError
from cres.evaluation.window_combination import DRIFT_PER_S, Combination, Laws
from cres.evaluation.window_features import basis_of, quantile_fit, robust_fit, scale_of
from cres.evaluation.window_fit import blocks_of, early_features
from cres.evaluation.windows import N_WINDOWS, WINDOW, WINDOW_SPREAD, combine_windows
from reconstruction.judging.measures.metrics import sigma68
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.levels import CENTRAL_68, CENTRAL_95

FEWEST_TRACKS = 50
"""Electrons that a calibration of the combination needs."""
_PER_TERM = 20
"""Electrons for each coefficient of a slope."""
_PER_QUANTILE = 50
"""Electrons for each coefficient of a factor: quantiles ask for more."""
_NARROWEST = 0.02
"""A slope's prior is at least so wide, in what is assumed where nothing is known."""


def fit_combination(windows: PredictionTable) -> Combination:
    """Return the combination calibrated on electrons with truth: slopes, biases, factors.

    Slopes are foretold by a quadratic in estimates and spreads of the first windows; the prior is as wide as what that
    leaves. The bias, for 2, 4, 8, … windows, is a plane over the targets, fitted to the residuals so that outliers
    hardly count. Factors, for the same numbers and as a parabola in the logarithm of the windows' spread, are those of
    quantile regressions: 68.27 % of the truths lie within one error bar, 95.45 % within the wide interval, among
    electrons of narrow, middle and wide spreads alike. Raises UserError with fewer than 50 electrons.
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
    found = replace(_slopes(windows, free), electrons=len(free))
    truth = np.stack([free.truth(name) for name in targets], axis=1)
    found = replace(found, population=dict(zip(targets, scale_of(truth), strict=True)))
    found = replace(found, spread=dict(zip(targets, scale_of(np.log(free.column(WINDOW_SPREAD))), strict=True)))
    # neither biases nor factors so far: what follows is measured on these
    tables = {count: combine_windows(windows, found, first=count) for count in _counts(windows)}
    found = replace(found, bias=_planes(tables, found))
    found = replace(found, factor68=_factors(tables, found, CENTRAL_68, 1.0))
    return replace(found, factor95=_factors(tables, found, CENTRAL_95, 2.0))


def _slopes(windows: PredictionTable, free: PredictionTable) -> Combination:
    """Return a combination of priors of the slopes, from electrons that were combined with what nothing is known of."""
    early = np.concatenate([early_features(block) for block in blocks_of(windows)])
    scale = scale_of(early)
    basis = basis_of(early, scale)
    basis = basis[:, : None if len(early) >= _PER_TERM * basis.shape[1] else 1 + early.shape[1]]
    drifts, laws = {}, {}
    for name in free.targets:
        if f"{name}_drift" not in free:
            continue
        slope, std = free.column(f"{name}_drift"), free.column(f"{name}_drift_std")
        middle, assumed = float(np.nanmedian(slope)), DRIFT_PER_S[name]
        law = robust_fit(basis, slope - middle, np.hypot(std, _NARROWEST * assumed))
        variance = sigma68(slope - middle - basis @ law) ** 2 - float(np.nanmedian(std)) ** 2
        drifts[name] = (middle, float(np.clip(np.sqrt(max(variance, 0.0)), _NARROWEST * assumed, assumed)))
        laws[name] = law.tolist()
    return Combination(drift_per_s=drifts, early_features=scale, drift_law=laws)


def _counts(windows: PredictionTable) -> list[int]:
    """Return 2, 4, 8, … and the largest number of windows: where the combination is measured."""
    most = int(windows.column(WINDOW).max()) + 1
    powers = [2**power for power in range(1, most.bit_length()) if 2**power <= most]
    return [count for count in dict.fromkeys([*powers, most]) if count > 1]


def _planes(tables: dict[int, PredictionTable], combination: Combination) -> dict[str, Laws]:
    """Return by target the plane that fits the residuals, for each number of windows.

    Over the true values: over the estimates, which hold the errors, it would pull them to the population's middle.
    """
    names = tuple(combination.population)
    found: dict[str, Laws] = {name: [(1.0, [0.0] * (1 + len(names)))] for name in names}
    for count, together in tables.items():
        truth = np.stack([together.truth(name) for name in names], axis=1)
        basis = basis_of(truth, list(combination.population.values()), 1 + len(names))
        for name, laws in found.items():
            laws.append((float(count), robust_fit(basis, together.residual(name), together.std(name)).tolist()))
    return found


def _factors(
    tables: dict[int, PredictionTable], combination: Combination, probability: float, error_bars: float
) -> dict[str, Laws]:
    """Return by target the logarithms of the factors that make so many error bars hold a share of the truths.

    They go on top of the factors that the combination has. Three coefficients for each number of windows, fewer with
    fewer than 150 electrons; of one window all are zero.
    """
    names = tuple(combination.population)
    found: dict[str, Laws] = {name: [(1.0, [0.0] * 3)] for name in names}
    for count, together in tables.items():
        many = np.maximum(together.column(N_WINDOWS), 1.0)
        estimates = np.stack([together.mean(name) for name in names], axis=1)
        for i, name in enumerate(names):
            spread = np.log(together.column(WINDOW_SPREAD)[:, i])
            residual = together.residual(name) - combination.offset(name, many, estimates)
            pull = np.abs(residual) / (error_bars * together.std(name) * combination.scale(name, many, spread))
            known = np.isfinite(pull)
            terms = int(np.clip(known.sum() // _PER_QUANTILE, 1, 3))
            basis = basis_of(spread[known, None], [combination.spread[name]], terms)
            law = quantile_fit(basis, np.log(np.maximum(pull[known], 1e-12)), probability)
            found[name].append((float(count), [*law.tolist(), *[0.0] * (3 - terms)]))
    return found
