"""How well the mass of the particle-level jet is known: response by pT, beside the plain sum of the four-vectors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Final

import numpy as np

from collider.jets.schema import MASS, TRUE_MASS
from reconstruction.errors import UserError
from reconstruction.judging.measures.bootstrap import Array, Figure, Sample, bootstrapped
from reconstruction.judging.tables.table import PredictionTable

RESAMPLES: Final = 400
LEAST_MASS_GEV: Final = 10.0
"""Lighter jets are left out: their mass is of a few soft particles, and its ratio says little."""
FEWEST: Final = 50
JETS_IN_A_BIN: Final = 150
MOST_BINS: Final = 5
SUM: Final = "plain sum"


@dataclass(frozen=True)
class MassFigures:
    """Median of estimate over truth, half the central 68.27 % of it over the median, and coverage of error bars."""

    name: str
    pt_gev: tuple[float, float]
    jets: int
    response: Figure
    width: Figure
    coverage: Figure | None


@dataclass(frozen=True)
class WeighedJets:
    """Masses of the jets of a table that are judged, (jet,): of the particle-level jet, told, and of the plain sum."""

    truth: Array
    told: Array
    std: Array | None
    plain: Array
    pt_gev: Array


def weighed_jets(table: PredictionTable) -> WeighedJets:
    """Return the jets of LEAST_MASS_GEV or more that have an estimate.

    Raises UserError for a table without masses, truths or the columns of the sum, and where they are too few.
    """
    if TRUE_MASS not in table.targets or not table.has_truth(TRUE_MASS):
        raise UserError(f"the table of {table.estimator!r} has no masses of jets with their truth ({TRUE_MASS})")
    truth, told = table.truth(TRUE_MASS), table.mean(TRUE_MASS)
    kept = (truth >= LEAST_MASS_GEV) & np.isfinite(told)
    if kept.sum() < FEWEST:
        raise UserError(f"{int(kept.sum())} jets of {LEAST_MASS_GEV:g} GeV or more are too few ({FEWEST} are needed)")
    std = table.std(TRUE_MASS)[kept] if table.has_std(TRUE_MASS) else None
    return WeighedJets(truth[kept], told[kept], std, table.column(MASS)[kept], table.column("jet_pt")[kept])


def mass_figures(table: PredictionTable, bins: int | None = None, seed: int = 0) -> list[MassFigures]:
    """Return figures of a table and of the plain sum of the same jets, of all and in bins of pT with equal numbers.

    bins: how many; where it is not given as many as have JETS_IN_A_BIN, MOST_BINS at most. Raises as `weighed_jets`.
    """
    jets = weighed_jets(table)
    bins = int(np.clip(len(jets.truth) // JETS_IN_A_BIN, 1, MOST_BINS)) if bins is None else bins
    edges = np.quantile(jets.pt_gev, np.linspace(0, 1, bins + 1))
    ranges = [(edges[0], edges[-1]), *pairwise(edges)]
    found = []
    for low, high in ranges if bins > 1 else ranges[:1]:
        rows = (jets.pt_gev >= low) & (jets.pt_gev <= high)
        for name, mass, std in ((table.estimator, jets.told, jets.std), (SUM, jets.plain, None)):
            figures = _figures(mass[rows], jets.truth[rows], None if std is None else std[rows], seed)
            found.append(MassFigures(name, (float(low), float(high)), int(rows.sum()), *figures))
    return found


def regression_figures(table: PredictionTable, seed: int = 0) -> dict[str, dict[str, Figure]]:
    """Return R², MAE, MSE and relative resolution of a table and of the plain sum, by name: as others state them.

    R² = 1 − Σ(m − t)²/Σ(t − t̄)²; mae_gev, mse_gev2; relative_resolution is the standard deviation of m/t. All of them
    follow the tails: of a jet whose mass is misjudged by far they say more than the median and the width do.
    """
    jets = weighed_jets(table)
    return {
        name: bootstrapped(partial(_regression, mass, jets.truth), len(jets.truth), RESAMPLES, seed)
        for name, mass in ((table.estimator, jets.told), (SUM, jets.plain))
    }


def _regression(mass: Array, truth: Array, weights: Array) -> dict[str, Array]:
    total = weights.sum(axis=1)

    def mean(values: Array) -> Array:
        return np.asarray(weights @ values / total)

    error, ratio = mass - truth, mass / truth
    mse = mean(error**2)
    return {
        "r2": 1 - mse / (mean(truth**2) - mean(truth) ** 2),
        "mae_gev": mean(np.abs(error)),
        "mse_gev2": mse,
        "relative_resolution": np.sqrt(np.maximum(mean(ratio**2) - mean(ratio) ** 2, 0)),
    }


def _figures(mass: Array, truth: Array, std: Array | None, seed: int) -> tuple[Figure, Figure, Figure | None]:
    ratio = mass / truth
    within = None if std is None else (np.abs(mass - truth) <= std).astype(np.float64)

    def statistics(weights: Array) -> dict[str, Array]:
        sample = Sample(ratio, weights)
        middle = sample.quantile(0.5)
        found = {"response": middle, "width": sample.sigma68() / middle}
        return found if within is None else found | {"coverage": weights @ within / weights.sum(axis=1)}

    figures = bootstrapped(statistics, len(ratio), RESAMPLES, seed)
    return figures["response"], figures["width"], figures.get("coverage")
