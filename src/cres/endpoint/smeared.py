"""Smeared spectra, tabulated once, so that thousands of pseudo-experiments can be scanned over the neutrino mass.

With the *edge* e = E₀ − m (the highest energy of an electron) a spectrum near its end is one function of the distance
y − e for each m²: what else changes with e, the electron's momentum and the Fermi function, changes by 1e-5 of the
shape where e moves by an eV. So one table over (m², resolution, distance) holds all spectra of an analysis. The
efficiency of each class of stated uncertainty is taken at the calibrated energy. `tests/endpoint/test_mass_scan.py`
compares with the likelihood that the fit uses, which does neither.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from cres.endpoint.kernel import REACH, even_smearing_matrix
from cres.endpoint.likelihood import FitWindow, Physics, background_density
from cres.endpoint.model import GRID_STEP_EV, SpectrumModel
from cres.endpoint.response import Response
from cres.physics.beta import T2_ENDPOINT_EV

Array = NDArray[np.float64]

WIDTH_RATIO = 1.16
"""Resolutions are tabulated in steps of this factor and interpolated in their logarithm: 0.3 % at the edge."""
NARROWEST_EV = 0.02
EDGE_MARGIN_EV = 2.0
"""The edge is looked for between the window's ends, this far inside them."""


@dataclass(frozen=True)
class ScanSample:
    """Electrons as a scan wants them: calibrated energy, core width (electron,) in eV, class of stated uncertainty."""

    energy_ev: Array
    width_ev: Array
    label: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.energy_ev)


@dataclass(frozen=True)
class Placed:
    """Electrons in the tables.

    `base` the index of their distance from the first edge, `row` the first entry of their resolution's row (electron,),
    `weights` those of the four neighbours, (neighbour, electron, 1).
    """

    base: NDArray[np.int64]
    row: NDArray[np.int64]
    weights: Array

    def __len__(self) -> int:
        return len(self.base)


@dataclass
class SmearedSpectra:
    """Tables for one response, window and decay; `mass_squared_ev2` (mass,) ascending.

    `edges_ev` (edge,) are the edges at which spectra can be had, `total` (mass, edge) their integral over the window in
    the units of `density`.
    """

    response: Response
    window: FitWindow
    physics: Physics
    mass_squared_ev2: Array
    edges_ev: Array = field(init=False)
    total: Array = field(init=False)

    def __post_init__(self) -> None:
        """Tabulate."""
        step = GRID_STEP_EV
        points = int(np.ceil(self.window.width_ev / step))
        self._distance = step * np.arange(-points, points + 1, dtype=np.float64)
        widths = np.concatenate([self._class_widths(label) for label in range(len(self.response.std_quantiles))])
        self._log_widths = _width_nodes(widths)
        self._table = self._tabulate()
        first = int(np.ceil(EDGE_MARGIN_EV / step))
        self.edges_ev = self.window.low_ev + step * np.arange(first, points - first, dtype=np.float64)
        self.total = self._totals(first, points)
        self._background = background_density(self.response, self.window)

    def sample(self, energy_ev: Array, std_ev: Array) -> ScanSample:
        """Return the electrons of a table that pass the cut and lie in the window after calibration."""
        usable = self.response.passes(std_ev) & np.isfinite(energy_ev)
        calibrated, core = self.response.calibrate(energy_ev[usable], std_ev[usable])
        inside = self.window.contains(calibrated)
        return ScanSample(calibrated[inside], core[inside], self.response.labels(std_ev[usable][inside]))

    def placed(self, sample: ScanSample) -> Placed:
        """Return where the electrons of a sample lie in the tables."""
        nodes = self._log_widths
        at = np.clip(np.log(np.maximum(sample.width_ev, NARROWEST_EV)), nodes[0], nodes[-1])
        node = np.clip(np.searchsorted(nodes, at, side="right") - 1, 0, len(nodes) - 2)
        upper = (at - nodes[node]) / (nodes[node + 1] - nodes[node])
        place = (sample.energy_ev - self.edges_ev[0] - self._distance[0]) / GRID_STEP_EV
        base = np.floor(place).astype(np.int64)
        fraction = place - base
        passed = self.response.efficiency.of(sample.energy_ev)[np.arange(len(sample)), sample.label]
        factor = passed / self._background[sample.label]
        weights = np.stack(
            [(1 - upper) * (1 - fraction), (1 - upper) * fraction, upper * (1 - fraction), upper * fraction]
        )
        return Placed(base, node * len(self._distance), (weights * factor)[:, :, None])

    def ratio(self, placed: Placed, mass: int, edges: NDArray[np.int64]) -> Array:
        """Return signal density over background density, both of area 1, (electron, edge), for indices of the tables.

        `edges` are indices into `edges_ev`.
        """
        index = placed.base[:, None] - edges[None, :]
        row = placed.row[:, None] + np.clip(index, 0, len(self._distance) - 2)
        table, below, weights = self._table[mass], len(self._distance), placed.weights
        density = weights[0] * table.take(row)
        for weight, offset in zip(weights[1:], (1, below, below + 1), strict=True):
            density += weight * table.take(row + offset)
        return np.asarray(density / self.total[mass, edges])

    def _class_widths(self, label: int) -> Array:
        """Return the core widths in eV that stand for a class."""
        quantiles = self.response.std_quantiles[label]
        return self.response.calibrate(np.full_like(quantiles, self.response.centre_ev), quantiles)[1]

    def _tabulate(self) -> Array:
        """Return the smeared spectra at distances from the edge, (mass, width × distance)."""
        reach = REACH * np.exp(self._log_widths[-1]) * max(ratio for _, ratio in self.response.components())
        low, high = self._distance[0] - reach - GRID_STEP_EV, self._distance[-1] + GRID_STEP_EV
        model = SpectrumModel.spanning(
            T2_ENDPOINT_EV + low,
            T2_ENDPOINT_EV + high,
            self.physics.final_states,
            self.physics.corrections,
            self.physics.missed_fraction,
        )
        shapes = np.stack(
            [model.shape(T2_ENDPOINT_EV + np.sqrt(max(m2, 0.0)), m2) for m2 in self.mass_squared_ev2], axis=1
        )
        at = T2_ENDPOINT_EV + self._distance
        rows = []
        for width in np.exp(self._log_widths):
            smeared = np.zeros((len(at), len(self.mass_squared_ev2)))
            for weight, ratio in self.response.components():
                smeared += weight * (even_smearing_matrix(model.grid_ev, at, width * ratio) @ shapes)
            rows.append(smeared)
        return np.ascontiguousarray(np.concatenate(rows).T)

    def _totals(self, first: int, points: int) -> Array:
        energy = self.window.low_ev + GRID_STEP_EV * np.arange(points + 1, dtype=np.float64)
        passed = self.response.efficiency.of(energy)
        passed[[0, -1]] *= 0.5
        total = np.zeros((len(self.mass_squared_ev2), len(self.edges_ev)))
        table = self._table.reshape(len(self.mass_squared_ev2), len(self._log_widths), -1)
        for label in range(passed.shape[1]):
            mean = np.einsum("w,mwd->md", self._mean_weights(self._class_widths(label)), table)
            # Σ_y ε(y) H(y − e): a correlation, read at the edges
            both = fftconvolve(mean, passed[None, ::-1, label], axes=1)
            # the table's entry d stands for the distance (d − points) steps
            at = points + points - (first + np.arange(len(self.edges_ev)))
            total += both[:, at] * GRID_STEP_EV
        return np.maximum(total, 1e-300)

    def _mean_weights(self, widths: Array) -> Array:
        nodes, weights = self._log_widths, np.zeros(len(self._log_widths))
        at = np.clip(np.log(np.maximum(widths, NARROWEST_EV)), nodes[0], nodes[-1])
        node = np.clip(np.searchsorted(nodes, at, side="right") - 1, 0, len(nodes) - 2)
        upper = (at - nodes[node]) / (nodes[node + 1] - nodes[node])
        np.add.at(weights, node, (1 - upper) / len(widths))
        np.add.at(weights, node + 1, upper / len(widths))
        return weights


def _width_nodes(widths_ev: Array) -> Array:
    low, high = np.log(max(widths_ev.min(), NARROWEST_EV) / 1.1), np.log(max(widths_ev.max(), NARROWEST_EV) * 1.1)
    return np.linspace(low, high, max(int(np.ceil((high - low) / np.log(WIDTH_RATIO))) + 1, 2))
