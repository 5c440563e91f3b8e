"""The whole posterior that a table holds of each row: distribution functions, draws and densities.

Rows r, targets t. A table without these columns states error bars alone: they are read as a Gaussian, which is said.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from reconstruction import schema
from reconstruction.errors import UserError
from reconstruction.judging.measures.bootstrap import Array
from reconstruction.judging.tables.columns import COVARIANCE
from reconstruction.judging.tables.table import PredictionTable

WHOLE = "the whole posterior"
OF_ERROR_BARS = "a Gaussian of the error bars"


class Posterior(ABC):
    """What is known of the targets of each row; `source` says where it comes from, in words."""

    source: str

    @abstractmethod
    def cdf(self, values: Array) -> Array:
        """Return the probability below `values` (r, t), target by target; NaN where nothing is stated."""

    @abstractmethod
    def draws(self, count: int, random: np.random.Generator) -> Array:
        """Return draws (r, count, t); NaN where nothing is stated."""


@dataclass(frozen=True, eq=False)
class Mixture(Posterior):
    """Mixtures of k Gaussians: weights (r, k), means (r, k, t), lower Cholesky factors (r, k, t, t)."""

    weights: Array
    means: Array
    choleskys: Array
    source: str = WHOLE

    @property
    def widths(self) -> Array:
        """Standard deviation of each component in each target, (r, k, t)."""
        return np.linalg.norm(self.choleskys, axis=-1)

    def cdf(self, values: Array) -> Array:
        """Return Σ_k w_k Φ((x − μ_k)/σ_k) of each target's marginal, (r, t)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            below = ndtr((np.asarray(values)[:, None, :] - self.means) / self.widths)
        return np.einsum("rk,rkt->rt", self.weights, below)

    def draws(self, count: int, random: np.random.Generator) -> Array:
        """Return draws of the joint distribution, (r, count, t)."""
        rows = np.arange(len(self.weights))[:, None]
        ladder = np.cumsum(self.weights, axis=1)
        uniform = random.uniform(size=(len(ladder), count)) * ladder[:, -1:]
        chosen = (uniform[:, :, None] >= ladder[:, None, :-1]).sum(axis=2)
        normal = random.standard_normal((*chosen.shape, self.means.shape[-1]))
        return self.means[rows, chosen] + np.einsum("rcij,rcj->rci", self.choleskys[rows, chosen], normal)


@dataclass(frozen=True, eq=False)
class QuantileFunction(Posterior):
    """Quantiles of each target: levels (r, q), rising, and values (r, t, q); between them the function is linear."""

    levels: Array
    values: Array
    source: str = "the quantiles of each target, read as independent"

    def cdf(self, values: Array) -> Array:
        """Return the level of each value, (r, t); the outermost levels hold beyond the outermost quantiles."""
        found = np.full(np.shape(values), np.nan)
        for row, target in np.ndindex(*found.shape):
            known = self.values[row, target]
            if np.isfinite(known).all() and np.isfinite(values[row, target]):
                found[row, target] = np.interp(values[row, target], known, self.levels[row])
        return found

    def draws(self, count: int, random: np.random.Generator) -> Array:
        """Return draws of each target by itself, (r, count, t)."""
        rows, targets = self.values.shape[:2]
        uniform = random.uniform(size=(rows, count, targets))
        drawn = np.empty_like(uniform)
        for row, target in np.ndindex(rows, targets):
            drawn[row, :, target] = np.interp(uniform[row, :, target], self.levels[row], self.values[row, target])
        return drawn


def posterior_of(table: PredictionTable) -> Posterior | None:
    """Return the posterior of a table, that of its error bars where it holds no more, or None without uncertainties.

    Raises UserError for posterior columns whose shapes do not fit the targets.
    """
    columns, count = table.columns, len(table.targets)
    if all(name in columns for name in schema.POSTERIOR_COLUMNS[:3]):
        weight, mean, cholesky = (columns[name] for name in schema.POSTERIOR_COLUMNS[:3])
        components = weight.shape[1] if weight.ndim == 2 else 0
        _require(mean.shape[1:] == (components, count), schema.POSTERIOR_MEAN, mean)
        _require(cholesky.shape[1:] == (components, count, count), schema.POSTERIOR_CHOLESKY, cholesky)
        return Mixture(weight, mean, cholesky)
    if all(name in columns for name in schema.POSTERIOR_COLUMNS[3:]):
        level, quantile = (columns[name] for name in schema.POSTERIOR_COLUMNS[3:])
        _require(level.ndim == 2 and quantile.shape[1:] == (count, level.shape[1]), schema.POSTERIOR_QUANTILE, quantile)
        return QuantileFunction(level, quantile)
    return _of_error_bars(table)


def _of_error_bars(table: PredictionTable) -> Mixture | None:
    if not any(map(table.has_std, table.targets)):
        return None
    nothing = np.full(len(table), np.nan)
    std = np.stack([table.std(target) if table.has_std(target) else nothing for target in table.targets], axis=1)
    std = np.where(np.isfinite(std) & (std > 0), std, np.nan)
    mean = np.stack([table.mean(target) for target in table.targets], axis=1)
    weights = np.ones((len(table), 1))
    return Mixture(weights, mean[:, None], (std[:, :, None] * _correlation_factor(table, std))[:, None], OF_ERROR_BARS)


def _correlation_factor(table: PredictionTable, std: Array) -> Array:
    """Return the Cholesky factors of the correlations, (r, t, t); the unit where none are stated or can be taken."""
    unit = np.broadcast_to(np.eye(std.shape[1]), (len(std), std.shape[1], std.shape[1])).copy()
    if COVARIANCE not in table:
        return unit
    covariance = table.column(COVARIANCE)
    own = np.sqrt(np.maximum(np.diagonal(covariance, axis1=1, axis2=2), 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = covariance / (own[:, :, None] * own[:, None, :])
    usable = np.isfinite(correlation).all(axis=(1, 2))
    usable[usable] = np.linalg.eigvalsh(correlation[usable])[:, 0] > 1e-12
    unit[usable] = np.linalg.cholesky(correlation[usable])
    return unit


def _require(fits: bool, name: str, values: Array) -> None:
    if not fits:
        raise UserError(f"the column {name!r} has shape {values.shape}, which does not fit the table's targets")
