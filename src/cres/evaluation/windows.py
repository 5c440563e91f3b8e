"""Long tracks in windows: a table of window estimates in, one estimate of the start values an electron out.

Every target drifts along a track: y_k = y_0 + s t_k + b t_k²/2 + e_k for the window that begins at t_k, e_k of the
variance that the estimator states. The energy falls by the radiated power (s), which changes a little on the way (b).
Generalised least squares with Gaussian priors on s and b, each target by itself; windows far from the fit lose their
weight (`window_fit`). The middle of the prior of s follows from what the first two windows say of the electron.

What the windows' errors have in common does not average out. The part that all electrons share, a bias, is taken off.
What is left, errors that the windows of an electron or that neighbours share, is made up for by a factor on the error
bar, which depends on the spread that the windows state, since electrons that are hard stay hard. Biases and factors
depend on the number of windows. All are measured on electrons with known values (`window_calibration`). One window
gives back its own estimate and covariance.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cres import schema
from cres.errors import UserError
from cres.evaluation.window_columns import (
    ELECTRON,
    N_WINDOWS,
    OUTSIDE,
    WINDOW,
    WINDOW_SPREAD,
    WINDOW_START,
    WINDOWS_USED,
)
from cres.evaluation.window_combination import Combination
from cres.evaluation.window_fit import blocks_of, early_features, fit_tracks, log_spreads
from reconstruction.judging.tables.columns import COVARIANCE, EVENT_ID
from reconstruction.judging.tables.table import PredictionTable

__all__ = [
    "ELECTRON",
    "N_WINDOWS",
    "OUTSIDE",
    "WINDOW",
    "WINDOWS_USED",
    "WINDOW_SPREAD",
    "WINDOW_START",
    "Combination",
    "combine_windows",
    "tracks_of",
]


def combine_windows(
    windows: PredictionTable, combination: Combination | None = None, first: int | None = None
) -> PredictionTable:
    """Return one row an electron from a table of windows, by `event_id` of the electron, sorted by it.

    `windows` has the columns `electron`, `window` and `window_start_s`; its truth and observables are those of the
    track and taken from an electron's first window. `first` takes the first so many windows only. Beside the estimates
    (at the start of the first window's record, t = 0) there are `n_windows`, `windows_used` (sum of weights),
    and for targets that drift `<target>_drift` and `<target>_drift_std` in their unit per second. Windows outside the
    trained range (`outside_range`) are used only where an electron has no others. Raises UserError without
    uncertainties, without these columns, and for a combination that was calibrated on other targets.
    """
    combination = combination or Combination()
    targets = windows.targets
    for name in (ELECTRON, WINDOW, WINDOW_START, COVARIANCE):
        if name not in windows:
            raise UserError(f"windows cannot be combined without the column {name!r}: the table has none")
    if combination.population and tuple(combination.population) != targets:
        known, held = (", ".join(names) for names in (combination.population, targets))
        raise UserError(
            f"the calibration of windows is of {known}, the table holds {held}: calibrate anew with "
            "`python cli.py test --windows`"
        )
    chosen = windows if first is None else windows.select(windows.column(WINDOW) < first)
    blocks = list(blocks_of(chosen))
    fits = [
        fit_tracks(block, targets, *combination.drift(targets, early_features(block)), combination.bend_per_s2)
        for block in blocks
    ]
    rows = np.concatenate([block.first for block in blocks])
    start = np.concatenate([fit.start for fit in fits])
    covariance = np.concatenate([fit.covariance for fit in fits])
    log_spread = np.concatenate([log_spreads(block) for block in blocks])
    count = np.concatenate([block.usable.sum(axis=1) for block in blocks])
    many = np.maximum(count, 1.0)
    at = [(name, many, log_spread[:, i]) for i, name in enumerate(targets)]
    start = start - np.stack([combination.offset(name, many, start) for name in targets], axis=1)
    factor = np.stack([combination.scale(*place) for place in at], axis=1)
    covariance = covariance * factor[:, :, None] * factor[:, None, :]
    std = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    # a window's own posterior is not that of the track
    own = {EVENT_ID, ELECTRON, WINDOW, WINDOW_START, COVARIANCE, *targets, *_stated(targets), *schema.POSTERIOR_COLUMNS}
    columns = {name: values[rows] for name, values in chosen.columns.items() if name not in own}
    columns |= {EVENT_ID: chosen.column(ELECTRON)[rows], COVARIANCE: covariance}
    for i, name in enumerate(targets):
        columns |= {name: start[:, i], schema.std_name(name): std[:, i]}
        half = 2 * std[:, i] * combination.tail(*at[i])
        columns |= dict(zip(schema.interval95_names(name), (start[:, i] - half, start[:, i] + half), strict=True))
        if combination.drift_per_s.get(name, (0.0, 0.0))[1]:
            columns[f"{name}_drift"] = np.concatenate([fit.slope[:, i] for fit in fits])
            columns[f"{name}_drift_std"] = np.sqrt(np.concatenate([fit.slope_variance[:, i] for fit in fits]))
    columns[WINDOW_SPREAD] = np.exp(log_spread)
    columns[N_WINDOWS] = count
    columns[WINDOWS_USED] = np.concatenate([fit.weight.sum(axis=1) for fit in fits])
    attributes = dict(windows.attributes)
    if "seconds_per_electron" in attributes:
        attributes["seconds_per_electron"] *= len(chosen) / max(1, len(rows))
    table = PredictionTable(columns, attributes)
    return table.select(np.argsort(table.event_id))


def _stated(targets: tuple[str, ...]) -> Iterator[str]:
    for name in targets:
        names = (schema.std_name(name), schema.spread_name(name), schema.log_density_name(name))
        yield from (*names, *schema.interval95_names(name))


def tracks_of(windows: PredictionTable, event_id: NDArray[np.int64]) -> PredictionTable:
    """Return the windows of some electrons."""
    return windows.select(np.isin(windows.column(ELECTRON), event_id))
