"""Quadratics in what the windows of an electron say of it: estimates and stated spreads.

How well an electron is resolved is not known, but the spreads that its windows state tell: strong sidebands make narrow
spreads, and come with much radiated power. What depends on the electron (slopes, biases, factors) is a quadratic in
such features, counted in standard deviations of the calibrating electrons.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np
from scipy.optimize import linprog

from reconstruction.judging.measures.bootstrap import Array
from reconstruction.levels import CENTRAL_68

Scale = Sequence[tuple[float, float]]
"""Mean and standard deviation of each feature among the calibrating electrons."""
_FURTHEST = 2.5
"""A quadratic goes on so many standard deviations from the middle, and is constant beyond."""
_ROUNDS, _FAR = 20, 1.5


def scale_of(features: Array) -> list[tuple[float, float]]:
    """Return mean and standard deviation of the columns of features (rows, n), 1 where all are alike."""
    return [(float(np.nanmean(column)), float(np.nanstd(column)) or 1.0) for column in features.T]


def basis_of(features: Array, scale: Scale, terms: int | None = None) -> Array:
    """Return 1, the features (rows, n) in their scale and the products of two, (rows, terms), as many as there are.

    1 + n terms leave the products out.
    """
    mean, std = np.transpose(list(scale))
    away = np.nan_to_num(np.clip((features - mean) / std, -_FURTHEST, _FURTHEST))
    products = [away[:, i] * away[:, j] for i, j in combinations_with_replacement(range(away.shape[1]), 2)]
    return np.stack([np.ones(len(away)), *away.T, *products], axis=1)[:, :terms]


def robust_fit(basis: Array, values: Array, std: Array) -> Array:
    """Return coefficients (terms,) of least squares weighted by 1/σ², by less where pulls are far.

    Far is more than one and a half widths of the pulls. basis (rows, terms); values and std (rows,); rows that are not
    finite are left out.
    """
    known = np.isfinite(values) & np.isfinite(std)
    basis, pull, std = basis[known], values[known] / std[known], std[known]
    weight = np.ones(len(pull))
    for _ in range(_ROUNDS):
        root = np.sqrt(weight)
        coefficients = np.linalg.lstsq(basis * (root / std)[:, None], pull * root, rcond=None)[0]
        away = np.abs(pull - basis @ coefficients / std)
        weight = np.minimum(1.0, _FAR * np.quantile(away, CENTRAL_68) / np.maximum(away, 1e-300))
    return np.asarray(coefficients)


def quantile_fit(basis: Array, values: Array, probability: float) -> Array:
    """Return coefficients (terms,) of the quantile of values (rows,): a share `probability` of them lies below.

    Quantile regression by linear programming (Koenker and Bassett, Econometrica 46 (1978) 33), solved as its dual:
    maximise Σ yᵢ aᵢ with 0 ≤ aᵢ ≤ 1 and Bᵀa = (1 − p) Bᵀ1. Columns that the ones before determine get zero.
    """
    terms = basis.shape[1]
    while terms > 1 and np.linalg.matrix_rank(basis[:, :terms]) < terms:
        terms -= 1
    used = basis[:, :terms]
    dual = linprog(-values, A_eq=used.T, b_eq=(1 - probability) * used.sum(axis=0), bounds=(0, 1), method="highs")
    return np.concatenate([-dual.eqlin.marginals, np.zeros(basis.shape[1] - terms)])
