"""What a resolution and a calibration are, in numbers, each with a paired bootstrap interval.

Every metric is defined once, in `METRICS`, with the sentence that the report prints.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from reconstruction import schema
from reconstruction.judging.measures.bootstrap import Array, Figure, Sample, bootstrapped
from reconstruction.judging.tables.judged import goal_of, judged, unit_of
from reconstruction.judging.tables.table import PredictionTable

TAIL_CORES = 5.0
"""Residuals beyond this many core widths are tails."""

MEDIAN_OF_ABSOLUTE_GAUSSIAN = 0.674489750196082
DEFAULT_RESAMPLES = 400


@dataclass(frozen=True)
class Metric:
    """A figure of the tables: `unit` is "target" for the target's own unit, "%" for fractions, or as printed."""

    name: str
    label: str
    unit: str
    meaning: str


METRICS = (
    Metric("sigma68", "σ68", "target", "Half the width of the central 68.27 % of the residual: the resolution."),
    Metric("bound_ratio", "over bound", "", "Median of |residual|/bound, over 0.6745; 1 reaches the Cramér–Rao bound."),
    Metric("bias", "bias", "target", "Median of estimate minus truth; good is zero within its interval."),
    Metric("coverage1", "1σ coverage", "%", "How often the stated 1σ interval holds the truth; 68.3 % is honest."),
    Metric("near_fraction", "near", "%", "Fraction of all {rows}, failed fits included, within {near} of the truth."),
    Metric("goal_fraction", "at goal", "%", "Largest share, best stated first, whose residual is {rms} rms."),
    Metric("tail_fraction", "tails", "%", "Fraction of residuals beyond 5 core σ; a Gaussian has none."),
    Metric("core_sigma", "core σ", "target", "Gaussian fitted within ±2 of its own σ, iterated: without tails."),
    Metric("rms", "rms", "target", "Root mean square of the residual, tails included."),
    Metric("coverage2", "2σ coverage", "%", "How often the stated 95.4 % interval holds the truth; 95.4 % is honest."),
    Metric("pull_width", "pull width", "", "σ68 of residual over stated σ; 1 where error bars are honest."),
    Metric("pull_rms", "raw pull width", "", "Standard deviation of the pulls, tails included; 1 without outliers."),
    Metric("pull_bias", "pull bias", "", "Median pull; good is zero within its interval."),
    Metric("nll", "NLL", "nats", "Mean −log of the stated density (else a Gaussian's) at the truth; lower is better."),
    Metric("bound_sigma68", "σ68 over bound", "", "σ68 of residual over bound, {row} by {row}; 1 is perfect."),
    Metric("bound_rms", "rms over bound", "", "Root mean square of residual over bound, tails included; 1 is perfect."),
)  # fmt: skip

CLASS_METRICS = (
    Metric("accuracy", "accuracy", "%", "How often the most probable class is the true one."),
    Metric("auc", "AUC", "", "Chance that one of a class is given more of it than one of the others; 0.5 is a guess."),
    Metric("log_loss", "log loss", "nats", "Mean −log of the stated probability of the true class; lower is better."),
    Metric("ece", "calibration error", "%", "Mean distance of stated probability and frequency, in 15 bins (ECE)."),
    Metric("ece_chance", "of that by chance", "%", "What the calibration error of right probabilities would be."),
    Metric("overconfidence", "over-confidence", "%", "Stated probability to be right minus accuracy; zero is honest."),
)  # fmt: skip
"""Figures of tables that tell classes apart: `separation` computes them."""


def label_of(entry: Metric, target: str | None = None) -> str:
    """Return how a metric is headed: what depends on a goal says it (within 3 eV, at 0.3 eV rms)."""
    goal = goal_of(target) if target is not None else next(iter(judged().judging.goals.values()), None)
    if goal is None or entry.name not in ("near_fraction", "goal_fraction"):
        return entry.label
    unit = unit_of(target or next(iter(judged().judging.goals)))
    return f"within {goal.near:g} {unit}" if entry.name == "near_fraction" else f"at {goal.rms:g} {unit} rms"


def meaning_of(entry: Metric) -> str:
    """Return what a metric is, a sentence, with the goals and the nouns of the system that is judged."""
    goals = judged().judging.goals
    near, rms = (
        "; ".join(f"{getattr(goal, kind):g} {unit_of(target)}" for target, goal in goals.items())
        for kind in ("near", "rms")
    )
    return entry.meaning.format(row=judged().noun, rows=judged().nouns, near=near or "a distance", rms=rms or "a goal")


def metric(name: str) -> Metric:
    """Return the definition of a metric."""
    return next(entry for entry in (*METRICS, *CLASS_METRICS) if entry.name == name)


def sigma68(residual: Array) -> float:
    """Return half the width of the central 68.27 % interval of (rows,) values; NaN entries are left out."""
    return float(_single(residual).sigma68()[0])


def gaussian_core(residual: Array) -> tuple[float, float]:
    """Return mean and standard deviation of the Gaussian core of (rows,) values, NaN entries left out."""
    mean, width = _single(residual).core()
    return float(mean[0]), float(width[0])


def coverage(residual: Array, std: Array, sigmas: float = 1.0) -> float:
    """Return the fraction of |residual| ≤ sigmas · std, both (rows,); rows without either are left out."""
    return float(_single(pulls(residual, std)).fraction_between(-sigmas, sigmas)[0])


def pulls(residual: Array, std: Array) -> Array:
    """Return residual/std (rows,), NaN where the stated standard deviation is not a positive number."""
    valid = np.isfinite(std) & (std > 0)
    return np.where(valid, residual, np.nan) / np.where(valid, std, 1.0)


def resolution_metrics(
    residual: Array,
    std: Array | None = None,
    bound: Array | None = None,
    *,
    two_sigma: Array | None = None,
    log_density: Array | None = None,
    near: float | None = None,
    order: Array | None = None,
    goal_rms: float | None = None,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> dict[str, Figure]:
    """Return the metrics of residuals (rows,), with those of the pulls and over the bound where these are given.

    NaN residuals are failed estimates: they count against `near_fraction` and are left out elsewhere; `failed` and
    `count` say how many. `near` is the distance of `near_fraction` in the residual's unit. `two_sigma` is the distance
    from the estimate to the stated 95.45 % limit on the truth's side, two standard deviations where it is not given.
    `log_density` is the logarithm of the stated density at the truth, that of a Gaussian where it is not given.
    `order` (rows,) is the stated quality by which rows are selected for `goal_fraction`, smallest first;
    `goal_rms` is the rms that they may have.
    """
    if std is not None and log_density is None:
        log_density = gaussian_log_density(residual, std)
    if std is not None and two_sigma is None:
        two_sigma = 2 * std
    statistics = partial(_replicate_metrics, residual, std, two_sigma, log_density, bound, near, order, goal_rms)
    return bootstrapped(statistics, len(residual), resamples, seed)


def table_metrics(
    table: PredictionTable,
    target: str,
    *,
    bound: Array | None = None,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> dict[str, Figure]:
    """Return the metrics of one target of a table; `bound` (rows,) is the bound on its standard deviation."""
    residual, density = table.residual(target), schema.log_density_name(target)
    std = table.std(target) if table.has_std(target) else None
    two_sigma = two_sigma_of(table, target) if table.has_std(target) else None
    goal = table.system.judging.goals.get(target)
    log_density = table.column(density) if density in table else None
    return resolution_metrics(
        residual,
        std,
        bound,
        two_sigma=two_sigma,
        log_density=log_density,
        near=None if goal is None else goal.near,
        order=None if goal is None else selection_order(table, target),
        goal_rms=None if goal is None else goal.rms,
        resamples=resamples,
        seed=seed,
    )


def two_sigma_of(table: PredictionTable, target: str) -> Array:
    """Return the distance from the estimate to the stated 95.45 % limit on the truth's side, (rows,)."""
    low, high = table.interval95(target)
    with np.errstate(invalid="ignore"):  # failed estimates are infinite, and counted as such
        return np.where(table.residual(target) > 0, table.mean(target) - low, high - table.mean(target))


def selection_order(table: PredictionTable, target: str) -> Array | None:
    """Return what rows are selected by, smallest first: the spread with all tails, else the error bar, or None."""
    spread = schema.spread_name(target)
    if spread in table:
        return table.column(spread)
    return table.std(target) if table.has_std(target) else None


def goal_share(residual: Array, order: Array, weights: Array, goal: float) -> Array:
    """Return the largest share of all rows, smallest `order` first, whose rms residual is at most `goal`.

    residual, order: (rows,); weights (replicates, rows). Rows without either are counted, but never selected.
    """
    usable = np.flatnonzero(np.isfinite(residual) & np.isfinite(order) & (order > 0))
    best_first = usable[np.argsort(order[usable], kind="stable")]
    drawn = np.cumsum(weights[:, best_first], axis=1)
    excess = np.cumsum(weights[:, best_first] * (residual[best_first] ** 2 - goal**2), axis=1)
    reached = np.where(excess <= 0, drawn, 0.0).max(axis=1, initial=0.0)
    total = weights.sum(axis=1)
    return np.divide(reached, total, out=np.full(len(total), np.nan), where=total > 0)


def _single(values: Array) -> Sample:
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    return Sample(finite, np.ones((1, len(finite))))


def _kept(values: Array, weights: Array) -> Sample:
    finite = np.isfinite(values)
    return Sample(values[finite], weights[:, finite])


def _replicate_metrics(
    residual: Array,
    std: Array | None,
    two_sigma: Array | None,
    log_density: Array | None,
    bound: Array | None,
    near: float | None,
    order: Array | None,
    goal_rms: float | None,
    weights: Array,
) -> dict[str, Array]:
    values = _residual_metrics(_kept(residual, weights))
    drawn = weights.sum(axis=1)
    values["count"] = drawn
    values["failed"] = weights @ ~np.isfinite(residual)
    if near is not None:
        hits = weights @ (np.abs(residual) <= near)
        values["near_fraction"] = np.divide(hits, drawn, out=np.full(len(drawn), np.nan), where=drawn > 0)
    if order is not None and goal_rms is not None:
        values["goal_fraction"] = goal_share(residual, order, weights, goal_rms)
    if std is not None and two_sigma is not None:
        values |= _pull_metrics(residual, std, weights)
        values["coverage2"] = _kept(pulls(residual, two_sigma), weights).fraction_between(-1.0, 1.0)
    if log_density is not None:
        values["nll"] = -_kept(log_density, weights).mean(np.positive)
    if bound is not None:
        values |= _bound_metrics(residual, bound, weights)
    return values


def _residual_metrics(sample: Sample) -> dict[str, Array]:
    centre, width = sample.core()
    inside = sample.fraction_between(centre - TAIL_CORES * width, centre + TAIL_CORES * width)
    return {
        "sigma68": sample.sigma68(),
        "core_sigma": width,
        "rms": np.sqrt(sample.mean(np.square)),
        "bias": sample.quantile(0.5),
        "tail_fraction": 1 - inside,
    }


def _pull_metrics(residual: Array, std: Array, weights: Array) -> dict[str, Array]:
    pull = pulls(residual, std)
    sample = _kept(pull, weights)
    mean = sample.mean(np.positive)
    return {
        "coverage1": sample.fraction_between(-1.0, 1.0),
        "pull_width": sample.sigma68(),
        "pull_rms": np.sqrt(np.maximum(sample.mean(np.square) - mean**2, 0)),
        "pull_bias": sample.quantile(0.5),
    }


def gaussian_log_density(residual: Array, std: Array) -> Array:
    """Return the logarithm of a Gaussian's density at residuals (rows,), NaN where the std is no positive number."""
    return -0.5 * (pulls(residual, std) ** 2 + np.log(2 * np.pi)) - np.log(np.where(std > 0, std, np.nan))


def _bound_metrics(residual: Array, bound: Array, weights: Array) -> dict[str, Array]:
    ratio = pulls(residual, bound)
    sample = _kept(ratio, weights)
    return {
        "bound_ratio": _kept(np.abs(ratio), weights).quantile(0.5) / MEDIAN_OF_ABSOLUTE_GAUSSIAN,
        "bound_sigma68": sample.sigma68(),
        "bound_rms": np.sqrt(sample.mean(np.square)),
    }
