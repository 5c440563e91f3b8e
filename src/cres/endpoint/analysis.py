"""The whole analysis of a predictions table: response, window, fits with their uncertainties, limit on the mass."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cres.endpoint.binned import BinnedLikelihood
from cres.endpoint.fit import EndpointFit, fit_endpoint
from cres.endpoint.likelihood import Constraint, EndpointLikelihood, Physics, Window, make_constraints
from cres.endpoint.limits import MassLimit, mass_limit
from cres.endpoint.response import ENERGY, PARAMETERS, Response, energies_and_stds, measure_response
from cres.endpoint.systematics import Shift, systematic_error_ev, systematic_shifts
from cres.errors import UserError
from cres.evaluation.signature import apparatus_notes, signature_of
from cres.evaluation.splits import refuse_training, split_notes
from cres.evaluation.table import PredictionTable

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Options:
    """Choices of the analysis; None means: from the calibration electrons.

    The nuisance parameters' standard deviations: `energy_scale_std_ev` in eV at the endpoint, `resolution_scale_std`
    relative, `efficiency_slope_std` relative per 100 eV.
    """

    window_ev: tuple[float, float] | None = None
    max_std_ev: float | None = None
    max_spread_ev: float | None = None
    physics: Physics = field(default_factory=Physics)
    energy_scale_std_ev: float = 0.0
    resolution_scale_std: float | None = None
    efficiency_slope_std: float | None = None
    confidence: float = 0.9
    systematics: bool = True
    limit: bool = True
    allow_training: bool = False
    """Whether the calibration may hold electrons that the estimator was trained on."""


@dataclass(frozen=True)
class Analysis:
    """Result of an analysis.

    `fit`: statistical uncertainty only, massless neutrino; `full_fit`: nuisance parameters profiled under their
    constraints; `mass_fit` also frees the squared mass; `true_fit`: the fit of the same electrons' true energies,
    where known.
    """

    estimator: str
    options: Options
    response: Response
    likelihood: EndpointLikelihood
    fit: EndpointFit
    full_fit: EndpointFit
    mass_fit: EndpointFit | None
    limit: MassLimit | None
    shifts: list[Shift]
    true_fit: EndpointFit | None
    true_endpoint_ev: float | None
    goodness: tuple[float, int, float]
    notes: tuple[str, ...] = ()
    """What a reader must know of the two tables, in sentences."""

    @property
    def systematic_ev(self) -> float:
        """Quadratic sum of the counted shifts."""
        return systematic_error_ev(self.shifts)

    @property
    def total_ev(self) -> float:
        """Statistical and systematic uncertainty together."""
        return float(np.hypot(self.fit.endpoint_error_ev, self.systematic_ev))

    @property
    def deviation(self) -> float | None:
        """(fitted − true endpoint) over the total uncertainty, where the truth is known."""
        if self.true_endpoint_ev is None:
            return None
        return (self.fit.endpoint_ev - self.true_endpoint_ev) / self.total_ev

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        statistic, degrees, probability = self.goodness
        return {
            "estimator": self.estimator,
            "endpoint_ev": self.fit.endpoint_ev,
            "statistical_ev": self.fit.endpoint_error_ev,
            "systematic_ev": self.systematic_ev,
            "total_ev": self.total_ev,
            "true_endpoint_ev": self.true_endpoint_ev,
            "deviation_in_standard_deviations": self.deviation,
            "true_energies": None if self.true_fit is None else self.true_fit.to_dict(),
            "electrons": self.fit.electrons,
            "window_ev": [self.likelihood.window.low_ev, self.likelihood.window.high_ev],
            "max_std_ev": self.response.max_std_ev,
            "max_spread_ev": self.response.max_spread_ev,
            "goodness": {"chi2": statistic, "degrees_of_freedom": degrees, "p_value": probability},
            "fit": self.fit.to_dict(),
            "fit_with_nuisances": self.full_fit.to_dict(),
            "fit_with_mass": None if self.mass_fit is None else self.mass_fit.to_dict(),
            "mass_limit": None if self.limit is None else self.limit.to_dict(),
            "shifts": [vars(shift) for shift in self.shifts],
            "response": response_summary(self.response),
            "notes": list(self.notes),
        }


def analyse(data: PredictionTable, calibration: PredictionTable, options: Options | None = None) -> Analysis:
    """Fit the endpoint of `data` with the response measured on `calibration`.

    Both tables must come from one estimator. Raises UserError when the tables lack what is needed, and for calibration
    electrons that the estimator was trained on, unless they are allowed.
    """
    options = options or Options()
    if data.is_bound or calibration.is_bound:
        raise UserError("a table of Cramér–Rao bounds holds no estimates: give the predictions of an estimator")
    refuse_training(calibration, "used as calibration", options.allow_training)
    response = measure_response(calibration, options.max_std_ev, options.max_spread_ev)
    energy, std = energies_and_stds(data, response.max_spread_ev)
    window = Window(*options.window_ev) if options.window_ev is not None else default_window(response)
    likelihood = EndpointLikelihood(energy, std, response, window, options.physics)
    fit = fit_endpoint(likelihood, minos=("endpoint_ev",))
    constraints = nuisance_constraints(response, options)
    constrained = likelihood.with_constraints(constraints)
    full_fit = fit_endpoint(constrained, minos=("endpoint_ev",), start=fit.values)
    shifts = systematic_shifts(likelihood, fit, constraints, _from_calibration(options)) if options.systematics else []
    mass_fit, limit = _mass(constrained, full_fit, options) if options.limit else (None, None)
    binned = BinnedLikelihood(energy, std, response, window, options.physics)
    return Analysis(
        data.estimator,
        options,
        response,
        likelihood,
        fit,
        full_fit,
        mass_fit,
        limit,
        shifts,
        _true_energies_fit(data, likelihood),
        true_endpoint_ev(data),
        binned.goodness(fit.values, len(fit.free)),
        tuple(_notes(data, calibration)),
    )


def _notes(data: PredictionTable, calibration: PredictionTable) -> list[str]:
    """Return what the tables say of themselves, and how the records of one differ from those of the other."""
    notes = [f"calibration, {note}" for note in [*apparatus_notes(calibration), *split_notes(calibration)]]
    notes += [f"data, {note}" for note in [*apparatus_notes(data), *split_notes(data)]]
    ours, theirs = signature_of(data), signature_of(calibration)
    if ours is not None and theirs is not None and (differences := ours.differences(theirs, "in the calibration's")):
        notes.append(f"the data's records are not like those of the calibration: {'; '.join(differences)}.")
    return notes


def default_window(response: Response) -> Window:
    """Return the calibration's energy range without its edges, from where electrons outside it would leak in."""
    return Window(response.low_ev + response.edge_ev, response.high_ev - response.edge_ev)


def nuisance_constraints(response: Response, options: Options) -> dict[str, Constraint]:
    """Return the constraints of the nuisance parameters; those of the response come from its calibration statistics."""
    resolution, slope = options.resolution_scale_std, options.efficiency_slope_std
    return make_constraints(
        {
            "energy_shift_ev": options.energy_scale_std_ev,
            "resolution_scale": response.error("log_scale") if resolution is None else resolution,
            "efficiency_slope": response.efficiency.slope_std() if slope is None else slope,
        }
    )


def _from_calibration(options: Options) -> list[str]:
    """Return the nuisance parameters whose constraints come from the calibration's statistics."""
    given = {"resolution_scale": options.resolution_scale_std, "efficiency_slope": options.efficiency_slope_std}
    return [name for name, std in given.items() if std is None]


def true_endpoint_ev(table: PredictionTable) -> float | None:
    """Return the endpoint that a table's simulation used, from its attributes or its configuration, or None."""
    if "true_endpoint_ev" in table.attributes:
        return float(table.attributes["true_endpoint_ev"])
    for value in table.attributes.values():
        if isinstance(value, str) and value.startswith("{"):
            try:
                found = _search(json.loads(value), "endpoint_ev")
            except json.JSONDecodeError:
                continue
            if found is not None:
                return found
    return None


def response_summary(response: Response) -> dict[str, Any]:
    """Return the response's parameters with errors, for JSON and tables."""
    names = {name: [response.parameter(name), response.error(name)] for name in PARAMETERS}
    efficiency = response.efficiency.total(np.array([response.low_ev, response.centre_ev, response.high_ev]))
    return {
        "parameters": names,
        "calibration_electrons": response.electrons,
        "calibration_range_ev": [response.low_ev, response.high_ev],
        "efficiency_low_centre_high": efficiency.tolist(),
    }


def _search(tree: Any, key: str) -> float | None:
    if isinstance(tree, dict):
        # a simulation of another kind of electrons carries the setting, but did not use it
        if isinstance(tree.get(key), int | float) and tree.get("kind", "tritium") == "tritium":
            return float(tree[key])
        children = list(tree.values())
    elif isinstance(tree, list):
        children = tree
    else:
        return None
    for child in children:
        found = _search(child, key)
        if found is not None:
            return found
    return None


def _mass(likelihood: EndpointLikelihood, start: EndpointFit, options: Options) -> tuple[EndpointFit, MassLimit]:
    mass_fit = fit_endpoint(likelihood, free_mass=True, minos=("mass_squared_ev2",), start=start.values)
    return mass_fit, mass_limit(likelihood, mass_fit, options.confidence)


def _true_energies_fit(data: PredictionTable, likelihood: EndpointLikelihood) -> EndpointFit | None:
    """Fit the true energies of the electrons that pass the cut: what a perfect estimator of them would give."""
    if not data.has_truth(ENERGY):
        return None
    truth = data.truth(ENERGY).astype(np.float64)
    chosen = likelihood.response.passes(likelihood.std_ev) & np.isfinite(truth)
    if likelihood.window.contains(truth[chosen]).sum() < 3:
        return None
    exact = np.full(int(chosen.sum()), 1e-3)
    response = likelihood.response
    ideal = Response.ideal(exact, response.low_ev, response.high_ev)
    ideal = replace(ideal, centre_ev=response.centre_ev, efficiency=response.efficiency.collapsed())
    return fit_endpoint(EndpointLikelihood(truth[chosen], exact, ideal, likelihood.window, likelihood.physics))
