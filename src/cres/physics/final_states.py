"""Final states of the daughter molecule: excitation energies above the lowest state, and their probabilities.

No published table is shipped. Users bring theirs (T₂: Saenz, Jonsell and Froelich, Phys. Rev. Lett. 84 (2000) 242), and
the reader checks it: copies of that table mix probabilities a bin with probabilities per eV; a wrong sum tells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from cres.errors import UserError

Array = NDArray[np.float64]

# Moments of the published T₂ table (Saenz et al. 2000): what a user's table is compared with.
T2_GROUND_GROUP_PROBABILITY = 0.5741
T2_GROUND_GROUP_WIDTH_EV = 0.436
T2_MEAN_EXCITATION_EV = 18.4
GROUND_GROUP_LIMIT_EV = 8.0
"""States this close to the lowest one are rotations and vibrations of the electronic ground state."""


@dataclass(frozen=True)
class FinalStates:
    """A table of final states.

    `excitation_ev` (state,) is counted from the lowest state, ascending from 0; `probability` (state,) sums to 1.
    `source` says where it comes from; `raw_sum` is the sum before normalisation.
    """

    excitation_ev: Array
    probability: Array
    source: str
    raw_sum: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a table that no spectrum can be made of."""
        if self.excitation_ev.ndim != 1 or self.excitation_ev.shape != self.probability.shape:
            raise ValueError("final states need two columns of one length")
        if not (np.isfinite(self.excitation_ev).all() and np.isfinite(self.probability).all()):
            raise ValueError("final states must be finite numbers")
        if (self.probability < 0).any() or not np.isclose(self.probability.sum(), 1.0, atol=1e-9):
            raise ValueError("probabilities of final states must not be negative and must sum to 1")

    @classmethod
    def from_arrays(cls, excitation_ev: Array, probability: Array, source: str) -> FinalStates:
        """Sort, count energies from the lowest state that has a probability, and normalise."""
        excitation, weight = np.asarray(excitation_ev, np.float64), np.asarray(probability, np.float64)
        occupied = weight > 0
        if (weight < 0).any() or not occupied.any():
            raise ValueError("probabilities of final states must not be negative, nor all zero")
        excitation, weight = excitation[occupied], weight[occupied]
        order = np.argsort(excitation)
        total = float(weight.sum())
        return cls(excitation[order] - excitation.min(), weight[order] / total, source, total)

    @classmethod
    def read(
        cls, path: Path, expected_mean_ev: float | None = None, sum_range: tuple[float, float] = (0.98, 1.02)
    ) -> FinalStates:
        """Read a text table: excitation energy in eV, probability; an optional third column is the bin's width in eV.

        With a third column the second one is a probability per eV. Lines that begin with # are comments. A binding
        energy (negative for excited states) goes in with its sign turned. Raises UserError when the sum is outside
        `sum_range`, or the mean excitation is further than 1 eV from `expected_mean_ev`.
        """
        try:
            rows = np.loadtxt(path, comments="#", delimiter="," if path.suffix == ".csv" else None, ndmin=2)
        except (OSError, ValueError) as error:
            raise UserError(f"cannot read final states from {path}: {error}") from error
        if rows.shape[1] not in (2, 3) or not len(rows):
            raise UserError(f"{path} has {rows.shape[1]} columns; final states need energy, probability (and width)")
        weight = rows[:, 1] * (rows[:, 2] if rows.shape[1] == 3 else 1.0)
        try:
            states = cls.from_arrays(rows[:, 0], weight, str(path.name))
        except ValueError as error:
            raise UserError(f"{path}: {error}") from error
        states._check(path, expected_mean_ev, sum_range)
        return states

    @classmethod
    def t2_sketch(cls) -> FinalStates:
        """Return a stand-in with the published moments of T₂, for sensitivity studies. NOT the published table.

        The ground-state group is a normal distribution of the published width cut at ±3 widths, the excited rest sits
        40 eV wide around the place that gives the published mean.
        """
        width = T2_GROUND_GROUP_WIDTH_EV
        edges = np.linspace(-3, 3, 25)
        group = np.diff(ndtr(edges))
        energies = width * (0.5 * (edges[1:] + edges[:-1]) + 3)
        ground = T2_GROUND_GROUP_PROBABILITY
        rest_mean = (T2_MEAN_EXCITATION_EV - ground * 3 * width) / (1 - ground)
        rest = rest_mean + np.linspace(-15, 15, 16)
        return cls.from_arrays(
            np.concatenate([energies, rest]),
            np.concatenate([ground * group / group.sum(), np.full(16, (1 - ground) / 16)]),
            "sketch with the moments of Saenz et al. 2000, not the published table",
        )

    @property
    def mean_excitation_ev(self) -> float:
        """Mean excitation above the lowest state."""
        return float(self.excitation_ev @ self.probability)

    @property
    def ground_group_probability(self) -> float:
        """Probability of the states within 8 eV of the lowest one."""
        return float(self.probability[self.excitation_ev < GROUND_GROUP_LIMIT_EV].sum())

    def pairs(self) -> Iterator[tuple[float, float]]:
        """Yield (excitation in eV, probability)."""
        return zip(self.excitation_ev.tolist(), self.probability.tolist(), strict=True)

    def _check(self, path: Path, expected_mean_ev: float | None, sum_range: tuple[float, float]) -> None:
        if not sum_range[0] <= self.raw_sum <= sum_range[1]:
            raise UserError(
                f"the probabilities in {path} sum to {self.raw_sum:.4g}, not to {sum_range[0]:g} … {sum_range[1]:g}: "
                "if they are probabilities per eV, add the bin widths as a third column"
            )
        if expected_mean_ev is not None and abs(self.mean_excitation_ev - expected_mean_ev) > 1.0:
            raise UserError(
                f"the mean excitation in {path} is {self.mean_excitation_ev:.3g} eV, expected {expected_mean_ev:.3g} eV"
            )
