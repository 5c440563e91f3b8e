"""Figures that one row decides: means of squares and of logarithms, and the share that a goal lets through."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from reconstruction import schema
from reconstruction.judging.measures.bootstrap import Array, Figure
from reconstruction.judging.measures.metrics import gaussian_log_density, goal_share, pulls, selection_order
from reconstruction.judging.measures.numbers import plain, significant
from reconstruction.judging.tables.judged import unit_of
from reconstruction.judging.tables.table import PredictionTable

DECIDES = 0.1
"""A mean counts as decided by one row that makes up more than this part of it …"""
SHARE_STEP = 0.05
"""… and a share as decided by one without which it is larger by more than this."""
_SUSPECTS = 8


def ruled_by_one(table: PredictionTable, target: str, figures: Mapping[str, Figure]) -> dict[str, str]:
    """Return which of a target's figures one row decides: metric → a sentence with its value without it."""
    found: dict[str, str] = {}
    residual = table.residual(target)
    if len(table) < 2 or not np.isfinite(residual).any():
        return found
    found |= _of_mean_square("rms", residual, table, target, unit_of(target))
    if table.has_std(target):
        found |= _of_mean_log(table, target)
    if "goal_fraction" in figures:
        found |= _of_share(table, target)
    return found


def _of_mean_square(name: str, values: Array, table: PredictionTable, target: str, unit: str) -> dict[str, str]:
    square = np.where(np.isfinite(values), values, 0.0) ** 2
    worst, total, count = int(square.argmax()), float(square.sum()), int(np.isfinite(values).sum())
    # a Gaussian sample's largest of n squares is 2 ln n of n: half of the sum is never that
    if count < 2 or not square[worst] > 0.5 * total:
        return {}
    without = np.sqrt((total - square[worst]) / (count - 1))
    return {name: f"{name} is {significant(float(without))} {unit} without {_named(table, target, worst)}."}


def _of_mean_log(table: PredictionTable, target: str) -> dict[str, str]:
    name = schema.log_density_name(target)
    residual = table.residual(target)
    density = table.column(name) if name in table else gaussian_log_density(residual, table.std(target))
    kept = np.flatnonzero(np.isfinite(density))
    if len(kept) < 2:
        return {}
    loss = -density[kept]
    worst = int(loss.argmax())
    mean, without = float(loss.mean()), float((loss.sum() - loss[worst]) / (len(loss) - 1))
    if mean - without <= DECIDES:
        return {}
    return {"nll": f"NLL is {significant(without)} without {_named(table, target, int(kept[worst]))}."}


def _of_share(table: PredictionTable, target: str) -> dict[str, str]:
    """Leave out one by one the largest of those residuals that the selection takes early."""
    residual, order, goal = (
        table.residual(target),
        selection_order(table, target),
        table.system.judging.goals.get(target),
    )
    if order is None or goal is None:
        return {}
    share = _share(residual, order, goal.rms)
    usable = np.isfinite(residual) & np.isfinite(order) & (order > 0)
    # what stops the share lies just behind those that it holds
    first = np.flatnonzero(usable)[np.argsort(order[usable], kind="stable")]
    near = first[: int(share * len(table)) + 1 + len(table) // 20]
    suspects = near[np.argsort(-np.abs(residual[near]))][:_SUSPECTS]
    best, without = -1, share
    for row in suspects:
        others = np.arange(len(table)) != row
        if (left := _share(residual[others], order[others], goal.rms)) > without:
            best, without = int(row), left
    if without - share <= SHARE_STEP:
        return {}
    who = _named(table, target, best)
    return {"goal_fraction": f"{100 * without:.0f} % at {goal.rms:g} {unit_of(target)} rms without {who}."}


def _share(residual: Array, order: Array, rms: float) -> float:
    return float(goal_share(residual, order, np.ones((1, len(residual))), rms)[0])


def _named(table: PredictionTable, target: str, row: int) -> str:
    """Return which row this is, how far off and how sure."""
    residual, unit = float(table.residual(target)[row]), unit_of(target)
    said = f"{table.system.noun} {int(table.event_id[row])}, off by {plain(abs(residual))} {unit}"
    if not table.has_std(target):
        return said
    pull = float(pulls(table.residual(target), table.std(target))[row])
    return f"{said} ({plain(abs(pull))} of its error bars)" if np.isfinite(pull) else said
