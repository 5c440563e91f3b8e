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
from reconstruction.judging.tables.table import COVARIANCE, PredictionTable

_KEPT = 0.99
"""A window counts in full while it lies within this central probability of the fit."""
_STEPS = 25
_FEWEST_FOR_A_LINE = 8
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
    window_variance: Array
    """Mean of the windows' variances, (electrons, targets)."""


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
    drift_per_s: Mapping[str, tuple[float, float]],
    bend_per_s2: Mapping[str, float],
) -> Fit:
    """Fit the tracks of a block, all at once; electrons without a usable window become NaN.

    drift_per_s: mean and standard deviation of a target's slope; bend_per_s2: standard deviation of its change.
    """
    count, size = len(targets), len(tracks.electron)
    drift = np.array([drift_per_s.get(name, (0.0, 0.0)) for name in targets])
    bend = np.array([bend_per_s2.get(name, 0.0) for name in targets])
    unit = np.eye(count)
    time = tracks.time_s[..., None, None]
    root = np.linalg.cholesky(tracks.covariance)
    # parameters in units of their priors: start values (free), slopes, bends
    design = np.concatenate([unit + 0 * time, time * unit * drift[:, 1], time**2 / 2 * unit * bend], axis=-1)
    prior = np.diag(np.repeat([0.0, 1.0], [count, 2 * count]))
    anchor, slope = _robust_start(tracks, drift)
    offset = tracks.value - anchor[:, None] - tracks.time_s[..., None] * drift[:, 0]
    whitened = np.linalg.solve(root, design)
    flat = whitened.reshape(size, -1, 3 * count)
    wanted = np.linalg.solve(root, offset[..., None])[..., 0]
    limit = float(2 * gammaincinv(count / 2, _KEPT))
    distance = np.linalg.solve(root, (offset - tracks.time_s[..., None] * slope[:, None])[..., None])[..., 0]
    weight = _weights(distance, tracks.usable, limit)
    empty: NDArray[np.bool_] = ~np.any(tracks.usable, axis=1)
    for _ in range(_STEPS):
        weighed = flat * np.repeat(weight, count, axis=1)[..., None]
        normal = np.swapaxes(weighed, 1, 2) @ flat + prior
        normal[empty] = np.eye(3 * count)
        inverse = np.linalg.inv(normal)
        moment = np.swapaxes(weighed, 1, 2) @ wanted.reshape(size, -1, 1)
        solution = (inverse @ moment)[..., 0]
        distance = wanted - (whitened @ solution[:, None, :, None])[..., 0]
        before, weight = weight, _weights(distance, tracks.usable, limit)
        if np.allclose(before, weight, atol=1e-9):
            break
    start = np.where(empty[:, None], np.nan, anchor + solution[:, :count])
    slopes = slice(count, 2 * count)
    variance = np.diagonal(inverse, axis1=1, axis2=2)[:, slopes] * drift[:, 1] ** 2
    covariance = np.where(empty[:, None, None], np.nan, inverse[:, :count, :count])
    stated = np.diagonal(tracks.covariance, axis1=2, axis2=3) * weight[..., None]
    mean = stated.sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-300)[:, None]
    return Fit(start, drift[:, 0] + solution[:, slopes] * drift[:, 1], covariance, variance, weight, mean)


def _weights(distance: Array, usable: NDArray[np.bool_], limit: float) -> Array:
    """Return 1 within the limit and a weight that falls with the fourth power of the distance beyond."""
    squared = np.square(distance).sum(axis=-1)
    weight = np.where(usable, np.minimum(1.0, limit / np.maximum(squared, 1e-300)) ** 2, 0.0)
    # where no window agrees with any other, all count
    lost = weight.sum(axis=1, keepdims=True) < 0.5
    return np.where(lost, usable.astype(np.float64), weight)


def _robust_start(tracks: Tracks, drift: Array) -> tuple[Array, Array]:
    """Return medians of start values, and slopes beyond the priors' means, (electrons, targets) each.

    The slope is the median over windows half the track apart, within three standard deviations of its prior; the
    start value the median of what then remains, weighted by one over the spread. Few windows: no slope.
    """
    size, count = len(tracks.electron), tracks.value.shape[-1]
    start, slope = np.zeros((size, count)), np.zeros((size, count))
    for row in range(size):
        used = tracks.usable[row]
        time, value = tracks.time_s[row][used], tracks.value[row][used]
        if not len(time):
            continue
        offset = value - time[:, None] * drift[:, 0]
        if len(time) >= _FEWEST_FOR_A_LINE:
            half = len(time) // 2
            rise = (offset[half:] - offset[: len(time) - half]) / (time[half:] - time[: len(time) - half])[:, None]
            slope[row] = np.clip(np.median(rise, axis=0), -3 * drift[:, 1], 3 * drift[:, 1])
        level = offset - time[:, None] * slope[row]
        for i in range(count):
            start[row, i] = _weighted_median(level[:, i], 1 / np.maximum(tracks.spread[row][used][:, i], 1e-300))
    return start, slope


def _weighted_median(values: Array, weights: Array) -> float:
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])
