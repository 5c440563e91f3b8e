"""The expected spectrum on a grid of true energies: what all likelihoods share."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cres.physics.beta import CORRECTIONS, T2_ENDPOINT_EV, electron_factor, neutrino_factor
from cres.physics.final_states import FinalStates

Array = NDArray[np.float64]

GRID_STEP_EV = 0.2


@dataclass(frozen=True)
class SpectrumModel:
    """Shape of the beta spectrum as a function of endpoint and squared neutrino mass on a uniform grid.

    Between the points the spectrum is taken as linear. `shape` lowers the points by a twelfth of their second
    difference, which makes the smeared spectrum exact to third order in the step; the part of the spectrum that does
    not depend on the fit parameters is computed once.
    """

    grid_ev: Array
    final_states: FinalStates | None = None
    corrections: Collection[str] = CORRECTIONS
    _electron: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Compute the electron's part and scale it to about 1."""
        electron = electron_factor(self.grid_ev, T2_ENDPOINT_EV, self.corrections)
        object.__setattr__(self, "_electron", electron / electron.max() / 1000.0)

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
        """Return the grid values whose linear interpolation, smeared, gives the smeared spectrum."""
        value = self.raw(endpoint_ev, mass_squared_ev2)
        value[1:-1] -= np.diff(value, 2) / 12
        return np.maximum(value, 0.0)
