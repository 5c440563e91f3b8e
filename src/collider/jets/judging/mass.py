"""How well the mass of the particle-level jet is known: response by pT, beside the plain sum of the four-vectors."""

from __future__ import annotations

from dataclasses import dataclass
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


def mass_figures(table: PredictionTable, bins: int = 2, seed: int = 0) -> list[MassFigures]:
    """Return figures of a table and of the plain sum of the same jets, of all and in bins of pT with equal numbers.

    Raises UserError for a table without masses, truths or the columns of the sum.
    """
    if TRUE_MASS not in table.targets or not table.has_truth(TRUE_MASS):
        raise UserError(f"the table of {table.estimator!r} has no masses of jets with their truth ({TRUE_MASS})")
    truth, estimate = table.truth(TRUE_MASS), table.mean(TRUE_MASS)
    std = table.std(TRUE_MASS) if table.has_std(TRUE_MASS) else None
    kept = truth >= LEAST_MASS_GEV
    pt, plain = table.column("jet_pt"), table.column(MASS)
    if kept.sum() < FEWEST:
        raise UserError(f"{int(kept.sum())} jets of {LEAST_MASS_GEV:g} GeV or more are too few ({FEWEST} are needed)")
    edges = np.quantile(pt[kept], np.linspace(0, 1, bins + 1))
    ranges = [(edges[0], edges[-1]), *pairwise(edges)]
    found = []
    for low, high in ranges if bins > 1 else ranges[:1]:
        rows = kept & (pt >= low) & (pt <= high)
        for name, mass, error in ((table.estimator, estimate, std), (SUM, plain, None)):
            figures = _figures(mass[rows], truth[rows], None if error is None else error[rows], seed)
            found.append(MassFigures(name, (float(low), float(high)), int(rows.sum()), *figures))
    return found


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
