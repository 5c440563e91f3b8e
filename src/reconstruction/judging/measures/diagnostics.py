"""Is the whole posterior right? Simulation-based calibration, TARP, and coverage at every level, also part by part.

A posterior may cover 68.27 % with one error bar and be wrong elsewhere, in its tails or in how the targets go together.
Where u is the posterior's probability below the truth, u of many rows is uniform if the posterior is right: the
limit of the ranks of simulation-based calibration, Talts et al. 2018, arXiv:1804.06788. TARP, Lemos et al. 2023,
arXiv:2302.03026, asks the same of the probability of a ball around a random point, which all targets form together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kstwo

from reconstruction.errors import UserError
from reconstruction.judging.measures.bootstrap import Array
from reconstruction.judging.measures.posterior import OF_ERROR_BARS, Posterior, posterior_of
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.levels import CENTRAL_68, CENTRAL_95

FEWEST = 50
"""Below this number of rows nothing is said."""

TOLERANCE = 0.02
"""Largest distance between the distribution of u and the uniform one that does not matter in practice."""

SIGNIFICANCE = 0.0027
"""Probability that a right posterior is called wrong, where chance and not the tolerance decides: three σ."""

LEVELS = (0.5, CENTRAL_68, 0.9, CENTRAL_95)
DRAWS = 256
_PARTS = 4


@dataclass(frozen=True)
class Uniformity:
    """How far values that ought to be uniform on (0, 1) are from it, by Kolmogorov and Smirnov.

    distance: largest |F(u) − u|; p_value: the chance of as large a one from `count` uniform values; limit: the
    distance from which `passed` is False; `passed` is None for fewer than 50 values.
    """

    distance: float
    p_value: float
    limit: float
    count: int

    @property
    def passed(self) -> bool | None:
        """Whether the values may be uniform, or differ by nothing that matters."""
        return None if self.count < FEWEST else self.distance <= self.limit


def uniformity(values: Array) -> Uniformity:
    """Return the distance of values (n,) from the uniform distribution; NaN entries are left out."""
    ordered = np.sort(np.asarray(values, np.float64)[np.isfinite(values)])
    count = len(ordered)
    if not count:
        return Uniformity(float("nan"), float("nan"), float("nan"), 0)
    steps = np.arange(count + 1) / count
    distance = float(max(np.max(steps[1:] - ordered), np.max(ordered - steps[:-1])))
    limit = max(TOLERANCE, float(kstwo.isf(SIGNIFICANCE, count)))
    return Uniformity(distance, float(kstwo.sf(distance, count)), limit, count)


def rank_fractions(table: PredictionTable, target: str) -> Array:
    """Return u of each row, (rows,): the stated probability that the target lies below its true value.

    NaN where the estimate failed. Raises UserError without truth or without uncertainties.
    """
    posterior = _stated_posterior(table, (target,))
    return posterior.cdf(_truth(table, posterior))[:, table.targets.index(target)]


def sbc_ranks(table: PredictionTable, target: str, draws: int = 99, seed: int = 0) -> NDArray[np.int64]:
    """Return how many of so many posterior draws lie below the truth, (rows,): uniform on 0 … draws if it is right.

    The statistic of Talts et al. 2018, theorem 1; over draws it is `rank_fractions` with the draws' own scatter.
    Rows whose estimate failed have −1. Raises UserError without truth or without uncertainties.
    """
    posterior = _stated_posterior(table, (target,))
    place, truth = table.targets.index(target), table.truth(target)
    drawn = posterior.draws(draws, np.random.default_rng(seed))[:, :, place]
    usable = np.isfinite(drawn).all(axis=1) & np.isfinite(truth)
    return np.where(usable, (drawn < truth[:, None]).sum(axis=1), -1)


def tarp_fractions(table: PredictionTable, *, anchors: Array | None = None, draws: int = DRAWS, seed: int = 0) -> Array:
    """Return f of each row, (rows,): the stated probability of being nearer to a random point than the truth is.

    Uniform if the posterior of all targets together is right (Lemos et al. 2023, theorem 2; f is 1 − credibility of
    the region that leaves the truth out). Distances are Euclidean, each target in units of its typical error bar; the
    random point is the anchor plus the sizes of unit Gaussians in these units. anchors: (rows, targets), any function
    of what was *measured*: the table's own estimates where none are given. A posterior that ignores the record, the
    prior itself, passes with anchors that ignore it too; the estimates of another estimator show it (their section 4).
    NaN where the estimate failed. Raises UserError without truth or uncertainties, and for anchors of another shape.
    """
    posterior = _stated_posterior(table, table.targets)
    truth = _truth(table, posterior)
    own = estimates_of(table, table.targets)
    start = own if anchors is None else np.asarray(anchors, np.float64)
    if start.shape != own.shape:
        raise UserError(f"anchors have shape {start.shape}, but one point of {own.shape[1]} targets a row is wanted")
    random = np.random.default_rng(seed)
    drawn = posterior.draws(draws, random)
    scale = _typical_widths(drawn)
    # all to one side: towards and away would cancel, and hide a bias
    point = start + scale * np.abs(random.standard_normal(own.shape))
    nearer = np.linalg.norm((drawn - point[:, None]) / scale, axis=2)
    reach = np.linalg.norm((truth - point) / scale, axis=1)
    # a uniform number among the draws makes f uniform whatever their number
    fraction = ((nearer < reach[:, None]).sum(axis=1) + random.uniform(size=len(own))) / (draws + 1)
    usable = np.isfinite(nearer).all(axis=1) & np.isfinite(reach)
    return np.where(usable, fraction, np.nan)


def sharpest(tables: Sequence[PredictionTable], targets: Sequence[str]) -> PredictionTable | None:
    """Return the table whose errors of the first target are smallest; its estimates are anchors for `tarp_fractions`.

    None where no table estimates all of the targets and knows their truth.
    """
    able = [table for table in tables if all(t in table.targets and table.has_truth(t) for t in targets)]
    if not able:
        return None
    return min(able, key=lambda table: float(np.nanmedian(np.abs(table.residual(targets[0])))))


def estimates_of(table: PredictionTable, targets: Sequence[str]) -> Array:
    """Return the estimates of some targets, (rows, targets)."""
    return np.stack([table.mean(target) for target in targets], axis=1)


def coverage_at_levels(fractions: Array, levels: Array) -> tuple[Array, Array]:
    """Return how often the central interval of each level holds the truth, and its binomial standard error, (levels,).

    fractions: u of each row, from `rank_fractions`; NaN is left out.
    """
    levels = np.asarray(levels, np.float64)
    needed = np.sort(np.abs(2 * fractions[np.isfinite(fractions)] - 1))
    if not len(needed):
        return np.full(len(levels), np.nan), np.full(len(levels), np.nan)
    observed = np.searchsorted(needed, levels, side="right") / len(needed)
    return observed, np.sqrt(levels * (1 - levels) / len(needed))


def parts_of(covariate: Array, fractions: Array, parts: int = _PARTS) -> list[tuple[float, float, Array]]:
    """Return (low, high, u) of parts of equal count by a covariate (rows,), such as an estimated energy.

    Parts by what was *measured* leave a right posterior right; parts by the truth cut its scatter off at their ends.
    """
    usable = np.isfinite(covariate) & np.isfinite(fractions)
    order = np.argsort(covariate[usable], kind="stable")
    x, u = covariate[usable][order], fractions[usable][order]
    pieces = np.array_split(np.arange(len(x)), max(1, min(parts, len(x) // FEWEST)))
    return [(float(x[piece[0]]), float(x[piece[-1]]), u[piece]) for piece in pieces if len(piece)]


def shape_in_words(fractions: Array) -> str:
    """Return what the distribution of u looks like, in words: which way it leaves the uniform one most."""
    u = fractions[np.isfinite(fractions)]
    slope, bend = float(np.mean(u)) - 0.5, float(np.mean(np.abs(u - 0.5))) - 0.25
    # in units of what a uniform sample scatters: both have the variances of uniform numbers
    if abs(slope) * np.sqrt(12) >= abs(bend) * np.sqrt(48):
        return "truths lie too high" if slope > 0 else "truths lie too low"
    return "truths too often in the tails" if bend > 0 else "truths too often in the middle"


def _stated_posterior(table: PredictionTable, targets: Sequence[str]) -> Posterior:
    for target in targets:
        if not table.has_truth(target):
            raise UserError(f"{table.estimator!r} has no true {target}: its posterior cannot be judged")
    posterior = posterior_of(table)
    if posterior is None or (posterior.source == OF_ERROR_BARS and not all(map(table.has_std, targets))):
        raise UserError(f"{table.estimator!r} states no uncertainty of {', '.join(targets)}: there is nothing to judge")
    return posterior


def _truth(table: PredictionTable, posterior: Posterior) -> Array:
    """Return the truth (rows, targets), NaN for a target without."""
    nothing = np.full(len(table), np.nan)
    return np.stack([table.truth(t) if table.has_truth(t) else nothing for t in table.targets], axis=1)


def _typical_widths(drawn: Array) -> Array:
    """Return the median over rows of half the central 68.27 % of draws (r, count, t), (t,); 1 where none is."""
    low, high = np.quantile(drawn, (0.5 - CENTRAL_68 / 2, 0.5 + CENTRAL_68 / 2), axis=1)
    width = (high - low) / 2
    usable = np.where(np.isfinite(width) & (width > 0), width, np.nan)
    return np.array([np.nanmedian(of_one) if np.isfinite(of_one).any() else 1.0 for of_one in usable.T])
