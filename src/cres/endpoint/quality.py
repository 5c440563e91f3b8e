"""What a table holds that no fit can use, and whether the data show what is fitted: counted, named, in sentences."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cres.endpoint.fit import EndpointFit, Fittable
from cres.endpoint.likelihood import PARAMETERS, EndpointLikelihood, FitWindow
from cres.endpoint.response import ENERGY, LIMITS, Response, energies_and_stds
from cres.endpoint.response import PARAMETERS as RESPONSE_PARAMETERS
from cres.errors import UserError
from cres.evaluation.weighted import WeightedSamples
from reconstruction.judging.tables.table import PredictionTable

Array = NDArray[np.float64]

FEWEST = 5
FEW = 20
STUCK_SHARE = 0.05
"""An estimate that so many electrons share to the last digit comes from an estimator that is stuck."""
LEAST_RISE = 12.0
"""2 Δ(−ln L) by which a spectrum with an endpoint must describe the electrons better than a flat background."""
WORST_P_VALUE = 1e-3
SMALLEST_SLOPE = 0.3
COPIED = 1e-3
"""Half of the estimates within this part of their error bar from the truth were not estimated."""


def usable(table: PredictionTable, what: str, known: bool = False) -> tuple[PredictionTable, list[str]]:
    """Return the electrons that state an energy and a positive error bar, and sentences on those that do not.

    `what` names the table for the reader; of electrons that are to be `known` the true energy counts, too. Raises
    UserError when too few remain, or when the estimates do not vary, or the true energies do not.
    """
    energy, std = energies_and_stds(table)
    stated = {
        "state no energy (not a number, or infinite)": ~np.isfinite(energy),
        "state no uncertainty (not a number)": np.isfinite(energy) & np.isnan(std),
        "state an uncertainty of zero": np.isfinite(energy) & (std == 0),
        "state a negative uncertainty": np.isfinite(energy) & (std < 0),
        "state an infinite uncertainty": np.isfinite(energy) & np.isposinf(std),
    }
    truth = table.truth(ENERGY).astype(np.float64) if known and table.has_truth(ENERGY) else np.zeros(len(table))
    stated["have no true energy (not a number, or infinite)"] = np.isfinite(energy) & ~np.isfinite(truth)
    counts = {reason: int(wrong.sum()) for reason, wrong in stated.items() if wrong.any()}
    kept = ~np.any([*stated.values()], axis=0)
    said = ", ".join(f"{count} {reason}" for reason, count in counts.items())
    if kept.sum() < FEWEST:
        reason = f": {said}; a fit weighs electrons with a positive uncertainty" if said else ""
        raise UserError(
            f"{int(kept.sum())} of {len(table)} electrons of the {what} can be used, {FEWEST} or more are needed"
            f"{reason}"
        )
    if known and table.has_truth(ENERGY):
        _telling(energy[kept], truth[kept], std[kept], what)
    warnings = (
        [f"{len(table) - int(kept.sum())} of {len(table)} electrons of the {what} are left out: {said}"] if said else []
    )
    return (table.select(np.flatnonzero(kept)) if said else table), warnings + _stuck(energy[kept], what)


def _telling(energy_ev: Array, truth_ev: Array, std_ev: Array, what: str) -> None:
    """Raise UserError where true energies are all alike, or where the estimates are the true energies."""
    if np.ptp(truth_ev) == 0:
        raise UserError(
            f"the true energies of the {len(truth_ev)} electrons of the {what} are all {truth_ev[0]:g} eV: the "
            "response is measured on energies that are spread over the window"
        )
    if np.median(np.abs(energy_ev - truth_ev) / std_ev) < COPIED:
        raise UserError(
            f"the estimates of the {what} are the true energies, to {COPIED:g} of their error bars: no estimator does "
            "that; is the column of estimates a copy of the truth?"
        )


def _stuck(energy_ev: Array, what: str) -> list[str]:
    values, counts = np.unique(energy_ev, return_counts=True)
    commonest = int(counts.max())
    if len(values) < FEWEST:
        raise UserError(
            f"the {len(energy_ev)} electrons of the {what} have {len(values)} different energies in all (such as "
            f"{values[0]:g} eV): the estimator is stuck"
        )
    if commonest > max(STUCK_SHARE * len(energy_ev), 2):
        place = values[int(np.argmax(counts))]
        return [
            f"{commonest} of {len(energy_ev)} electrons of the {what} have exactly {place:g} eV: the estimator is stuck"
        ]
    return []


def calibration_warnings(table: PredictionTable, response: Response) -> list[str]:
    """Return sentences on a calibration that does not determine the response.

    Raises UserError where the estimates do not follow the true energies at all.
    """
    energy, std = energies_and_stds(table, response.max_spread_ev)
    truth = table.truth("energy_ev").astype(np.float64)
    good = response.passes(std) & np.isfinite(truth)
    slope = float(np.polyfit(truth[good], energy[good], 1)[0]) if np.ptp(truth[good]) > 0 else 0.0
    if slope < SMALLEST_SLOPE:
        raise UserError(
            f"the estimates of the {int(good.sum())} calibration electrons that pass the cut hardly follow their true "
            f"energies (slope {slope:.2f}): such an estimator tells no endpoint"
        )
    said = []
    for name, (low, high) in LIMITS.items():
        value = response.values[RESPONSE_PARAMETERS.index(name)]
        free = response.covariance[RESPONSE_PARAMETERS.index(name)].any()
        # a tail of nothing is no fault
        if free and (value > high - 1e-3 * (high - low) or (low < 0 and value < low + 1e-3 * (high - low))):
            said.append(f"the response's {name} ended at its limit {value:g}: the calibration does not determine it")
    return said


def fitting_window(response: Response, wanted: tuple[float, float] | None) -> tuple[FitWindow, list[str]]:
    """Return the window of the fit: that which is wanted as far as the calibration reaches, and what was cut off.

    By default the calibration's range without its edges, from where electrons outside it would leak in. Raises
    UserError where nothing of the window is calibrated.
    """
    default = FitWindow(response.low_ev + response.edge_ev, response.high_ev - response.edge_ev)
    if wanted is None:
        return default, []
    asked = FitWindow(*wanted)
    low, high = max(asked.low_ev, response.low_ev), min(asked.high_ev, response.high_ev)
    reach = f"the calibration covers {response.low_ev:.1f} to {response.high_ev:.1f} eV"
    if not low < high:
        raise UserError(
            f"the fit window {asked.low_ev:g} to {asked.high_ev:g} eV lies outside what is calibrated: {reach}"
        )
    if (low, high) == (asked.low_ev, asked.high_ev):
        return asked, []
    # where it is cut, the margin holds that the default has
    low = default.low_ev if low > asked.low_ev else low
    high = default.high_ev if high < asked.high_ev else high
    cut = FitWindow(low, high)
    return cut, [
        f"the fit window {asked.low_ev:g} to {asked.high_ev:g} eV is cut to {low:.1f} to {high:.1f} eV: {reach}"
    ]


def data_warnings(likelihood: EndpointLikelihood, calibration: PredictionTable) -> list[str]:
    """Return sentences on data that the calibration does not stand for."""
    said = []
    if likelihood.electrons < FEW:
        rests = "rests on pseudo-experiments" if likelihood.samples is None else "is that of χ², which wants many"
        said.append(f"{likelihood.electrons} electrons in the fit window are few: the interval {rests}")
    response = likelihood.response
    _, known = energies_and_stds(calibration, response.max_spread_ev)
    known = known[response.passes(known)]
    std = likelihood.std_ev[response.passes(likelihood.std_ev)]
    low, high = np.quantile(known, [0.01, 0.99])
    if len(std) and not low <= np.median(std) <= high:
        said.append(
            f"the data's error bars (median {np.median(std):.3g} eV) are not like the calibration's ({low:.3g} to "
            f"{high:.3g} eV): is it the same estimator and apparatus?"
        )
    return said


def samples_warnings(samples: WeightedSamples, window: FitWindow) -> list[str]:
    """Return sentences on weighted samples whose prior ends within the window of the fit."""
    prior = samples.prior_energy_ev
    if prior is None or (prior[0] <= window.low_ev and window.high_ev <= prior[1]):
        return []
    return [
        f"the weighted samples were made for energies of {prior[0]:.1f} to {prior[1]:.1f} eV, and the fit window is "
        f"{window.low_ev:.1f} to {window.high_ev:.1f} eV: their posteriors end too early; narrow it (--window)"
    ]


def missing_endpoint(likelihood: Fittable, fit: EndpointFit, window: FitWindow) -> str | None:
    """Return what speaks against an endpoint in the data, or None: a background does as well, or it lies outside."""
    count = float(likelihood.electrons)
    flat: Mapping[str, float] = dict.fromkeys(PARAMETERS, 0.0) | fit.values | {"signal": 0.0, "background": count}
    gain = 2 * (likelihood.nll(flat) - fit.nll)
    if gain < LEAST_RISE:
        return (
            f"no endpoint is seen: a flat background describes the {likelihood.electrons} electrons as well "
            f"(2 Δ ln L = {gain:.1f}): the fitted endpoint means nothing"
        )
    if not window.low_ev < fit.endpoint_ev < window.high_ev:
        return (
            f"the fitted endpoint {fit.endpoint_ev:.1f} eV lies outside the fit window {window.low_ev:.1f} to "
            f"{window.high_ev:.1f} eV: no endpoint is seen"
        )
    return None


def goodness_warning(p_value: float) -> list[str]:
    """Return a sentence where the model does not describe the spectrum."""
    if p_value >= WORST_P_VALUE:
        return []
    return [f"the goodness of fit (p = {p_value:.1g}) excludes the model: spectrum, response or background differ"]
