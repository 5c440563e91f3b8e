"""Generalised least squares of the windows of long tracks, a block of electrons at once; see `windows`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from cres import schema
from cres.evaluation.window_columns import ELECTRON, OUTSIDE, WINDOW, WINDOW_START
from reconstruction.judging.measures.bootstrap import Array
from reconstruction.judging.tables.columns import COVARIANCE
from reconstruction.judging.tables.table import PredictionTable

_KEPT = 0.99
"""A window counts in full while it lies within this central probability of the fit."""
_STEPS = 25
_FEWEST_FOR_A_LINE = 8
_EARLY = 2
"""Features of the slope are of so many windows: one needs no slope, many measure it themselves."""
_BLOCK = 256


@dataclass(frozen=True, eq=False)
class Tracks:
    """Windows of a block of electrons, padded with windows of no weight: (electrons, windows, …), targets last."""

    electron: NDArray[np.int64]
    first: NDArray[np.int64]
    time_s: Array
    value: Array
    covariance: Array
    spread: Array
    usable: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Fit:
    """Start values and slopes (electrons, targets), covariances, weights of the windows (electrons, windows)."""

    start: Array
    slope: Array
    covariance: Array
    slope_variance: Array
    weight: Array


def blocks_of(windows: PredictionTable) -> Iterator[Tracks]:
    """Yield blocks of electrons with their windows in order of time."""
    order = np.lexsort((windows.column(WINDOW), windows.column(ELECTRON)))
    electron, first, count = np.unique(windows.column(ELECTRON)[order], return_index=True, return_counts=True)
    value = np.stack([windows.mean(name) for name in windows.targets], axis=-1)
    covariance = windows.column(COVARIANCE)
    time_s = windows.column(WINDOW_START)
    spread = np.stack([_spread(windows, name) for name in windows.targets], axis=-1)
    good = np.isfinite(value).all(axis=1) & np.isfinite(covariance).all(axis=(1, 2))
    good &= np.linalg.det(np.where(good[:, None, None], covariance, np.eye(covariance.shape[-1]))) > 0
    outside = windows.columns.get(OUTSIDE, np.zeros(len(windows), bool))
    for begin in range(0, len(electron), _BLOCK):
        block = slice(begin, begin + _BLOCK)
        place = np.arange(int(count[block].max()))
        present = place < count[block, None]
        rows = order[np.minimum(first[block, None] + place, first[block, None] + count[block, None] - 1)]
        usable = present & good[rows]
        inside = usable & ~outside[rows]
        usable = np.where(inside.any(axis=1, keepdims=True), inside, usable)
        safe = np.where(usable[..., None, None], covariance[rows], np.eye(covariance.shape[-1]))
        filled = np.where(usable[..., None], value[rows], 0.0)
        yield Tracks(electron[block], rows[:, 0], time_s[rows], filled, safe, spread[rows], usable)


def _spread(windows: PredictionTable, target: str) -> Array:
    """Return the stated standard deviation with tails, or the error bar where it is not stated."""
    name = schema.spread_name(target)
    return np.asarray(windows.columns[name] if name in windows else windows.std(target), np.float64)


def fit_tracks(
    tracks: Tracks,
    targets: tuple[str, ...],
    drift_mean: Array,
    drift_std: Array,
    bend_per_s2: Mapping[str, float],
) -> Fit:
    """Fit the tracks of a block, all at once; electrons without a usable window become NaN.

    drift_mean (electrons, targets), drift_std (targets,): the slopes' prior, 1/s of the target's unit; bend_per_s2:
    standard deviation of the slope's change.
    """
    bend = np.array([bend_per_s2.get(name, 0.0) for name in targets])
    variance = np.diagonal(tracks.covariance, axis1=2, axis2=3)
    root = np.sqrt(variance)
    time = tracks.time_s[..., None]
    # parameters in units of their priors: start value (free), slope, bend; (electrons, targets, windows, 3)
    columns = (np.ones_like(variance), np.broadcast_to(time * drift_std, variance.shape), time**2 / 2 * bend + 0 * root)
    design = np.moveaxis(np.stack(columns, axis=-1) / root[..., None], 1, 2)
    prior = np.diag([0.0, 1.0, 1.0])
    anchor, slope = _robust_start(tracks, drift_mean, drift_std)
    offset = tracks.value - anchor[:, None] - time * drift_mean[:, None]
    wanted = np.swapaxes(offset / root, 1, 2)
    limit = float(2 * gammaincinv(len(targets) / 2, _KEPT))
    weight = _weights((offset - time * slope[:, None]) / root, tracks.usable, limit)
    empty: NDArray[np.bool_] = ~np.any(tracks.usable, axis=1)
    for _ in range(_STEPS):
        weighed = design * weight[:, None, :, None]
        normal = np.swapaxes(weighed, 2, 3) @ design + prior
        normal[empty] = np.eye(3)
        inverse: Array = np.linalg.inv(normal).astype(np.float64, copy=False)
        # the change of parameters with a window of full weight: (electrons, targets, 3, windows)
        gain = inverse @ np.swapaxes(design, 2, 3)
        solution = ((gain * weight[:, None, None]) @ wanted[..., None])[..., 0]
        distance = wanted - (design @ solution[..., None])[..., 0]
        used, weight = weight, _weights(np.swapaxes(distance, 1, 2), tracks.usable, limit)
        if np.allclose(used, weight, atol=1e-9):
            break
    start = np.where(empty[:, None], np.nan, anchor + solution[..., 0])
    covariance = _covariance(tracks, used, inverse[..., 0, 0], gain[..., 0, :])
    covariance[empty] = np.nan
    slopes = drift_mean + solution[..., 1] * drift_std
    return Fit(start, slopes, covariance, inverse[..., 1, 1] * drift_std**2, weight)


def _covariance(tracks: Tracks, weight: Array, variance: Array, gain: Array) -> Array:
    """Return the covariance of the start values: their variances, and what the windows' own correlations make of them.

    weight (electrons, windows): a window counts as one of its covariance over its weight; variance (electrons,
    targets); gain (electrons, targets, windows): change of a start value with a window's pull.
    """
    root = np.sqrt(np.diagonal(tracks.covariance, axis1=2, axis2=3))
    change = np.swapaxes(gain, 1, 2) / root
    found = np.einsum("ek,eki,ekij,ekj->eij", weight, change, tracks.covariance, change)
    places = np.arange(variance.shape[1])
    found[:, places, places] = variance
    return np.asarray(found)


def log_spreads(tracks: Tracks) -> Array:
    """Return means of the logarithms of the windows' spreads, (electrons, targets)."""
    return _features(tracks, tracks.usable)[:, tracks.value.shape[-1] :]


def early_features(tracks: Tracks) -> Array:
    """Return the features of the first windows, (electrons, 2 · targets): they foretell the slope."""
    return _features(tracks, np.cumsum(tracks.usable, axis=1) <= _EARLY)


def _features(tracks: Tracks, chosen: NDArray[np.bool_]) -> Array:
    """Return means over the chosen usable windows, (electrons, 2 · targets): estimates, logarithms of the spreads."""
    chosen = chosen & tracks.usable
    both = np.concatenate([tracks.value, np.log(np.maximum(tracks.spread, 1e-300))], axis=-1)
    both = np.where(chosen[..., None], both, 0.0)
    count = chosen.sum(axis=1)[:, None]
    return np.where(count > 0, both.sum(axis=1) / np.maximum(count, 1), np.nan)


def _weights(distance: Array, usable: NDArray[np.bool_], limit: float) -> Array:
    """Return 1 within the limit and a weight that falls with the fourth power of the distance beyond."""
    squared = np.square(distance).sum(axis=-1)
    weight = np.where(usable, np.minimum(1.0, limit / np.maximum(squared, 1e-300)) ** 2, 0.0)
    # where no window agrees with any other, all count
    lost = weight.sum(axis=1, keepdims=True) < 0.5
    return np.where(lost, usable.astype(np.float64), weight)


def _robust_start(tracks: Tracks, drift_mean: Array, drift_std: Array) -> tuple[Array, Array]:
    """Return medians of start values, and slopes beyond the priors' means, (electrons, targets) each.

    The slope is the median over windows half the track apart, within three standard deviations of its prior; the
    start value the median of what then remains, weighted by one over the spread. Few windows: no slope.
    """
    # usable windows first
    order = np.argsort(~tracks.usable, axis=1, kind="stable")
    time = np.take_along_axis(tracks.time_s, order, axis=1)[..., None]
    value, spread = (np.take_along_axis(values, order[..., None], axis=1) for values in (tracks.value, tracks.spread))
    number = tracks.usable.sum(axis=1)[:, None, None]
    offset = value - time * drift_mean[:, None]
    place = np.arange(time.shape[1])[:, None]
    later = np.minimum(place + number // 2, time.shape[1] - 1)
    paired = (place < number - number // 2) & (number >= _FEWEST_FOR_A_LINE)
    away = np.take_along_axis(time, later, axis=1) - time
    rise = (np.take_along_axis(offset, later, axis=1) - offset) / np.where(paired, away, 1.0)
    slope = np.clip(_weighted_median(rise, np.broadcast_to(paired, rise.shape) * 1.0), -3 * drift_std, 3 * drift_std)
    weight = np.where(place < number, 1 / np.maximum(spread, 1e-300), 0.0)
    return _weighted_median(offset - time * slope[:, None], weight), slope


def _weighted_median(values: Array, weights: Array) -> Array:
    """Return medians over the second axis, values and weights (electrons, windows, targets); 0 without weights."""
    order = np.argsort(np.where(weights > 0, values, np.inf), axis=1, kind="stable")
    total = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
    middle = np.argmax(total >= total[:, -1:] / 2, axis=1)[:, None]
    found = np.take_along_axis(np.take_along_axis(values, order, axis=1), middle, axis=1)[:, 0]
    return np.asarray(np.where(total[:, -1] > 0, found, 0.0))
