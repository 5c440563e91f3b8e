"""The unbinned extended likelihood of a beta spectrum with flat background and per-electron resolution.

−ln L = ν_s + ν_b − Σ_i ln(ν_s s_i/S + ν_b b_i) + constraints, with electron i's calibrated energy y_i, width s_i and
class j of stated uncertainty: s_i = ∫ N(y_i; K, s_i) ε_j(K) dΓ/dK dK, S = ∫ Σ_j ε_j(K) P_j(y in window | K) dΓ/dK dK,
b_i = (share of class j in a flat spectrum)/(window). Resolution and stated uncertainty of the window's electrons enter
conditionally, so that their distribution need not be known: only that within a class it does not depend on K.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array

from cres.endpoint.efficiency import ENERGY_UNIT_EV
from cres.endpoint.kernel import smearing_matrix
from cres.endpoint.model import SpectrumModel
from cres.endpoint.response import Response
from cres.endpoint.sampled import SampledEnergies
from cres.errors import UserError, nearest
from cres.physics.beta import CORRECTIONS
from cres.physics.final_states import FinalStates

Array = NDArray[np.float64]

PARAMETERS = (
    "endpoint_ev",
    "signal",
    "background",
    "mass_squared_ev2",
    "energy_shift_ev",
    "resolution_scale",
    "efficiency_slope",
    "efficiency_bend",
    "efficiency_wiggle",
    "background_slope",
    "excited_states",
    "missed_change",
    "energy_loss_ev",
    "cross_section",
)
"""endpoint; expected signal and background electrons in the window; squared mass; then the nuisance parameters: shift
of the energy scale; factor on all resolutions; relative change of the efficiency, its slope per 100 eV, and its second
and third Legendre polynomial over the window (with the slope a cubic spline through four knots); slope of the
background per 100 eV; relative change of the probability of excited final states; change of the fraction of missed
tracks; shift of the energy loss; relative change of the cross section, with which more tracks are missed."""
NUISANCES: dict[str, float] = dict.fromkeys(PARAMETERS[4:], 0.0) | {"resolution_scale": 1.0}
"""Central values."""

Values = Mapping[str, float]
MARGIN_EV = 60.0
SMALLEST_DENSITY = 1e-300


@dataclass(frozen=True)
class FitWindow:
    """Fit window in calibrated energy."""

    low_ev: float
    high_ev: float

    def __post_init__(self) -> None:
        if not self.low_ev < self.high_ev:
            raise UserError(f"the fit window {self.low_ev:g} to {self.high_ev:g} eV is empty: name its lower end first")

    @property
    def width_ev(self) -> float:
        """High minus low."""
        return self.high_ev - self.low_ev

    def contains(self, energy_ev: Array) -> NDArray[np.bool_]:
        """Return which energies lie inside."""
        return (energy_ev >= self.low_ev) & (energy_ev < self.high_ev)


@dataclass(frozen=True)
class Physics:
    """What the fit assumes of the decay, and of tracks that were missed after it (`cres.endpoint.missed`).

    `endpoint_offset_ev` is added to every endpoint that is fitted or stated: a blinding (`cres.endpoint.blinding`).
    """

    final_states: FinalStates | None = None
    corrections: Collection[str] = CORRECTIONS
    missed_fraction: float = 0.0
    endpoint_offset_ev: float = field(default=0.0, repr=False)


@dataclass(frozen=True)
class Constraint:
    """A normal constraint on a nuisance parameter."""

    centre: float
    std: float

    def penalty(self, value: float) -> float:
        """Return its term in −ln L."""
        return 0.5 * ((value - self.centre) / self.std) ** 2


Correlations = Mapping[tuple[str, str], float]
"""Correlation coefficients between nuisance parameters; those of pairs that are not named are 0."""


@dataclass(frozen=True)
class Penalty:
    """½ (x − c)ᵀ C⁻¹ (x − c), the constraints' part of −ln L, C the covariance of the nuisance parameters."""

    names: tuple[str, ...]
    centre: Array
    inverse: Array

    @classmethod
    def of(cls, constraints: Mapping[str, Constraint], correlations: Correlations) -> Penalty:
        """Return it; raises UserError for a correlation of what is not constrained, or a covariance that is none."""
        names = tuple(constraints)
        correlation = np.eye(len(names))
        for (first, second), value in correlations.items():
            for name in (first, second):
                if name not in constraints:
                    raise UserError(f"a correlation names {name!r}{nearest(name, names)}, which is not constrained")
            row, column = names.index(first), names.index(second)
            correlation[row, column] = correlation[column, row] = value
        if len(names) and np.linalg.eigvalsh(correlation).min() <= 0:
            raise UserError("the correlations of the nuisance parameters are not positive definite")
        std = np.array([constraint.std for constraint in constraints.values()])
        centre = np.array([constraint.centre for constraint in constraints.values()])
        covariance = np.asarray(correlation * np.outer(std, std), np.float64)
        return cls(names, centre, np.asarray(np.linalg.inv(covariance), np.float64))

    def __call__(self, values: Values) -> float:
        """Return the penalty at values of all parameters."""
        away = np.array([values[name] for name in self.names]) - self.centre
        return float(0.5 * away @ self.inverse @ away)


def make_constraints(stds: Mapping[str, float]) -> dict[str, Constraint]:
    """Return constraints from standard deviations; those of 0 are left out, and the parameter stays fixed."""
    for name in stds:
        if name not in NUISANCES:
            raise UserError(
                f"{name!r} is no nuisance parameter{nearest(name, NUISANCES)}; known: {', '.join(NUISANCES)}"
            )
    return {name: Constraint(NUISANCES[name], std) for name, std in stds.items() if std > 0}


def read_nuisances(path: Path) -> tuple[dict[str, float], dict[tuple[str, str], float]]:
    """Read standard deviations and correlations of nuisance parameters from JSON; raises UserError for what is amiss.

    {"std": {"background_slope": 0.1, "excited_states": 0.02}, "correlations": [["background_slope", …, 0.3]]}
    """
    try:
        content = json.loads(path.read_text())
        stds = {str(name): float(value) for name, value in content["std"].items()}
        correlations = {(str(a), str(b)): float(value) for a, b, value in content.get("correlations", [])}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"cannot read systematics from {path} (std by name, correlations): {error!r}") from error
    make_constraints(stds)
    if wrong := [name for name, value in stds.items() if not value > 0]:
        raise UserError(f"{path}: the standard deviation of {wrong[0]} is {stds[wrong[0]]:g}; it must be positive")
    return stds, correlations


@dataclass
class EndpointLikelihood:
    """The likelihood of the electrons of one data set.

    `energy_ev`, `std_ev` (electron,) as the estimator states them; those that fail the quality cut of the `response`
    or fall outside the window after calibration are left out. Of electrons with `samples` s_i is the sum over these
    instead; cuts, classes and S stay those of the response.
    """

    energy_ev: Array
    std_ev: Array
    response: Response
    window: FitWindow
    physics: Physics = field(default_factory=Physics)
    constraints: Mapping[str, Constraint] = field(default_factory=dict)
    correlations: Correlations = field(default_factory=dict)
    samples: SampledEnergies | None = None

    def __post_init__(self) -> None:
        """Select, calibrate, and build the smearing matrices once."""
        usable = self.response.passes(self.std_ev) & np.isfinite(self.energy_ev)
        calibrated, core = self.response.calibrate(self.energy_ev[usable], self.std_ev[usable])
        inside = self.window.contains(calibrated)
        self.calibrated_ev, self.core_ev = calibrated[inside], core[inside]
        self.label = self.response.labels(self.std_ev[usable][inside])
        self._sampled = None if self.samples is None else self.samples.rows(usable).rows(inside)
        if len(self.calibrated_ev) < 3:
            stated = self.energy_ev[usable]
            where = f", which lie at {stated.min():.6g} to {stated.max():.6g} eV" if len(stated) else ""
            raise UserError(
                f"{len(self.calibrated_ev)} electrons in the fit window {self.window.low_ev:g} to "
                f"{self.window.high_ev:g} eV, of {len(calibrated)} that pass the cut{where}, are too few: widen the "
                "window (--window) or raise the cut (--max-std)"
            )
        self.model = spectrum_model(self.window, self.physics)
        self._distance = (self.model.grid_ev - self.response.centre_ev) / ENERGY_UNIT_EV
        self._place = place_in(self.window, self.model.grid_ev)
        self._from_middle = 0.5 * self.window.width_ev * place_in(self.window, self.calibrated_ev) / ENERGY_UNIT_EV
        self._penalty = Penalty.of(self.constraints, self.correlations)
        self._efficiency = self.response.efficiency.of(self.model.grid_ev)
        self._scales = resolution_nodes(self.constraints)
        self._matrices = [self._matrix(scale) for scale in self._scales]
        self._accepted = [self._acceptance(scale) for scale in self._scales]
        self._background = background_density(self.response, self.window)[self.label]

    @property
    def electrons(self) -> int:
        """Number of electrons in the fit."""
        return len(self.calibrated_ev)

    @property
    def calibrated_range_ev(self) -> tuple[float, float]:
        """Lowest and highest calibrated energy."""
        return float(self.calibrated_ev.min()), float(self.calibrated_ev.max())

    def nll(self, values: Values) -> float:
        """Return −ln L for all PARAMETERS."""
        signal, total = self.signal_density(values)
        background = self._background
        if values["background_slope"]:
            background = background * np.maximum(1 + values["background_slope"] * self._from_middle, 0.0)
        density = values["signal"] * signal / total + values["background"] * background
        extended = values["signal"] + values["background"]
        return float(extended - np.log(np.maximum(density, SMALLEST_DENSITY)).sum() + self.penalty(values))

    def penalty(self, values: Values) -> float:
        """Return the constraints' part of −ln L."""
        return self._penalty(values)

    def signal_density(self, values: Values) -> tuple[Array, float]:
        """Return (electron,) signal densities and their integral over the window, in the same arbitrary units."""
        shape = self.model.varied(values) * efficiency_change(values, self._distance, self._place)
        weights = lagrange_weights(values["resolution_scale"], self._scales)
        density = sum((w * (m @ shape) for w, m in zip(weights, self._matrices, strict=True)), np.zeros(self.electrons))
        total = sum(w * float(a @ shape) for w, a in zip(weights, self._accepted, strict=True))
        return np.maximum(density, 0.0), max(total, SMALLEST_DENSITY)

    def with_constraints(
        self, constraints: Mapping[str, Constraint], correlations: Correlations | None = None
    ) -> EndpointLikelihood:
        """Return the likelihood of the same electrons under other constraints."""
        return EndpointLikelihood(
            self.energy_ev,
            self.std_ev,
            self.response,
            self.window,
            self.physics,
            dict(constraints),
            correlations or {},
            self.samples,
        )

    def _matrix(self, scale: float) -> csr_array:
        matrix = csr_array((self.electrons, len(self.model.grid_ev)))
        for weight, ratio in self.response.components():
            width = self.core_ev * ratio * scale
            matrix = matrix + weight * smearing_matrix(self.model.grid_ev, self.calibrated_ev, width)
        if self._sampled is not None:
            by_error_bar = np.asarray(~self._sampled.known, np.float64)
            matrix = diags_array(by_error_bar) @ matrix + self._sampled.matrix(self.model.grid_ev, scale)
        matrix = csr_array(matrix)
        rows = np.repeat(np.arange(self.electrons), np.diff(matrix.indptr))
        matrix.data *= self._efficiency[matrix.indices, self.label[rows]]
        return matrix

    def _acceptance(self, scale: float) -> Array:
        edges = np.array([self.window.low_ev, self.window.high_ev])
        step = self.model.grid_ev[1] - self.model.grid_ev[0]
        return self.response.probability_in(self.model.grid_ev, edges, scale)[:, 0] * step


def spectrum_model(window: FitWindow, physics: Physics) -> SpectrumModel:
    """Return the spectrum on a grid that reaches beyond the window, from where electrons leak in."""
    return SpectrumModel.spanning(
        window.low_ev - MARGIN_EV,
        window.high_ev + MARGIN_EV,
        physics.final_states,
        physics.corrections,
        physics.missed_fraction,
        physics.endpoint_offset_ev,
    )


def place_in(window: FitWindow, energy_ev: Array) -> Array:
    """Return energies as −1 at the window's lower end to 1 at its upper one."""
    return np.asarray((2 * energy_ev - window.low_ev - window.high_ev) / window.width_ev)


def efficiency_change(values: Values, distance: Array, place: Array) -> Array | float:
    """Return the factor on the efficiency: exp of a straight line and of the second and third Legendre polynomial."""
    slope, bend, wiggle = (values[name] for name in ("efficiency_slope", "efficiency_bend", "efficiency_wiggle"))
    if not (slope or bend or wiggle):
        return 1.0
    # beyond the window, from where electrons leak in, the polynomials stay at their ends
    x = np.clip(place, -1.0, 1.0)
    curved = bend * (3 * x**2 - 1) / 2 + wiggle * (5 * x**3 - 3 * x) / 2
    return np.asarray(np.exp(slope * distance + curved))


def background_density(response: Response, window: FitWindow) -> Array:
    """Return the density per eV of one flat background electron for each class of stated uncertainty, (class,)."""
    energies = np.linspace(window.low_ev, window.high_ev, 41)
    shares = response.efficiency.of(energies).mean(axis=0)
    return shares / shares.sum() / window.width_ev


def resolution_nodes(constraints: Mapping[str, Constraint]) -> list[float]:
    """Return the resolution scales at which the smearing is computed; between them it is interpolated."""
    constraint = constraints.get("resolution_scale")
    if constraint is None:
        return [1.0]
    reach = max(2.0 * constraint.std, 0.05)
    return [float(np.exp(-reach)), 1.0, float(np.exp(reach))]


def lagrange_weights(scale: float, nodes: list[float]) -> Array:
    """Return the weights of polynomial interpolation in the logarithm of the resolution scale, (node,)."""
    x, at = np.log(scale), np.log(nodes)
    return np.array([np.prod([(x - b) / (a - b) for k, b in enumerate(at) if k != i]) for i, a in enumerate(at)])
