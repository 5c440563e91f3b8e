"""Electrons whose posterior is known by weighted samples: their likelihood of a spectrum is a sum over the samples.

Under a prior flat in the energy K, p(record | K) is proportional to the posterior density at K, so that the density of
an electron, ∫ p(record | K) dΓ/dK dK, is Σ_j w_j dΓ/dK(K_j) with weights of sum 1: two energies that one electron may
have both count, as often as they are true, where an error bar would lie between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from cres.errors import UserError
from cres.evaluation.weighted import WeightedSamples

Array = NDArray[np.float64]

FARTHEST = 1.0
"""In error bars: where half of the samples' medians are farther from the energies of a table, they are of others."""


@dataclass(frozen=True, eq=False)
class SampledEnergies:
    """Energies in eV and weights (electron, sample); the weights of an electron sum to 1, or to 0: it has no samples.

    What has none is read by its error bar.
    """

    energy_ev: Array
    weights: Array

    @classmethod
    def of(
        cls, samples: WeightedSamples, event_id: NDArray[np.int64], energy_ev: Array, std_ev: Array
    ) -> SampledEnergies:
        """Return those of events; none where there are too few effective ones.

        energy_ev, std_ev: what a table says of the same events, (event,). Two sets may number their electrons alike:
        raises UserError where the samples are of others, or of none.
        """
        rows = samples.rows(event_id)
        known = rows >= 0
        if not known.any():
            raise UserError("the weighted samples are of other electrons than the data table: no event is in both")
        known &= ~samples.too_few[rows]
        apart = np.abs(samples.quantiles("energy_ev", [0.5])[rows[known], 0] - energy_ev[known]) / std_ev[known]
        if len(apart) and np.median(apart) > FARTHEST:
            raise UserError(
                f"half of the weighted samples lie {np.median(apart):.1f} error bars or more from the energies of the "
                "data table: they are of other electrons with the same event ids; give the samples that were written "
                "with this table"
            )
        weights = np.where(known[:, None], samples.weights[rows], 0.0)
        return cls(samples.values["energy_ev"][rows], weights)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which electrons have samples, (electron,)."""
        return np.asarray(self.weights.any(axis=1))

    def rows(self, chosen: NDArray[np.bool_]) -> SampledEnergies:
        """Return some of the electrons."""
        return SampledEnergies(self.energy_ev[chosen], self.weights[chosen])

    def matrix(self, grid_ev: Array, scale: float = 1.0) -> csr_array:
        """Return the matrix (electron, grid) that gives Σ_j w_j f(K_j) of f linear between points of an even grid.

        scale: factor on the distances from the mean. A sample beyond the grid counts at its end.
        """
        mean = (self.weights * self.energy_ev).sum(axis=1, keepdims=True)
        energy = mean + scale * (self.energy_ev - mean)
        place = np.clip((energy - grid_ev[0]) / (grid_ev[1] - grid_ev[0]), 0, len(grid_ev) - 1)
        below = np.minimum(place.astype(np.int64), len(grid_ev) - 2)
        part = place - below
        electron = np.broadcast_to(np.arange(len(energy))[:, None], energy.shape)
        values = np.concatenate([(self.weights * (1 - part)).ravel(), (self.weights * part).ravel()])
        index = (np.tile(electron.ravel(), 2), np.concatenate([below.ravel(), below.ravel() + 1]))
        counted = values > 0
        # what is given twice is summed
        return csr_array((values[counted], (index[0][counted], index[1][counted])), shape=(len(energy), len(grid_ev)))
