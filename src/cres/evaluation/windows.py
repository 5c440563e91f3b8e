"""Long tracks in windows: a table of window estimates in, one estimate of the start values an electron out.

Every target drifts along a track: y_k = y_0 + s t_k + b t_k²/2 + e_k for the window that begins at t_k, e_k of the
covariance C_k that the estimator states. The energy falls by the radiated power (s), which changes a little on the way
(b). Generalised least squares with Gaussian priors on s and b; windows far from the fit lose their weight.

Errors that all windows of an electron share do not average out. A share ρ of a window's variance V_w counts as common:
the variance is (1 − ρ) V + ρ V_w, with V that of the fit. ρ is measured on electrons with known values; it depends on
the error bar of a window, since electrons that are hard stay hard. One window gives back its own covariance.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from cres import schema
from cres.errors import UserError
from cres.evaluation.bootstrap import CENTRAL_68, CENTRAL_95, Array
from cres.evaluation.metrics import pulls, sigma68
from cres.evaluation.table import COVARIANCE, EVENT_ID, PredictionTable, atomic_path

ELECTRON = "electron"
"""Column of a table of windows: the event id of the electron that a window belongs to."""
WINDOW = "window"
"""Column of a table of windows: the number of the window in its record."""
WINDOW_START = "window_start_s"
"""Column of a table of windows: the time of its first sample in the record."""
N_WINDOWS = "n_windows"
WINDOWS_USED = "windows_used"
WINDOW_VARIANCE = "window_variance"
"""Column (rows, targets): mean stated variance of an electron's windows."""
OUTSIDE = "outside_range"

FEWEST_TRACKS = 50
"""Electrons that a calibration of the combination needs."""

_DRIFT_PER_S = {"energy_ev": 3e4, "pitch_angle_deg": 1.0}
_BEND_PER_S2 = {"energy_ev": 5e4}
_KEPT = 0.99
"""A window counts in full while it lies within this central probability of the fit."""
_MOST_COMMON = 25.0
_GROUPS = 3
_ALIKE = 1.5
_STEPS = 25
_FEWEST_FOR_A_LINE = 8
_BLOCK = 256


@dataclass(frozen=True)
class Combination:
    """What is assumed of windows: drifts, common errors, and the scale that makes the combined error bars honest.

    drift_per_s: mean and standard deviation of a target's slope along tracks, 1/s of its unit; targets that are not
    named do not drift. bend_per_s2: standard deviation of the slope's change. common_share: by target, pairs of a
    window's error bar and of ρ, the share of its variance that all windows of an electron have in common; between the
    pairs it is interpolated in the logarithm. scale68: by target, pairs of a number of windows and the factor of their
    combined error bar, interpolated likewise. scale95: factor of the central 95.45 %, two error bars without, by
    target. `electrons`: how many calibrated it; 0 for the assumptions of the source code (slopes up to what a cavity
    on resonance radiates, no common errors).
    """

    drift_per_s: dict[str, tuple[float, float]] = field(
        default_factory=lambda: {name: (0.0, std) for name, std in _DRIFT_PER_S.items()}
    )
    bend_per_s2: dict[str, float] = field(default_factory=lambda: dict(_BEND_PER_S2))
    common_share: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    scale68: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    scale95: dict[str, float] = field(default_factory=dict)
    electrons: int = 0

    def share(self, target: str, window_std: Array) -> Array:
        """Return ρ of a target for electrons whose windows have these error bars, (rows,) each."""
        return _between(self.common_share.get(target), window_std, 0.0)

    def scale(self, target: str, windows: Array) -> Array:
        """Return the factor of a target's error bars for electrons with so many windows, (rows,) each."""
        return _between(self.scale68.get(target), windows, 1.0)

    def write(self, path: Path) -> Path:
        """Write JSON, whole or not at all."""
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1) + "\n")
        return path

    @classmethod
    def read(cls, path: Path) -> Combination:
        """Read what `write` wrote; raises UserError for anything else."""
        try:
            stored = json.loads(path.read_text())
            drifts = {name: (float(mean), float(std)) for name, (mean, std) in stored.pop("drift_per_s").items()}
            shares, scales = (
                {name: [(float(at), float(value)) for at, value in knots] for name, knots in stored.pop(key).items()}
                for key in ("common_share", "scale68")
            )
            return cls(drift_per_s=drifts, common_share=shares, scale68=scales, **stored)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{path} is no calibration of windows ({error}): remove it, or write it again") from error


def _between(knots: list[tuple[float, float]] | None, at: Array, otherwise: float) -> Array:
    """Return values between pairs of a place and a value, linear in the logarithm of the place, constant outside."""
    if not knots:
        return np.full(len(at), otherwise)
    places, values = np.transpose(knots)
    return np.interp(np.log(at), np.log(places), values)


@dataclass(frozen=True, eq=False)
class _Tracks:
    """Windows of a block of electrons, padded with windows of no weight: (electrons, windows, …), targets last."""

    electron: NDArray[np.int64]
    first: NDArray[np.int64]
    time_s: Array
    value: Array
    covariance: Array
    spread: Array
    usable: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Fit:
    """Start values and slopes (electrons, targets), covariances, weights of the windows (electrons, windows)."""

    start: Array
    slope: Array
    covariance: Array
    slope_variance: Array
    weight: Array
    window_variance: Array
    """Mean of the windows' variances, (electrons, targets)."""


def combine_windows(
    windows: PredictionTable, combination: Combination | None = None, first: int | None = None
) -> PredictionTable:
    """Return one row an electron from a table of windows, by `event_id` of the electron, sorted by it.

    `windows` has the columns `electron`, `window` and `window_start_s`; its truth and observables are those of the
    track and taken from an electron's first window. `first` takes the first so many windows only. Beside the estimates
    (at the start of the first window's record, t = 0) there are `n_windows`, `windows_used` (sum of weights),
    and for targets that drift `<target>_drift` and `<target>_drift_std` in their unit per second. Windows outside the
    trained range (`outside_range`) are used only where an electron has no others. Raises UserError without
    uncertainties or without these columns.
    """
    combination = combination or Combination()
    targets = windows.targets
    for name in (ELECTRON, WINDOW, WINDOW_START, COVARIANCE):
        if name not in windows:
            raise UserError(f"windows cannot be combined without the column {name!r}: the table has none")
    chosen = windows if first is None else windows.select(windows.column(WINDOW) < first)
    blocks = list(_tracks(chosen))
    fits = [_fit(block, targets, combination) for block in blocks]
    rows = np.concatenate([block.first for block in blocks])
    start = np.concatenate([fit.start for fit in fits])
    covariance = np.concatenate([fit.covariance for fit in fits])
    window_variance = np.concatenate([fit.window_variance for fit in fits])
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    share = np.stack([combination.share(name, np.sqrt(window_variance[:, i])) for i, name in enumerate(targets)], 1)
    count = np.concatenate([block.usable.sum(axis=1) for block in blocks])
    scale = np.stack([combination.scale(name, np.maximum(count, 1.0)) for name in targets], axis=1)
    factor = scale * np.sqrt(_with_common(variance, window_variance, share) / variance)
    covariance = covariance * factor[:, :, None] * factor[:, None, :]
    std = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    # a window's own posterior is not that of the track
    own = {EVENT_ID, ELECTRON, WINDOW, WINDOW_START, COVARIANCE, *targets, *_stated(targets), *schema.POSTERIOR_COLUMNS}
    columns = {name: values[rows] for name, values in chosen.columns.items() if name not in own}
    columns |= {EVENT_ID: chosen.column(ELECTRON)[rows], COVARIANCE: covariance}
    for i, name in enumerate(targets):
        columns |= {name: start[:, i], schema.std_name(name): std[:, i]}
        half = 2 * std[:, i] * combination.scale95.get(name, 1.0)
        columns |= dict(zip(schema.interval95_names(name), (start[:, i] - half, start[:, i] + half), strict=True))
        if combination.drift_per_s.get(name, (0.0, 0.0))[1]:
            columns[f"{name}_drift"] = np.concatenate([fit.slope[:, i] for fit in fits])
            columns[f"{name}_drift_std"] = np.sqrt(np.concatenate([fit.slope_variance[:, i] for fit in fits]))
    columns[WINDOW_VARIANCE] = window_variance
    columns[N_WINDOWS] = count
    columns[WINDOWS_USED] = np.concatenate([fit.weight.sum(axis=1) for fit in fits])
    attributes = dict(windows.attributes)
    if "seconds_per_electron" in attributes:
        attributes["seconds_per_electron"] *= len(chosen) / max(1, len(rows))
    table = PredictionTable(columns, attributes)
    return table.select(np.argsort(table.event_id))


def fit_combination(windows: PredictionTable) -> Combination:
    """Return the combination calibrated on electrons with truth: slopes, common share, scales.

    The slopes' mean and width are those of the electrons themselves. The common share ρ is the one at which pulls with
    all windows are one wide, found in three groups of equal size by the error bar of a window. Errors that follow the
    slope are not of that kind: so for 2, 4, 8, … windows a factor makes 68.27 % of the truths lie within one error bar.
    Raises UserError with fewer than 50 electrons.
    """
    targets = windows.targets
    missing = [name for name in targets if not windows.has_truth(name)]
    if missing:
        raise UserError(f"windows are calibrated on electrons with known values, but there is no true {missing[0]}")
    free = combine_windows(windows)
    if len(free) < FEWEST_TRACKS:
        raise UserError(
            f"{len(free)} electrons are too few to calibrate combined windows, {FEWEST_TRACKS} are needed: "
            "give --data.fractions a larger validation share, or name more electrons"
        )
    drifts = {name: _population(free, name) for name in targets if f"{name}_drift" in free}
    assumed = Combination(drift_per_s=drifts)
    together = combine_windows(windows, assumed)
    shares, scale95 = {}, {}
    for i, name in enumerate(targets):
        of_windows = together.column(WINDOW_VARIANCE)[:, i]
        shares[name] = _common_shares(together.residual(name), together.std(name) ** 2, of_windows)
    shared = Combination(drift_per_s=drifts, common_share=shares)
    scale68 = _scales(windows, shared)
    scaled = Combination(drift_per_s=drifts, common_share=shares, scale68=scale68)
    together = combine_windows(windows, scaled)
    for name in targets:
        scale95[name] = _pull_quantile(together, name, CENTRAL_95) / 2
    return replace(scaled, scale95=scale95, electrons=len(together))


def _scales(windows: PredictionTable, combination: Combination) -> dict[str, list[tuple[float, float]]]:
    """Return by target the factor for each power of two of windows; one window keeps its own error bar."""
    most = int(windows.column(WINDOW).max()) + 1
    found = {name: [(1.0, 1.0)] for name in windows.targets}
    for count in dict.fromkeys([*(2**power for power in range(1, most.bit_length()) if 2**power <= most), most]):
        if count > 1:
            together = combine_windows(windows, combination, first=count)
            for name, pairs in found.items():
                pairs.append((float(count), _pull_quantile(together, name, CENTRAL_68)))
    return found


def _pull_quantile(table: PredictionTable, target: str, level: float) -> float:
    return float(np.nanquantile(np.abs(pulls(table.residual(target), table.std(target))), level))


def _with_common(variance: Array, window_variance: Array, share: Array | float) -> Array:
    return (1 - share) * variance + share * np.maximum(window_variance, variance)


def _common_shares(residual: Array, variance: Array, window_variance: Array) -> list[tuple[float, float]]:
    """Return pairs of a window's error bar and ρ, where the width of the pulls of a group is one."""
    known = np.flatnonzero(np.isfinite(residual) & np.isfinite(variance))
    ordered = known[np.argsort(window_variance[known], kind="stable")]
    # error bars that are all alike tell no groups apart
    alike = window_variance[ordered[-1]] < _ALIKE * window_variance[ordered[0]]
    groups = np.array_split(ordered, 1 if alike else _GROUPS)
    pairs = []
    for group in groups:
        low, high = 0.0, _MOST_COMMON
        for _ in range(30):
            share = 0.5 * (low + high)
            std = np.sqrt(_with_common(variance[group], window_variance[group], share))
            low, high = (share, high) if sigma68(residual[group] / std) > 1 else (low, share)
        pairs.append((float(np.sqrt(np.median(window_variance[group]))), 0.0 if low == 0.0 else high))
    return pairs


def _population(table: PredictionTable, target: str) -> tuple[float, float]:
    """Return mean and standard deviation of the slopes of a population, the errors of the slopes taken off."""
    slope, std = table.column(f"{target}_drift"), table.column(f"{target}_drift_std")
    assumed = _DRIFT_PER_S[target]
    variance = sigma68(slope) ** 2 - float(np.median(std)) ** 2
    return float(np.median(slope)), float(np.clip(np.sqrt(max(variance, 0.0)), 0.05 * assumed, assumed))


def _stated(targets: tuple[str, ...]) -> Iterator[str]:
    for name in targets:
        names = (schema.std_name(name), schema.spread_name(name), schema.log_density_name(name))
        yield from (*names, *schema.interval95_names(name))


def _tracks(windows: PredictionTable) -> Iterator[_Tracks]:
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
        yield _Tracks(electron[block], rows[:, 0], time_s[rows], filled, safe, spread[rows], usable)


def _spread(windows: PredictionTable, target: str) -> Array:
    """Return the stated standard deviation with tails, or the error bar where it is not stated."""
    name = schema.spread_name(target)
    return np.asarray(windows.columns[name] if name in windows else windows.std(target), np.float64)


def _fit(tracks: _Tracks, targets: tuple[str, ...], combination: Combination) -> _Fit:
    """Fit the tracks of a block, all at once; electrons without a usable window become NaN."""
    count, size = len(targets), len(tracks.electron)
    drift = np.array([combination.drift_per_s.get(name, (0.0, 0.0)) for name in targets])
    bend = np.array([combination.bend_per_s2.get(name, 0.0) for name in targets])
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
    return _Fit(start, drift[:, 0] + solution[:, slopes] * drift[:, 1], covariance, variance, weight, mean)


def _weights(distance: Array, usable: NDArray[np.bool_], limit: float) -> Array:
    """Return 1 within the limit and a weight that falls with the fourth power of the distance beyond."""
    squared = np.square(distance).sum(axis=-1)
    weight = np.where(usable, np.minimum(1.0, limit / np.maximum(squared, 1e-300)) ** 2, 0.0)
    # where no window agrees with any other, all count
    lost = weight.sum(axis=1, keepdims=True) < 0.5
    return np.where(lost, usable.astype(np.float64), weight)


def _robust_start(tracks: _Tracks, drift: Array) -> tuple[Array, Array]:
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


def tracks_of(windows: PredictionTable, event_id: NDArray[np.int64]) -> PredictionTable:
    """Return the windows of some electrons."""
    return windows.select(np.isin(windows.column(ELECTRON), event_id))
