"""The whole analysis of a predictions table: response, window, fits with their uncertainties, limit on the mass."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cres.endpoint.binned import BinnedLikelihood
from cres.endpoint.endpoint_interval import EndpointInterval, endpoint_interval, interval_of_profile, massless
from cres.endpoint.fit import EndpointFit, fit_endpoint
from cres.endpoint.likelihood import Constraint, Correlations, EndpointLikelihood, Physics, make_constraints
from cres.endpoint.limits import DEFAULT_TOYS, MassLimits, mass_grid_ev2, mass_limits
from cres.endpoint.quality import (
    calibration_warnings,
    data_warnings,
    fitting_window,
    goodness_warning,
    missing_endpoint,
    samples_warnings,
    usable,
)
from cres.endpoint.response import ENERGY, PARAMETERS, Response, energies_and_stds, measure_response
from cres.endpoint.sampled import SampledEnergies
from cres.endpoint.smeared import SmearedSpectra
from cres.endpoint.systematics import Added, Shift, added_errors, systematic_error_ev, systematic_shifts
from cres.errors import UserError
from cres.evaluation.signature import signature_of
from cres.evaluation.weighted import WeightedSamples
from cres.physics.final_states import FinalStates
from cres.ranges import COUNT, NOT_NEGATIVE, POSITIVE, Allowed
from reconstruction.judging.tables.apparatus import apparatus_notes
from reconstruction.judging.tables.splits import refuse_training, split_notes
from reconstruction.judging.tables.table import PredictionTable

Array = NDArray[np.float64]

DISAGREEMENT = 0.25
"""Part of the 68 % interval by which the minimiser may miss what a search over all endpoints finds."""
SCANNED_MASSES_EV = (20.0, 100.0)
"""Least and largest mass that ends the scan."""

ALLOWED = {
    "max_std_ev": POSITIVE,
    "max_spread_ev": POSITIVE,
    "energy_scale_std_ev": NOT_NEGATIVE,
    "resolution_scale_std": NOT_NEGATIVE,
    "krypton_resolution_std": NOT_NEGATIVE,
    "efficiency_slope_std": NOT_NEGATIVE,
    "confidence": Allowed(0, 1, above=True, below=True),
    "mass_toys": COUNT,
}


@dataclass(frozen=True)
class Options:
    """Choices of the analysis; None means: from the calibration electrons, and for `physics` `physics_of` the data.

    `mass_toys` pseudo-experiments at each point make the belt of the Neyman construction (0: none is made). Standard
    deviations of nuisance parameters: `energy_scale_std_ev` in eV at the endpoint, `resolution_scale_std` relative, to
    which `krypton_resolution_std`, that of a factor from krypton, is added, `efficiency_slope_std` per 100 eV;
    `nuisance_stds` those of any other, by name (`cres.endpoint.likelihood.NUISANCES`), and `correlations` between them.
    """

    window_ev: tuple[float, float] | None = None
    max_std_ev: float | None = None
    max_spread_ev: float | None = None
    physics: Physics | None = None
    energy_scale_std_ev: float = 0.0
    resolution_scale_std: float | None = None
    krypton_resolution_std: float = 0.0
    nuisance_stds: Mapping[str, float] = field(default_factory=dict)
    correlations: Correlations = field(default_factory=dict)
    efficiency_slope_std: float | None = None
    confidence: float = 0.9
    systematics: bool = True
    limit: bool = True
    mass_toys: int = DEFAULT_TOYS
    allow_training: bool = False
    """Whether the calibration may hold electrons that the estimator was trained on."""

    def __post_init__(self) -> None:
        """Raise UserError for numbers that mean nothing."""
        for name, allowed in ALLOWED.items():
            value = getattr(self, name)
            if value is not None and value not in allowed and not (name.startswith("max_") and value == np.inf):
                raise UserError(f"the option {name} of the endpoint fit is {value:g}: it must be {allowed}")
        for name, std in self.nuisance_stds.items():
            if std not in NOT_NEGATIVE:
                raise UserError(f"the standard deviation of {name} is {std:g}: it must be {NOT_NEGATIVE}")


@dataclass(frozen=True)
class Analysis:
    """Result of an analysis.

    `fit`: statistical uncertainty only, massless neutrino, with the 68 % `interval`; `full_fit`: nuisance parameters
    profiled under their constraints; `limit`: what is said about the mass; `true_fit`: the fit of the same electrons'
    true energies, where known. `warnings` are sentences that go wherever the result goes.
    """

    estimator: str
    options: Options
    response: Response
    likelihood: EndpointLikelihood
    fit: EndpointFit
    interval: EndpointInterval
    full_fit: EndpointFit
    limit: MassLimits | None
    shifts: list[Shift]
    added: list[Added]
    true_fit: EndpointFit | None
    true_endpoint_ev: float | None
    goodness: tuple[float, int, float]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What a reader must know of the two tables, in sentences."""

    @property
    def valid(self) -> bool:
        """Whether the endpoint and its uncertainty mean something."""
        return self.fit.valid

    @property
    def statistical_ev(self) -> float:
        """Statistical uncertainty: half of the interval where it was found, the curvature's otherwise."""
        if self.interval.found:
            return 0.5 * (self.interval.high_ev - self.interval.low_ev)
        return self.fit.endpoint_error_ev

    @property
    def systematic_ev(self) -> float:
        """Quadratic sum of the counted shifts."""
        return systematic_error_ev(self.shifts)

    @property
    def total_ev(self) -> float:
        """Statistical and systematic uncertainty together."""
        return float(np.hypot(self.statistical_ev, self.systematic_ev))

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
            "valid": self.valid,
            "warnings": list(self.warnings),
            "statistical_ev": self.statistical_ev,
            "interval": self.interval.to_dict(),
            "systematic_ev": self.systematic_ev,
            "total_ev": self.total_ev,
            "true_endpoint_ev": self.true_endpoint_ev,
            "deviation_in_standard_deviations": self.deviation,
            "true_energies": None if self.true_fit is None else self.true_fit.to_dict(),
            "electrons": self.fit.electrons,
            "final_states": final_states_name(self.likelihood.physics),
            "window_ev": [self.likelihood.window.low_ev, self.likelihood.window.high_ev],
            "max_std_ev": self.response.max_std_ev,
            "max_spread_ev": self.response.max_spread_ev,
            "goodness": {"chi2": statistic, "degrees_of_freedom": degrees, "p_value": probability},
            "fit": self.fit.to_dict(),
            "fit_with_nuisances": self.full_fit.to_dict(),
            "mass_limit": None if self.limit is None else self.limit.to_dict(),
            "shifts": [vars(shift) for shift in self.shifts],
            "added": [vars(added) for added in self.added],
            "response": response_summary(self.response),
            "notes": list(self.notes),
        }


def analyse(
    data: PredictionTable,
    calibration: PredictionTable,
    options: Options | None = None,
    samples: WeightedSamples | None = None,
) -> Analysis:
    """Fit the endpoint of `data` with the response measured on `calibration`.

    Both tables must come from one estimator. With weighted `samples` of the data's electrons each one's likelihood is
    the sum over them; the interval is then that of the fit's profile (MINOS), and the mass is not scanned. Raises
    UserError when the tables lack what is needed, and for calibration electrons that the estimator was trained on,
    unless they are allowed.
    """
    options = options or Options()
    if data.is_bound or calibration.is_bound:
        raise UserError("a table of Cramér–Rao bounds holds no estimates: give the predictions of an estimator")
    refuse_training(calibration, "used as calibration", options.allow_training)
    notes = tuple(_notes(data, calibration))
    calibration, said = usable(calibration, "calibration table", known=True)
    response = measure_response(calibration, options.max_std_ev, options.max_spread_ev)
    data, more = usable(data, "data table")
    window, cut = fitting_window(response, options.window_ev)
    physics = physics_of(data) if options.physics is None else options.physics
    energy, std = energies_and_stds(data, response.max_spread_ev)
    sampled = None if samples is None else SampledEnergies.of(samples, data.event_id, energy, std)
    if sampled is not None:
        notes += (f"{int(sampled.known.sum())} of {len(data)} electrons are read by their weighted samples.",)
        notes += ("With weighted samples the mass is not scanned.",) if options.limit else ()
    likelihood = EndpointLikelihood(energy, std, response, window, physics, samples=sampled)
    warnings = [
        *said,
        *more,
        *calibration_warnings(calibration, response),
        *cut,
        *data_warnings(likelihood, calibration),
        *([] if samples is None else samples_warnings(samples, window)),
    ]
    fit = fit_endpoint(likelihood)
    missing = missing_endpoint(likelihood, fit, window)
    if missing is None:
        # a profile without an endpoint is flat: MINOS would follow it for minutes, far out of the window
        fit = fit_endpoint(likelihood, minos=("endpoint_ev",), start=fit.values)
    if sampled is None:
        spectra = massless(response, window, physics)
        interval = endpoint_interval(spectra, spectra.sample(energy, std))
    else:
        interval = interval_of_profile(fit)
    fit = _judged(fit, interval, missing)
    constraints = nuisance_constraints(response, options)
    constrained = likelihood.with_constraints(constraints, options.correlations)
    # an endpoint that is not seen has neither systematic uncertainties nor a mass
    seen = missing is None
    full_fit = fit_endpoint(constrained, start=fit.values) if seen else fit
    shifts = []
    if options.systematics and seen:
        shifts = systematic_shifts(likelihood, fit, constraints, _from_calibration(options))
    limit = _mass(likelihood, fit, options) if options.limit and seen and sampled is None else None
    goodness = BinnedLikelihood(energy, std, response, window, physics).goodness(fit.values, len(fit.free))
    warnings += [*fit.problems, *(goodness_warning(goodness[2]) if seen else [])]
    warnings += [] if limit is None else limit.problems()
    return Analysis(
        data.estimator,
        options,
        response,
        likelihood,
        fit,
        interval,
        full_fit,
        limit,
        shifts,
        added_errors(full_fit, constraints) if seen else [],
        # beside a blinded endpoint the truth would tell the offset
        None if physics.endpoint_offset_ev else _true_energies_fit(data, likelihood),
        None if physics.endpoint_offset_ev else true_endpoint_ev(data),
        goodness,
        tuple(dict.fromkeys(warnings)),
        notes,
    )


def _notes(data: PredictionTable, calibration: PredictionTable) -> list[str]:
    """Return what the tables say of themselves, and how the records of one differ from those of the other."""
    notes = [f"calibration, {note}" for note in [*apparatus_notes(calibration), *split_notes(calibration)]]
    notes += [f"data, {note}" for note in [*apparatus_notes(data), *split_notes(data)]]
    ours, theirs = signature_of(data), signature_of(calibration)
    if ours is not None and theirs is not None and (differences := ours.differences(theirs, "in the calibration's")):
        notes.append(f"the data's records are not like those of the calibration: {'; '.join(differences)}.")
    return notes


def _judged(fit: EndpointFit, interval: EndpointInterval, missing: str | None) -> EndpointFit:
    """Return a fit whose problems are those of its interval: the curvature is not what is quoted."""
    # these speak of errors that are taken from the interval
    problems = [] if missing is None else [missing]
    problems += [problem for problem in fit.problems if "no parabola" not in problem and "no interval" not in problem]
    if missing is None and not interval.found:
        problems.append("the likelihood does not fall to both sides of the endpoint: it has no 68 % interval")
    elif missing is None and abs(interval.best_ev - fit.endpoint_ev) > DISAGREEMENT * (
        interval.high_ev - interval.low_ev
    ):
        problems.append(f"a search over all endpoints finds {interval.best_ev:.2f} eV, not {fit.endpoint_ev:.2f} eV")
    return replace(fit, problems=tuple(problems))


def physics_of(table: PredictionTable) -> Physics:
    """Return the decay of a table's electrons: the final states its simulation used, those of T₂ where it says nothing.

    Simulations from before there were final states had none.
    """
    if "final_states" in table.attributes:
        return Physics(FinalStates.of(str(table.attributes["final_states"])))
    if true_endpoint_ev(table) is None:
        return Physics(FinalStates.t2())
    named = _found(table, "final_states", str)
    return Physics(None if named is None else FinalStates.of(str(named)))


def final_states_name(physics: Physics) -> str:
    """Return the source of the final states, or "none"."""
    return "none" if physics.final_states is None else physics.final_states.source


def nuisance_constraints(response: Response, options: Options) -> dict[str, Constraint]:
    """Return the constraints of the nuisance parameters; those of the response come from its calibration statistics."""
    resolution, slope = options.resolution_scale_std, options.efficiency_slope_std
    return make_constraints(
        {
            "energy_shift_ev": options.energy_scale_std_ev,
            "resolution_scale": np.hypot(
                response.error("log_scale") if resolution is None else resolution, options.krypton_resolution_std
            ),
            "efficiency_slope": response.efficiency.slope_std() if slope is None else slope,
            **options.nuisance_stds,
        }
    )


def _from_calibration(options: Options) -> list[str]:
    """Return the nuisance parameters whose constraints come from the calibration's statistics."""
    known = {
        "resolution_scale": options.resolution_scale_std is None and not options.krypton_resolution_std,
        "efficiency_slope": options.efficiency_slope_std is None,
    }
    return [name for name, from_calibration in known.items() if from_calibration]


def true_endpoint_ev(table: PredictionTable) -> float | None:
    """Return the endpoint that a table's simulation used, from its attributes or its configuration, or None."""
    if "true_endpoint_ev" in table.attributes:
        return float(table.attributes["true_endpoint_ev"])
    found = _found(table, "endpoint_ev", int | float)
    return None if found is None else float(found)


def _found(table: PredictionTable, key: str, kind: Any) -> Any:
    """Return a setting of the simulation that a table's attributes hold as JSON, or None."""
    for value in table.attributes.values():
        if isinstance(value, str) and value.startswith("{"):
            try:
                found = _search(json.loads(value), key, kind)
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


def _search(tree: Any, key: str, kind: Any) -> Any:
    if isinstance(tree, dict):
        # a simulation of another kind of electrons carries the setting, but did not use it
        if isinstance(tree.get(key), kind) and tree.get("kind", "tritium") == "tritium":
            return tree[key]
        children = list(tree.values())
    elif isinstance(tree, list):
        children = tree
    else:
        return None
    for child in children:
        found = _search(child, key, kind)
        if found is not None:
            return found
    return None


def _mass(likelihood: EndpointLikelihood, fit: EndpointFit, options: Options) -> MassLimits:
    """Return what the electrons say about the mass; masses are scanned that leave some of the window above the edge."""
    depth = fit.endpoint_ev - likelihood.window.low_ev
    squares = mass_grid_ev2(float(np.clip(depth, *SCANNED_MASSES_EV)))
    spectra = SmearedSpectra(likelihood.response, likelihood.window, likelihood.physics, squares)
    sample = spectra.sample(likelihood.energy_ev, likelihood.std_ev)
    return mass_limits(spectra, sample, options.confidence, options.mass_toys)


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
    physics = replace(likelihood.physics, missed_fraction=0.0)
    return fit_endpoint(EndpointLikelihood(truth[chosen], exact, ideal, likelihood.window, physics))
