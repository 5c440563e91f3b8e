"""Maximum-likelihood fits of the endpoint: start values, MIGRAD, HESSE, MINOS, profiles."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from iminuit import Minuit
from numpy.typing import NDArray

from cres.endpoint.likelihood import NUISANCES, PARAMETERS, Constraint
from cres.errors import UserError

Array = NDArray[np.float64]

SCAN_STEPS = 24
BACKGROUND_STARTS = (0.003, 0.05)
NO_BACKGROUND = 1e-2
"""Fewer background electrons than this are none."""
FURTHEST_EV = 30.0
"""An endpoint further above the highest electron is not seen in the data."""
REACH_EV = 1000.0
"""No endpoint is tried further from the electrons: without one in the data the likelihood is flat for ever."""
BENT = 1.5
"""Where half of the MINOS interval and the HESSE error differ by more than this factor, the latter means nothing."""


@runtime_checkable
class Fittable(Protocol):
    """What can be fitted: the unbinned and the binned likelihood."""

    constraints: Mapping[str, Constraint]

    @property
    def electrons(self) -> int:
        """Number of electrons."""

    @property
    def calibrated_range_ev(self) -> tuple[float, float]:
        """Lowest and highest calibrated energy, from where the endpoint is looked for."""

    def nll(self, values: Mapping[str, float]) -> float:
        """−ln L."""


@dataclass(frozen=True)
class EndpointFit:
    """Result of a fit.

    `values`, `errors` (HESSE) and `minos` (lower, upper; errors with sign) by parameter; `correlation` between the
    `free` parameters; `nll` −ln L at the minimum. `problems` says in sentences why the errors mean nothing; a fit
    without any is `valid`.
    """

    values: dict[str, float]
    errors: dict[str, float]
    free: tuple[str, ...]
    correlation: Array
    nll: float
    electrons: int
    minos: dict[str, tuple[float, float]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether the errors mean something."""
        return not self.problems

    @property
    def endpoint_ev(self) -> float:
        """The endpoint."""
        return self.values["endpoint_ev"]

    @property
    def endpoint_error_ev(self) -> float:
        """Its standard error (HESSE)."""
        return self.errors["endpoint_ev"]

    def interval_ev(self) -> tuple[float, float]:
        """Return the 68 % interval of the endpoint: MINOS where it was asked for and found, HESSE otherwise."""
        lower, upper = self.minos.get("endpoint_ev", (-self.endpoint_error_ev, self.endpoint_error_ev))
        return self.endpoint_ev + lower, self.endpoint_ev + upper

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        plain = {"correlation": self.correlation.tolist(), "free": list(self.free), "valid": self.valid}
        return asdict(self) | plain | {"problems": list(self.problems)}


def fit_endpoint(
    likelihood: Fittable,
    *,
    free_mass: bool = False,
    minos: Collection[str] = (),
    fixed: Mapping[str, float] | None = None,
    start: Mapping[str, float] | None = None,
) -> EndpointFit:
    """Fit endpoint, signal and background; the squared mass when asked; nuisance parameters that are constrained.

    `fixed` holds parameters at values of their own; `start` replaces the scan for start values. `minos` names the
    parameters that get MINOS intervals. A fit that does not converge says so in `valid`.
    """
    fixed = dict(fixed or {})
    first = dict(start) if start is not None else _scan(likelihood, fixed)
    minuit = _minuit(likelihood, {**first, **fixed}, free_mass, fixed)
    minuit.migrad(ncall=4000)
    if not minuit.valid:
        minuit.simplex(ncall=2000).migrad(ncall=4000)
    _hesse(minuit)
    free = tuple(name for name in PARAMETERS if not minuit.fixed[name])
    errors = {name: float(minuit.errors[name]) if name in free else 0.0 for name in PARAMETERS}
    correlation, problems = _correlation(minuit, free), _problems(minuit, likelihood)
    intervals: dict[str, tuple[float, float]] = {}
    for name in minos:
        if name in free and minuit.valid:
            minuit.minos(name)
            merror = minuit.merrors[name]
            if merror.is_valid:
                intervals[name] = (float(merror.lower), float(merror.upper))
            else:
                problems.append(f"the likelihood does not fall to either side of {name}: it has no interval")
    return EndpointFit(
        values={name: float(minuit.values[name]) for name in PARAMETERS},
        errors=errors,
        free=free,
        correlation=correlation,
        nll=float(minuit.fval),
        electrons=likelihood.electrons,
        minos=intervals,
        problems=(*problems, *_bent(errors, intervals)),
    )


def _hesse(minuit: Minuit) -> None:
    """Compute errors; a background that ends at zero is held there, where it has none that are symmetric."""
    if not minuit.fixed["background"] and minuit.values["background"] < NO_BACKGROUND:
        minuit.values["background"], minuit.fixed["background"] = 0.0, True
        minuit.migrad(ncall=4000)
    minuit.hesse()


def _problems(minuit: Minuit, likelihood: Fittable) -> list[str]:
    """Return in sentences what makes errors meaningless at a minimum."""
    found = []
    if not minuit.valid:
        found.append("the fit did not converge")
    if minuit.covariance is None or not (minuit.fmin and minuit.fmin.has_posdef_covar):
        found.append("the covariance of the parameters is not positive definite")
    for name in PARAMETERS:
        low, high = minuit.limits[name]
        value, reach = minuit.values[name], 1e-3 * minuit.errors[name]
        if not minuit.fixed[name] and (value - low < reach or high - value < reach):
            found.append(f"{name} ended at its limit {value:g}")
    lowest, highest = likelihood.calibrated_range_ev
    endpoint, mass_squared = minuit.values["endpoint_ev"], minuit.values["mass_squared_ev2"]
    if mass_squared > max(endpoint - lowest, 0.0) ** 2:
        found.append(f"m² = {mass_squared:.0f} eV² puts the end of the spectrum below the lowest electron")
    elif not lowest <= endpoint - np.sqrt(max(mass_squared, 0.0)) <= highest + FURTHEST_EV:
        found.append(
            f"the fitted endpoint {endpoint:.1f} eV lies outside the electrons, {lowest:.1f} to {highest:.1f} eV"
        )
    return found


def _bent(errors: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]) -> list[str]:
    """Return in sentences which profiles are no parabola: HESSE and MINOS disagree."""
    return [
        f"the profile of {name} is no parabola: + {upper:.3g} − {-lower:.3g}, its curvature says ± {errors[name]:.3g}"
        for name, (lower, upper) in intervals.items()
        if not 1 / BENT < (upper - lower) / (2 * errors[name]) < BENT
    ]


def profile(likelihood: Fittable, best: EndpointFit, name: str, points: Array) -> Array:
    """Return 2 Δ(−ln L) at fixed values of a parameter, all other free parameters fitted anew, (point,)."""
    free_mass = "mass_squared_ev2" in best.free
    result = np.empty(len(points))
    order = np.argsort(np.abs(points - best.values[name]))
    for side in (order[points[order] >= best.values[name]], order[points[order] < best.values[name]]):
        start = dict(best.values)
        for index in side:
            step = fit_endpoint(
                likelihood,
                free_mass=free_mass,
                fixed={name: float(points[index])},
                start={**start, name: points[index]},
            )
            start = dict(step.values)
            result[index] = 2 * (step.nll - best.nll)
    return np.maximum(result, 0.0)


def nll_within_reach(likelihood: Fittable, values: Mapping[str, float]) -> float:
    """Return −ln L; of an endpoint far from all electrons that of the nearest one within reach, and a steep rise."""
    lowest, highest = likelihood.calibrated_range_ev
    endpoint = values["endpoint_ev"]
    nearest = min(max(endpoint, lowest - REACH_EV), highest + REACH_EV)
    if nearest == endpoint:
        return likelihood.nll(values)
    return likelihood.nll({**values, "endpoint_ev": nearest}) + (endpoint - nearest) ** 2


def _minuit(likelihood: Fittable, start: Mapping[str, float], free_mass: bool, fixed: Mapping[str, float]) -> Minuit:
    def cost(*values: float) -> float:
        return nll_within_reach(likelihood, dict(zip(PARAMETERS, values, strict=True)))

    minuit = Minuit(cost, *(float(start[name]) for name in PARAMETERS), name=PARAMETERS)
    minuit.errordef = Minuit.LIKELIHOOD
    minuit.strategy = 1
    count = max(likelihood.electrons, 1)
    minuit.limits["signal"], minuit.limits["background"] = (0.0, None), (0.0, None)
    minuit.errors["endpoint_ev"], minuit.errors["mass_squared_ev2"] = 0.5, 50.0
    minuit.errors["signal"], minuit.errors["background"] = np.sqrt(count), max(np.sqrt(start["background"]), 0.5)
    for name in PARAMETERS:
        minuit.fixed[name] = name in fixed
    minuit.fixed["mass_squared_ev2"] = not free_mass or "mass_squared_ev2" in fixed
    for name in NUISANCES:
        constraint = likelihood.constraints.get(name)
        minuit.fixed[name] = constraint is None or name in fixed
        if constraint is not None:
            minuit.errors[name] = constraint.std
            minuit.limits[name] = (constraint.centre - 5 * constraint.std, constraint.centre + 5 * constraint.std)
    if likelihood.constraints.get("resolution_scale") is not None:
        low, high = minuit.limits["resolution_scale"]
        minuit.limits["resolution_scale"] = (max(low, 0.2), high)
    return minuit


def _scan(likelihood: Fittable, fixed: Mapping[str, float]) -> dict[str, float]:
    """Return the best point of a coarse grid of endpoints and background fractions."""
    low, high = likelihood.calibrated_range_ev
    count = float(likelihood.electrons)
    best: dict[str, float] = {}
    smallest = np.inf
    for endpoint in np.linspace(low + 2.0, high + 2.0, SCAN_STEPS):
        for fraction in BACKGROUND_STARTS:
            values = dict.fromkeys(PARAMETERS, 0.0) | NUISANCES
            values |= {"endpoint_ev": float(endpoint), "signal": (1 - fraction) * count, "background": fraction * count}
            values |= fixed
            nll = likelihood.nll(values)
            if nll < smallest:
                best, smallest = values, nll
    if not best:
        raise UserError("the likelihood is not a number anywhere: are the energies in the table finite?")
    return best


def _correlation(minuit: Minuit, free: tuple[str, ...]) -> Array:
    if minuit.covariance is None or not free:
        return np.full((len(free), len(free)), np.nan)
    index = [PARAMETERS.index(name) for name in free]
    return np.array(minuit.covariance.correlation())[np.ix_(index, index)]
