"""The expected spectrum on a grid of true energies: what all likelihoods share."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cres.physics.beta import CORRECTIONS, T2_ENDPOINT_EV, electron_factor, neutrino_factor
from cres.physics.beta_corrections import Radiative
from cres.physics.final_states import FinalStates

Array = NDArray[np.float64]

GRID_STEP_EV = 0.2
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
    _electron: Array = field(init=False, repr=False)
    _radiative: Radiative | None = field(init=False, repr=False)
    _shapes: dict[tuple[float, float], Array] = field(init=False, repr=False, compare=False, default_factory=dict)

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
    ) -> SpectrumModel:
        """Return a model on a grid of 0.2 eV that covers a range of true energies."""
        points = int(np.ceil((high_ev - low_ev) / GRID_STEP_EV)) + 1
        grid = low_ev + GRID_STEP_EV * np.arange(points, dtype=np.float64)
        return cls(np.asarray(grid, np.float64), final_states, corrections)

    def raw(self, endpoint_ev: float, mass_squared_ev2: float) -> Array:
        """Return the spectrum at the grid points, in arbitrary units."""
        return self._electron * neutrino_factor(
            self.grid_ev, endpoint_ev, mass_squared_ev2, self.corrections, self.final_states
        )

    def shape(self, endpoint_ev: float, mass_squared_ev2: float) -> Array:
        """Return the grid values whose linear interpolation, smeared, gives the smeared spectrum (read only)."""
        key = (float(endpoint_ev), float(mass_squared_ev2))
        if key not in self._shapes:
            if len(self._shapes) >= REMEMBERED:
                del self._shapes[next(iter(self._shapes))]
            self._shapes[key] = self._shape(*key)
            self._shapes[key].flags.writeable = False
        return self._shapes[key]

    def _shape(self, endpoint_ev: float, mass_squared_ev2: float) -> Array:
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
        value *= self._electron
        value[1:-1] -= np.diff(value, 2) / 6
        return np.maximum(value, 0.0)


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
