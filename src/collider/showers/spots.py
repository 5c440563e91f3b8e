"""Energy spots: how a batch of showers fills the cells of a grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collider.showers import keyed
from collider.showers.arrays import Arrays
from collider.showers.grid import CylindricalGrid, Grid
from collider.showers.materials import AnyMaterial, SamplingMaterial
from collider.showers.parameters import Tuning, unchecked_radial
from collider.showers.readout import Readout
from collider.showers.sources import Sources

RADII_RM: Final = (1e-3, 100.0)
"""Limits of R_C and R_T, which the formulae leave far behind the shower and at its very beginning."""

LARGEST_TAU: Final = 20.0
"""So far behind the maximum the formulae have no meaning, and hardly any energy."""

LARGEST_SHARE: Final = 1 - 2.0**-24
"""The largest float32 below 1: it keeps the radius of the outermost spots finite."""

_PART_BITS: Final = 40
_SLICE_BITS: Final = 24


@dataclass(frozen=True)
class Setup:
    """What a batch is simulated with; edges_x0: of the slices along the axis, in X0 behind the front."""

    material: AnyMaterial
    grid: Grid
    readout: Readout
    tuning: Tuning
    edges_x0: NDArray[np.float64]

    @property
    def fluctuation_gev(self) -> float:
        """c² in GeV: the variance of an energy over its mean."""
        if isinstance(self.material, SamplingMaterial):
            return self.material.resolution_term**2
        return self.readout.stochastic_term**2

    @property
    def moliere_radius_cm(self) -> float:
        """R_M as the simulation believes it."""
        return self.material.moliere_radius_cm / self.tuning.critical_energy * self.tuning.moliere_radius

    @cached_property
    def layers(self) -> NDArray[np.int64]:
        """The layer that each slice of a central shower lies in."""
        middle = (self.edges_x0[1:] + self.edges_x0[:-1]) / 2 * self.material.radiation_length_cm
        return np.searchsorted(self.grid.depth_edges_cm, middle, side="right") - 1


@dataclass(frozen=True)
class Slices:
    """Slices of showers along their axes, all (source, slice): energy, number of spots, R_C and R_T in R_M, p."""

    energy_gev: Any
    counts: Any
    core: Any
    tail: Any
    weight: Any


@dataclass(frozen=True)
class Cloud:
    """Spots of showers, one after the other: (spot,) each.

    event: which shower they are of; depth_cm: along its axis; radius_cm, turn: distance from the axis and angle around
    it, in turns; energy_gev.
    """

    event: Any
    depth_cm: Any
    radius_cm: Any
    turn: Any
    energy_gev: Any


def cloud(xp: Arrays, sources: Sources, setup: Setup) -> Cloud:
    """Return the spots of showers, for detectors whose cells are no grid behind one front; `setup.grid` is not read."""
    slices, spots, square, turn = _scattered(xp, sources, setup)
    event = spots.of_sources(sources.event)
    return Cloud(event, _depths(spots, setup), xp.sqrt(square), turn, _energies(spots, slices))


def deposited(xp: Arrays, sources: Sources, events: int, setup: Setup, ray: tuple[Any, Any] | None) -> Any:
    """Return the energy in the cells, (event, cell); ray: positions and directions, None for central showers."""
    slices, spots, square, turn = _scattered(xp, sources, setup)
    event = spots.of_sources(sources.event)
    if ray is None:
        place, inside = _central(spots, setup, square, turn)
    else:
        place, inside = _inclined(xp, setup.grid, event, _depths(spots, setup), xp.sqrt(square), turn, ray)
    # what falls beside the grid is summed behind the last cell and left there
    cells = setup.grid.cells
    cell = xp.where(inside, event * cells + place, xp.zeros_like(place) + events * cells)
    return xp.summed(cell, _energies(spots, slices), events * cells + 1)[:-1].reshape(events, cells)


def _scattered(xp: Arrays, sources: Sources, setup: Setup) -> tuple[Slices, _Spots, Any, Any]:
    """Return slices and spots of showers, with each spot's square of the radius, in cm², and its angle in turns."""
    slices = slices_of(xp, sources, setup)
    spots = _Spots(xp, sources, slices.counts)
    return slices, spots, *_lateral(spots, slices, setup)


def _energies(spots: _Spots, slices: Slices) -> Any:
    """Return the energy of each spot: a slice's is shared alike."""
    return spots.of_slices(slices.energy_gev / spots.xp.floats(spots.xp.clip(slices.counts, 1, None)))


def slices_of(xp: Arrays, sources: Sources, setup: Setup) -> Slices:
    """Return the slices of showers: their energy fluctuates by sampling, the spots have a profile of their own."""
    behind = xp.clip(xp.floats(setup.edges_x0)[None] - sources.start_x0[:, None], 0, None)
    energy = sources.energy_gev[:, None] * _shares(xp, sources.t, sources.alpha, behind)
    place = (sources.part[:, None] << _SLICE_BITS) + xp.arange(energy.shape[1])[None]
    c_square = setup.fluctuation_gev
    if c_square > 0:
        energy = c_square * keyed.gammas(xp, sources.key[:, None], keyed.SAMPLING, place, energy / c_square)
    wanted = sources.spots[:, None] * _shares(xp, sources.spot_t, sources.spot_alpha, behind)
    counts = xp.whole(wanted + keyed.uniforms(xp, sources.key[:, None], keyed.COUNTS, place))
    counts = xp.where(energy > 0, xp.clip(counts, 1, None), xp.zeros_like(counts))
    return Slices(energy, counts, *_radial(xp, sources, (behind[:, 1:] + behind[:, :-1]) / 2, setup))


def _shares(xp: Arrays, t: Any, alpha: Any, behind: Any) -> Any:
    """Return the share of each slice, from the profile's integral at its ends."""
    beta = ((alpha - 1) / t)[:, None]
    whole = xp.gammainc(xp.broadcast_to(alpha[:, None], behind.shape), beta * behind)
    return xp.clip(whole[:, 1:] - whole[:, :-1], 0, None)


def _radial(xp: Arrays, sources: Sources, depth: Any, setup: Setup) -> tuple[Any, Any, Any]:
    """Return R_C, R_T in R_M and p of each slice; a hadronic part has one radius."""
    tau = xp.clip(depth / sources.t[:, None] * sources.tau[:, None], None, LARGEST_TAU)
    core, tail, weight = unchecked_radial(tau, xp.log(sources.energy_gev)[:, None], setup.material, xp)
    own = sources.radius_rm[:, None]
    core = xp.where(own > 0, own, xp.clip(core, *RADII_RM))
    weight = xp.where(own > 0, xp.ones_like(weight), weight * setup.tuning.core_weight)
    return core, xp.clip(tail, *RADII_RM), xp.clip(weight, 1e-6, 1 - 1e-6)


class _Spots:
    """The spots of all slices in a row: values of slices and sources given to each, random numbers by its place."""

    def __init__(self, xp: Arrays, sources: Sources, counts: Any) -> None:
        self.xp, self.shape = xp, counts.shape
        self._sources, self._counts = sources, counts.reshape(-1)
        self._first = xp.cumsum(self._counts, 0) - self._counts
        self._number = xp.arange(int(self._counts.sum()))

    def of_slices(self, values: Any) -> Any:
        """Return values (source, slice) for each spot."""
        return self.xp.repeat(values.reshape(-1), self._counts)

    def of_sources(self, values: Any) -> Any:
        """Return values (source,) for each spot."""
        return self.of_slices(self.xp.broadcast_to(values[:, None], self.shape))

    def of_depths(self, values: Any) -> Any:
        """Return values (slice,) for each spot."""
        return self.of_slices(self.xp.broadcast_to(values[None], self.shape))

    def uniforms(self, stream: int) -> tuple[Any, Any]:
        """Return two uniform numbers for each spot; its place is its number within its slice."""
        start = keyed.bits_start(self._sources.key[:, None], stream, self._sources.part[:, None] << _PART_BITS)
        start = start + keyed.steps(self.xp.arange(self.shape[1])[None] << _SLICE_BITS)
        key = self.of_slices(start.reshape(-1) - keyed.steps(self._first))
        return keyed.pairs_at(self.xp, key + keyed.steps(self._number))


def _lateral(spots: _Spots, slices: Slices, setup: Setup) -> tuple[Any, Any]:
    """Return the square of each spot's radius, in cm², and its angle in turns.

    One number chooses core or tail, and what is left of it is uniform again: r² = R² u/(1 − u).
    """
    xp = spots.xp
    small = [xp.small_floats(values) for values in (slices.weight, slices.core, slices.tail)]
    p, core_square, tail_square = (spots.of_slices(values) for values in (small[0], small[1] ** 2, small[2] ** 2))
    choice, turn = spots.uniforms(keyed.SPOTS)
    in_core = choice < p
    share = xp.clip(xp.where(in_core, choice / p, (choice - p) / (1 - p)), 0, LARGEST_SHARE)
    square = xp.where(in_core, core_square, tail_square) * share / (1 - share)
    return square * setup.moliere_radius_cm**2, turn


def _central(spots: _Spots, setup: Setup, square: Any, turn: Any) -> tuple[Any, Any]:
    """Return the cells of spots of showers along the axis, and which have one."""
    xp, grid = spots.xp, setup.grid
    layer = spots.of_depths(xp.integers(setup.layers))
    if isinstance(grid, CylindricalGrid):
        return grid.polar_places(xp, layer, square, turn)
    radius, angle = xp.sqrt(square), (2 * math.pi) * turn
    return grid.places(xp, layer, radius * xp.cos(angle), radius * xp.sin(angle))


def _depths(spots: _Spots, setup: Setup) -> Any:
    """Return the depths of the spots along the axis in cm, uniform within their slices."""
    edges = spots.xp.floats(setup.edges_x0 * setup.material.radiation_length_cm)
    uniform = spots.uniforms(keyed.DEPTHS)[0]
    return spots.of_depths(edges[:-1]) + uniform * spots.of_depths(edges[1:] - edges[:-1])


def _inclined(
    xp: Arrays, grid: Grid, event: Any, depth: Any, radius: Any, turn: Any, ray: tuple[Any, Any]
) -> tuple[Any, Any]:
    """Return the cells of spots at a depth along, and a radius from, the axes of their events, and which have one."""
    position, direction = ray[0][event], ray[1][event]
    dx, dy, dz = direction[:, 0], direction[:, 1], direction[:, 2]
    # two unit vectors across the axis (Duff et al., JCGT 6 (2017) 1, with dz > 0)
    a, b = -1 / (1 + dz), -dx * dy / (1 + dz)
    u, v = radius * xp.cos((2 * math.pi) * turn), radius * xp.sin((2 * math.pi) * turn)
    x = position[:, 0] + depth * dx + u * (1 + dx**2 * a) + v * b
    y = position[:, 1] + depth * dy + u * b + v * (1 + dy**2 * a)
    z = depth * dz - u * dx - v * dy
    layer = xp.bins(xp.floats(grid.depth_edges_cm), z)
    return grid.places(xp, layer, x, y)
