"""How well an estimator does at each setting of the apparatus: trained, between trained ones, outside of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconstruction.errors import UserError
from reconstruction.judging.measures.bootstrap import Figure, Sample, bootstrapped
from reconstruction.judging.measures.comparison import Comparison
from reconstruction.judging.measures.metrics import MEDIAN_OF_ABSOLUTE_GAUSSIAN
from reconstruction.judging.tables.settings import OUTSIDE_SETTINGS, SETTINGS
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.levels import CENTRAL_68

TRAINED, BETWEEN, OUTSIDE, UNTOLD, UNKNOWN = "trained", "between", "outside", "not said", "not known"
"""Where settings lie. UNTOLD: no table says what was trained; UNKNOWN: the rows do not say one of their settings."""
FEWEST = 12
"""With fewer rows of a setting no figure is given."""


@dataclass(frozen=True)
class Met:
    """The settings that a model was trained on: their names, the range of each, and the different ones."""

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    trained: NDArray[np.float64]
    """(apparatus, setting)."""

    @classmethod
    def of(cls, table: PredictionTable) -> Met | None:
        """Return what a table says of the settings of its model; None for a model that is told none."""
        if SETTINGS not in table.attributes:
            return None
        said = json.loads(str(table.attributes[SETTINGS]))
        trained = np.array(said["trained"], np.float64).reshape(-1, len(said["names"]))
        names = tuple(name.lower() for name in said["names"])  # as columns of tables are named
        return cls(names, tuple(said["low"]), tuple(said["high"]), trained)

    def where(self, setting: NDArray[np.floating[Any]]) -> str:
        """Return where settings lie: trained, between, or outside; not known where one of them is not finite."""
        values = np.asarray(setting, np.float64)
        if not np.isfinite(values).all():
            return UNKNOWN
        slack = 1e-6 * np.maximum(np.abs(self.low), np.abs(self.high))
        if bool(((values < np.array(self.low) - slack) | (values > np.array(self.high) + slack)).any()):
            return OUTSIDE
        same = np.isclose(self.trained, values, rtol=1e-6).all(axis=1)
        return TRAINED if bool(same.any()) else BETWEEN


@dataclass(frozen=True)
class SettingRow:
    """Figures of all estimators at one setting, for one target and group.

    setting: NaN where it is not known. ratio: each estimator's median error over the bound (1 is perfect), or its σ68
    in the target's unit where there is no bound, with its interval. coverage: share of truths within one stated error
    bar, with its error. std: median stated error bar. over: paired, the first estimator's ratio over that of each
    other. flagged: share of rows that are flagged as outside, where the first estimator says so.
    """

    setting: tuple[float, ...]
    where: str
    group: str
    count: int
    ratio: list[Figure]
    coverage: list[tuple[float, float]]
    std: list[float]
    over: list[Figure | None]
    flagged: float


def settings_named(comparison: Comparison, names: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the columns of the settings: those named, or those that the first model is told, if it is told any.

    None where classes are told apart: widths of their codes say nothing. Raises UserError for a column that no table
    has, and for columns that are named where there are classes.
    """
    if any(table.classes for table in comparison.tables):
        if names:
            raise UserError("--settings gives widths at each setting, and classes have none: leave it out")
        return ()
    met = next((found for table in comparison.tables if (found := Met.of(table)) is not None), None)
    chosen = tuple(name.lower() for name in (names or (() if met is None else met.names)))
    for name in chosen:
        if comparison.covariate(name) is None:
            raise UserError(
                f"no table has the column {name!r} that settings are to be told apart by: predict data that hold it"
            )
    return chosen


def by_setting(
    comparison: Comparison, target: str, names: Sequence[str], *, resamples: int = 200, seed: int = 0
) -> list[SettingRow]:
    """Return the figures at each setting, for every group of the comparison; the settings in rising order."""
    columns = np.stack([np.asarray(comparison.covariate(name), np.float64) for name in names], axis=1)
    columns = np.where(np.isfinite(columns), columns, np.inf)  # NaN would be a setting of its own in every row
    different, owner = np.unique(columns, axis=0, return_inverse=True)
    different = np.where(np.isfinite(different), different, np.nan)
    met = next((found for table in comparison.tables if (found := Met.of(table)) is not None), None)
    rows = []
    for group, mask in comparison.groups.items():
        for place, setting in enumerate(different):
            chosen = mask & (owner.reshape(-1) == place)
            if chosen.sum() >= FEWEST:
                where = UNTOLD if met is None or met.names != tuple(names) else met.where(setting)
                rows.append(_row(comparison, target, chosen, (tuple(setting.tolist()), where, group), resamples, seed))
    return rows


def _row(
    comparison: Comparison,
    target: str,
    chosen: NDArray[np.bool_],
    place: tuple[tuple[float, ...], str, str],
    resamples: int,
    seed: int,
) -> SettingRow:
    bound = comparison.bound_of(target)
    tables = [table.select(chosen) for table in comparison.estimators_of(target)]
    scale = np.ones(int(chosen.sum())) if bound is None else bound[chosen]
    errors = [np.abs(table.residual(target)) / scale for table in tables]
    unit = 1.0 if bound is None else 1 / MEDIAN_OF_ABSOLUTE_GAUSSIAN
    ratios = [_typical(unit * values, bound is not None, resamples, seed) for values in errors]
    coverages = [_coverage(table, target) for table in tables]
    stds = [float(np.median(table.std(target))) if table.has_std(target) else float("nan") for table in tables]
    over = [None if i == 0 else ratios[0].over(ratio) for i, ratio in enumerate(ratios)]
    flags = tables[0].columns.get(OUTSIDE_SETTINGS)
    flagged = float("nan") if flags is None else float(np.mean(flags))
    return SettingRow(*place, int(chosen.sum()), ratios, coverages, stds, over, flagged)


def _typical(errors: NDArray[np.float64], in_bounds: bool, resamples: int, seed: int) -> Figure:
    """Return the median of errors in bounds, or their 68.27 % quantile: σ68."""
    level = 0.5 if in_bounds else CENTRAL_68
    found = bootstrapped(
        lambda weights: {"typical": Sample(errors, weights).quantile(level)}, len(errors), resamples, seed
    )
    return found["typical"]


def _coverage(table: PredictionTable, target: str) -> tuple[float, float]:
    if not table.has_std(target):
        return float("nan"), float("nan")
    share = float(np.mean(np.abs(table.residual(target)) <= table.std(target)))
    return share, float(np.sqrt(share * (1 - share) / len(table)))
