"""Weighted samples as the columns of a predictions table, so that every report and every fit reads them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cres import schema
from cres.estimation.estimates import Estimated
from cres.evaluation.weighted import VALUES, WeightedSamples
from reconstruction.levels import ENDS_68, ENDS_95

Array = NDArray[np.float64]

_LOW = (0.005, 0.01, ENDS_95[0], 0.05, 0.1, ENDS_68[0], 0.2, 0.3, 0.4)
LEVELS = (*_LOW, 0.5, *(1 - level for level in reversed(_LOW)))
EFFECTIVE, EVIDENCE, FEW = "effective_samples", "log_evidence", "too_few_samples"


def weighted_estimates(samples: WeightedSamples) -> Estimated:
    """Return median, error bar (half the central 68.27 %), central 95.45 %, spread and quantiles of each quantity.

    Flag `too_few_samples`: fewer effective ones than stand for a posterior.
    """
    quantiles = np.stack([samples.quantiles(name, LEVELS) for name in VALUES], axis=1)
    at = {level: quantiles[:, :, i] for i, level in enumerate(LEVELS)}
    std = (at[LEVELS[-1 - LEVELS.index(ENDS_68[0])]] - at[ENDS_68[0]]) / 2
    covariance = _covariance(samples)
    spread = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(spread > 0, std / spread, 1.0)
    names = schema.TRUTH_COLUMNS
    extra = {
        **{schema.spread_name(name): spread[:, i] for i, name in enumerate(names)},
        schema.POSTERIOR_LEVEL: np.broadcast_to(LEVELS, (len(samples), len(LEVELS))).copy(),
        schema.POSTERIOR_QUANTILE: quantiles,
        EFFECTIVE: samples.effective_samples,
        EVIDENCE: samples.log_evidence,
        FEW: samples.too_few,
    }
    for i, name in enumerate(names):
        low, high = schema.interval95_names(name)
        extra |= {low: at[ENDS_95[0]][:, i], high: at[LEVELS[-1 - LEVELS.index(ENDS_95[0])]][:, i]}
    return Estimated(
        {name: at[0.5][:, i] for i, name in enumerate(names)},
        {name: std[:, i] for i, name in enumerate(names)},
        extra,
        covariance * scale[:, :, None] * scale[:, None, :],
    )


def _covariance(samples: WeightedSamples) -> Array:
    """Return the covariances (e, 3, 3) of all samples with their weights."""
    points = np.stack([samples.values[name] for name in VALUES], axis=2)
    apart = points - np.einsum("en,env->ev", samples.weights, points)[:, None]
    return np.asarray(np.einsum("en,enu,env->euv", samples.weights, apart, apart))
