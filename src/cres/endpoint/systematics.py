"""What is not counting statistics: shifts of the fitted endpoint when one assumption at a time is moved."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from cres.endpoint.fit import EndpointFit, fit_endpoint
from cres.endpoint.likelihood import NUISANCES, Constraint, EndpointLikelihood
from cres.physics.beta import CORRECTIONS

NEGLIGIBLE = 0.02
"""Directions of the calibration's covariance with less than this share of a standard deviation are not refitted."""


@dataclass(frozen=True)
class Added:
    """What a nuisance parameter adds to the endpoint's error in the common fit of all of them.

    `std` is what was known of it, `after` what the data leave; `correlation` that with the endpoint; `adds_ev` in
    quadrature: the error is that much smaller, √(σ² − adds²), where the parameter is held.
    """

    name: str
    std: float
    after: float
    correlation: float
    adds_ev: float


def added_errors(full_fit: EndpointFit, constraints: Mapping[str, Constraint]) -> list[Added]:
    """Return the table of what each nuisance parameter adds, from the covariance of the fit that frees them all."""
    if "endpoint_ev" not in full_fit.free:
        return []
    row = full_fit.free.index("endpoint_ev")
    found = []
    for name, constraint in constraints.items():
        if name not in full_fit.free:
            continue
        correlation = float(full_fit.correlation[row, full_fit.free.index(name)])
        adds = abs(correlation) * full_fit.endpoint_error_ev
        found.append(Added(name, constraint.std, full_fit.errors[name], correlation, adds))
    return found


@dataclass(frozen=True)
class Shift:
    """The change of endpoint and squared mass when something is moved by one standard deviation.

    `counted` tells whether it belongs to the systematic uncertainty, or only shows what an assumption is worth.
    """

    name: str
    endpoint_ev: float
    mass_squared_ev2: float
    counted: bool

    @property
    def label(self) -> str:
        """The name in words."""
        return self.name.removesuffix("_ev").replace("_", " ")


def systematic_shifts(
    likelihood: EndpointLikelihood,
    best: EndpointFit,
    nuisances: Mapping[str, Constraint],
    from_calibration: Collection[str] = (),
) -> list[Shift]:
    """Refit with each nuisance at ±1 σ, the response moved within its calibration statistics, corrections off.

    `likelihood` has no constraints and `best` is its fit; `nuisances` are the constraints whose widths are used. Those
    `from_calibration` are shown but not counted: the calibration's statistics hold them already.
    """
    return [
        *(
            _nuisance_shift(likelihood, best, name, constraint, counted=name not in from_calibration)
            for name, constraint in nuisances.items()
        ),
        _calibration_shift(likelihood, best),
        *_theory_shifts(likelihood, best),
    ]


def systematic_error_ev(shifts: list[Shift]) -> float:
    """Return the quadratic sum of the counted shifts of the endpoint."""
    return float(np.sqrt(sum(shift.endpoint_ev**2 for shift in shifts if shift.counted)))


def _refit(likelihood: EndpointLikelihood, best: EndpointFit, fixed: Mapping[str, float] | None = None) -> EndpointFit:
    free_mass = "mass_squared_ev2" in best.free
    return fit_endpoint(likelihood, free_mass=free_mass, fixed=fixed, start={**best.values, **(fixed or {})})


def _nuisance_shift(
    likelihood: EndpointLikelihood, best: EndpointFit, name: str, constraint: Constraint, *, counted: bool
) -> Shift:
    # The constraint is needed for the smearing at other scales; the parameter itself stays where it is put.
    movable = likelihood.with_constraints({name: constraint})
    up, down = (_refit(movable, best, {name: NUISANCES[name] + sign * constraint.std}) for sign in (1.0, -1.0))
    return Shift(name, *_half_difference(up, down), counted=counted)


def _calibration_shift(likelihood: EndpointLikelihood, best: EndpointFit) -> Shift:
    """Return the quadratic sum over the principal directions of the response's covariance."""
    endpoint, mass = 0.0, 0.0
    for direction in _principal_directions(likelihood):
        moved = _refit(replace(likelihood, response=likelihood.response.moved(direction)), best)
        endpoint += (moved.endpoint_ev - best.endpoint_ev) ** 2
        mass += (moved.values["mass_squared_ev2"] - best.values["mass_squared_ev2"]) ** 2
    return Shift("calibration_statistics", float(np.sqrt(endpoint)), float(np.sqrt(mass)), counted=True)


def _principal_directions(likelihood: EndpointLikelihood) -> Iterator[np.ndarray]:
    covariance = likelihood.response.full_covariance()
    scale = np.sqrt(np.diagonal(covariance))
    active = scale > 0
    if not active.any():
        return
    correlation = covariance[np.ix_(active, active)] / np.outer(scale[active], scale[active])
    variances, vectors = np.linalg.eigh(correlation)
    for variance, vector in zip(variances, vectors.T, strict=True):
        if variance > NEGLIGIBLE:
            direction = np.zeros(len(scale))
            direction[active] = np.sqrt(variance) * vector * scale[active]
            yield direction


def _theory_shifts(likelihood: EndpointLikelihood, best: EndpointFit) -> Iterator[Shift]:
    bare = replace(likelihood.physics, corrections=())
    if set(likelihood.physics.corrections) == set(CORRECTIONS):
        moved = _refit(replace(likelihood, physics=bare), best)
        yield Shift("without_small_corrections", *_difference(moved, best), counted=False)
    if likelihood.physics.final_states is not None:
        moved = _refit(replace(likelihood, physics=replace(likelihood.physics, final_states=None)), best)
        yield Shift("without_final_states", *_difference(moved, best), counted=False)


def _difference(first: EndpointFit, second: EndpointFit) -> tuple[float, float]:
    return (
        first.endpoint_ev - second.endpoint_ev,
        first.values["mass_squared_ev2"] - second.values["mass_squared_ev2"],
    )


def _half_difference(first: EndpointFit, second: EndpointFit) -> tuple[float, float]:
    endpoint, mass = _difference(first, second)
    return endpoint / 2, mass / 2
