"""The expected spectrum on a grid of true energies: what all likelihoods share."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from cres.endpoint.missed import with_missed_tracks
from cres.physics.beta import CORRECTIONS, T2_ENDPOINT_EV, electron_factor, neutrino_factor
from cres.physics.beta_corrections import Radiative
from cres.physics.final_states import FinalStates
from cres.physics.isotopologues import GROUND_GROUP_LIMIT_EV

Array = NDArray[np.float64]

GRID_STEP_EV = 0.2
FEW_STATES, DIRECT_SUMS = 8, 6
"""Sums over more final states than these are made so many times for a squared mass; from then on there is a spline."""
SPLINE_STEP_EV, SPLINE_MARGIN_EV = 0.05, 60.0
REMEMBERED = 4
"""Shapes that are kept: a fit asks for the same one again while it moves the numbers of electrons."""


@dataclass(frozen=True)
class SpectrumModel:
    """Shape of the beta spectrum as a function of endpoint and squared neutrino mass on a uniform grid.

    Between the points the spectrum is taken as linear. `shape` gives each point the average of the spectrum under its
    hat function, in closed form, so that the likelihood stays smooth when the edge at the endpoint moves across the
    grid; lowering it by a sixth of the second difference makes the smeared spectrum exact to third order in the step.
    The part of the spectrum that does not depend on the fit parameters is computed once.
    """

    grid_ev: Array
    final_states: FinalStates | None = None
    corrections: Collection[str] = CORRECTIONS
    missed_fraction: float = 0.0
    endpoint_offset_ev: float = field(default=0.0, repr=False)
    _electron: Array = field(init=False, repr=False)
    _radiative: Radiative | None = field(init=False, repr=False)
    _shapes: dict[tuple[float, float], Array] = field(init=False, repr=False, compare=False, default_factory=dict)
    _splines: dict[float, CubicSpline] = field(init=False, repr=False, compare=False, default_factory=dict)
    _asked: dict[float, int] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Compute the electron's part and scale it to about 1."""
        electron = electron_factor(self.grid_ev, T2_ENDPOINT_EV, self.corrections)
        object.__setattr__(self, "_electron", electron / electron.max() / 1000.0)
        radiative = Radiative.of(self.grid_ev) if "radiative" in self.corrections else None
        object.__setattr__(self, "_radiative", radiative)

    @classmethod
    def spanning(
        cls,
        low_ev: float,
        high_ev: float,
        final_states: FinalStates | None = None,
        corrections: Collection[str] = CORRECTIONS,
        missed_fraction: float = 0.0,
        endpoint_offset_ev: float = 0.0,
    ) -> SpectrumModel:
        """Return a model on a grid of 0.2 eV that covers a range of true energies."""
        points = int(np.ceil((high_ev - low_ev) / GRID_STEP_EV)) + 1
        grid = low_ev + GRID_STEP_EV * np.arange(points, dtype=np.float64)
        return cls(np.asarray(grid, np.float64), final_states, corrections, missed_fraction, endpoint_offset_ev)

    def raw(self, endpoint_ev: float, mass_squared_ev2: float) -> Array:
        """Return the spectrum at the grid points, in arbitrary units."""
        return self._electron * neutrino_factor(
            self.grid_ev, endpoint_ev, mass_squared_ev2, self.corrections, self.final_states
        )

    def shape(self, endpoint_ev: float, mass_squared_ev2: float) -> Array:
        """Return the grid values whose linear interpolation, smeared, gives the smeared spectrum; tracks missed."""
        return with_missed_tracks(self.emitted(endpoint_ev, mass_squared_ev2), self.step_ev, self.missed_fraction)

    def varied(self, values: Mapping[str, float]) -> Array:
        """Return `shape` at the values of all of a fit's parameters that change the spectrum."""
        at = (
            values["endpoint_ev"] - self.endpoint_offset_ev + values["energy_shift_ev"],
            values["mass_squared_ev2"],
        )
        emitted = self.emitted(*at)
        if values["excited_states"]:
            emitted = emitted + values["excited_states"] * self._excited_change(*at)
        missed = self.missed_fraction * (1 + values["cross_section"]) + values["missed_change"]
        return with_missed_tracks(emitted, self.step_ev, missed, values["energy_loss_ev"])

    @property
    def step_ev(self) -> float:
        """Distance of the grid's points."""
        return float(self.grid_ev[1] - self.grid_ev[0])

    def _excited_change(self, endpoint_ev: float, mass_squared_ev2: float) -> Array:
        """Return the change of the spectrum when all excited states are more probable by their whole probability."""
        if self.final_states is None:
            return np.zeros(len(self.grid_ev))
        total, ground = self.emitted(endpoint_ev, mass_squared_ev2), self._ground.emitted(endpoint_ev, mass_squared_ev2)
        # total = (1 − x) ground + x excited: the change is x (excited − ground)
        return np.asarray(total - ground)

    @cached_property
    def _ground(self) -> SpectrumModel:
        """The same spectrum with the electronic ground state of the daughter alone."""
        states = self.final_states
        near = states.excitation_ev < GROUND_GROUP_LIMIT_EV if states is not None else np.zeros(0, bool)
        assert states is not None
        ground = FinalStates.from_arrays(states.excitation_ev[near], states.probability[near], "ground group")
        return SpectrumModel(self.grid_ev, ground, self.corrections)

    def emitted(self, endpoint_ev: float, mass_squared_ev2: float) -> Array:
        """Return the shape of the spectrum as emitted, no track missed (read only)."""
        key = (float(endpoint_ev), float(mass_squared_ev2))
        if key not in self._shapes:
            if len(self._shapes) >= REMEMBERED:
                del self._shapes[next(iter(self._shapes))]
            self._shapes[key] = self._shape(*key)
            self._shapes[key].flags.writeable = False
        return self._shapes[key]

    def _shape(self, endpoint_ev: float, mass_squared_ev2: float) -> Array:
        asked = self._asked[mass_squared_ev2] = self._asked.get(mass_squared_ev2, 0) + 1
        many = self.final_states is not None and len(self.final_states.probability) > FEW_STATES
        value = (self._splined if many and asked > DIRECT_SUMS else self._summed)(endpoint_ev, mass_squared_ev2)
        value *= self._electron
        value[1:-1] -= np.diff(value, 2) / 6
        return np.maximum(value, 0.0)

    def _splined(self, endpoint_ev: float, mass_squared_ev2: float) -> Array:
        """Return the sum over final states from a spline in ε = E₀ − K, made once for a squared mass.

        The radiative correction is taken at the electron's energy below the published endpoint: 1e-7 for an eV.
        """
        spline = self._splines.get(mass_squared_ev2)
        depth = endpoint_ev - self.grid_ev
        if spline is None or depth[0] > spline.x[-1]:
            if len(self._splines) >= REMEMBERED:
                del self._splines[next(iter(self._splines))]
            spline = self._splines[mass_squared_ev2] = self._spline(
                mass_squared_ev2, float(depth[0]) + SPLINE_MARGIN_EV
            )
        return np.where(depth > spline.x[0], spline(np.maximum(depth, spline.x[0])), 0.0)

    def _spline(self, mass_squared_ev2: float, deepest_ev: float) -> CubicSpline:
        step, states = self.step_ev, self.final_states
        assert states is not None
        energy = np.arange(-2 * step, deepest_ev, SPLINE_STEP_EV)
        radiative = Radiative.of(np.maximum(T2_ENDPOINT_EV - energy, 1.0)) if self._radiative is not None else None
        total = np.zeros(len(energy))
        for excitation_ev, probability in states.pairs():
            first = int(np.searchsorted(energy, excitation_ev - 2 * step))
            above = energy[first:] - excitation_ev
            average = sum(
                factor * twice_integrated_phase_space(above + offset, mass_squared_ev2)
                for factor, offset in ((1, step), (-2, 0.0), (1, -step))
            )
            average = np.asarray(average) / step**2
            if radiative is not None:
                average *= radiative.part_from(first)(np.maximum(above, step / 4))
            total[first:] += probability * average
        return CubicSpline(energy, total)

    def _summed(self, endpoint_ev: float, mass_squared_ev2: float) -> Array:
        """Return the sum over final states at the grid's points, each averaged under its hat function."""
        step = self.grid_ev[1] - self.grid_ev[0]
        beyond = np.concatenate([[self.grid_ev[0] - step], self.grid_ev, [self.grid_ev[-1] + step]])
        value = np.zeros(len(self.grid_ev))
        states = [(0.0, 1.0)] if self.final_states is None else self.final_states.pairs()
        for excitation_ev, probability in states:
            # the first point above the endpoint still averages over what is below it
            reached = int(np.searchsorted(beyond, endpoint_ev - excitation_ev)) + 2
            if reached < 3:
                continue
            energy = endpoint_ev - excitation_ev - beyond[:reached]
            average = np.diff(twice_integrated_phase_space(energy, mass_squared_ev2), 2) / step**2
            if self._radiative is not None:
                # slow but at ε = 0, where the average does not vanish yet
                average *= self._radiative.part(len(average))(np.maximum(energy[1:-1], step / 4))
            value[: len(average)] += probability * average
        return value


def twice_integrated_phase_space(neutrino_energy_ev: Array, mass_squared_ev2: float) -> Array:
    """Return the second antiderivative, from its edge on, of the neutrino's phase space; its convention for m² < 0.

    m² > 0:  ∬ ε√(ε² − m²) = [ε(2ε² − 5m²)√(ε² − m²) + 3m⁴ ln((ε + √(ε² − m²))/m)]/24;  m² ≤ 0: ε⁴/12 − m²ε²/4.
    """
    if mass_squared_ev2 <= 0:
        square = np.maximum(neutrino_energy_ev, 0.0) ** 2
        return square * (square / 12 - mass_squared_ev2 / 4)
    mass = np.sqrt(mass_squared_ev2)
    energy = np.maximum(neutrino_energy_ev, mass)
    root = np.sqrt((energy - mass) * (energy + mass))
    logarithm = np.log((energy + root) / mass)
    return (energy * (2 * energy**2 - 5 * mass_squared_ev2) * root + 3 * mass_squared_ev2**2 * logarithm) / 24
