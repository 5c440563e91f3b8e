"""Single showers in cells, in batches: correlated fluctuations, spots, sampling fluctuation, read-out.

The energy of thin slices along the axis follows from each shower's own profile; each slice's energy is shared by equal
spots, whose radius and angle are drawn (Grindhammer and Peters, hep-ex/0001020, section 5).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from collider.showers import keyed
from collider.showers.arrays import Arrays, arrays_on
from collider.showers.grid import CylindricalGrid, Grid
from collider.showers.materials import AnyMaterial, SamplingMaterial
from collider.showers.parameters import (
    NOMINAL,
    Tuning,
    checked_energies,
    checked_material,
    lowest_energy_gev,
    spots,
    unchecked_radial,
)
from collider.showers.particles import pdg_codes
from collider.showers.readout import PERFECT, Readout
from collider.showers.sources import Sources, sources_of
from reconstruction.errors import UserError

SLICE_X0: Final = 0.5
"""Slices along the axis are no thicker."""

BATCH_SPOTS: Final = {"numpy": 150_000, "torch": 20_000_000}
"""Spots that are held at once; the result does not depend on it."""

_RADII_RM: Final = (1e-3, 100.0)
"""Limits of R_C and R_T, which the formulae leave far behind the shower and at its very beginning."""

_LARGEST_TAU: Final = 20.0
"""So far behind the maximum the formulae have no meaning, and hardly any energy."""

_PART_BITS: Final = 40
_SLICE_BITS: Final = 24
_DEPTHS: Final = 8
"""A stream for the depths of spots of inclined showers."""


@dataclass(frozen=True)
class Showers:
    """Simulated events, arrays of one length.

    energy_gev, particle (PDG code), event_id; cells_gev: (event, *grid.shape), as read out; absorbed_gev: in all cells
    before the read-out; t, alpha: of the event's first shower, in X0; start_x0: where it begins behind the front.
    """

    energy_gev: NDArray[np.float64]
    particle: NDArray[np.int64]
    event_id: NDArray[np.int64]
    cells_gev: NDArray[np.float32]
    absorbed_gev: NDArray[np.float64]
    t: NDArray[np.float64]
    alpha: NDArray[np.float64]
    start_x0: NDArray[np.float64]

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.energy_gev)


@dataclass(frozen=True)
class Beam:
    """Where showers enter the front, z = 0, and where they go.

    position_cm: (event, 2) or (2,); direction: (event, 3) or (3,), of any length, towards positive z.
    """

    position_cm: Any = (0.0, 0.0)
    direction: Any = (0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        if np.asarray(self.position_cm, dtype=float).shape[-1:] != (2,):
            raise UserError("position_cm of a beam are x and y in cm: (2,) or (event, 2)")
        direction = np.asarray(self.direction, dtype=float)
        if direction.shape[-1:] != (3,) or not (np.isfinite(direction).all() and (direction[..., 2] > 0).all()):
            raise UserError("direction of a beam is x, y and z, (3,) or (event, 3), with z above 0")

    @property
    def is_central(self) -> bool:
        """Whether all showers run along the axis of the grid."""
        return not np.any(self.position_cm) and not np.any(np.asarray(self.direction)[..., :2])

    def rays(self, events: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return positions (event, 2) and unit directions (event, 3)."""
        try:
            position = np.broadcast_to(np.asarray(self.position_cm, dtype=float), (events, 2))
            direction = np.broadcast_to(np.asarray(self.direction, dtype=float), (events, 3))
        except ValueError:
            raise UserError(f"a beam has one ray for all of {events} events, or one for each") from None
        return position, direction / np.linalg.norm(direction, axis=1, keepdims=True)


CENTRAL = Beam()


def simulate_showers(
    energy_gev: ArrayLike,
    material: AnyMaterial,
    grid: Grid,
    *,
    particle: str | int | Sequence[Any] | NDArray[Any] = "electron",
    seed: int = 0,
    split: int = 0,
    event_id: ArrayLike | None = None,
    beam: Beam = CENTRAL,
    dead_material_x0: float = 0.0,
    readout: Readout = PERFECT,
    tuning: Tuning = NOMINAL,
    device: str = "numpy",
    batch_spots: int | None = None,
) -> Showers:
    """Simulate one shower for each energy.

    energy_gev: (event,); particle: one for all or one for each. An event's random numbers depend on seed, split (0 or
    1) and event_id (0, 1, … by default) alone. dead_material_x0: material of the same kind before the front.
    device: "numpy", or one of torch ("cpu", "cuda" …). Raises UserError for what cannot shower.
    """
    energies = np.atleast_1d(checked_energies(energy_gev))
    codes = pdg_codes(particle, len(energies))
    ids = np.arange(len(energies)) if event_id is None else np.asarray(event_id, dtype=np.int64)
    if energies.ndim != 1 or ids.shape != energies.shape:
        raise UserError("energies and event ids must be lists of one length")
    if not (math.isfinite(dead_material_x0) and dead_material_x0 >= 0):
        raise UserError(f"dead_material_x0 must be 0 or more, in X0, not {dead_material_x0!r}")
    lowest = lowest_energy_gev(checked_material(material))
    if len(energies) and energies.min() < lowest:
        raise UserError(
            f"{energies.min():g} GeV is too little for a shower in {material.name or 'this material'}, where the "
            f"parametrisation begins at {lowest:.3g} GeV"
        )
    xp = arrays_on(device)
    position, direction = beam.rays(len(energies))
    edges = slice_edges(grid, material, direction)
    parts = []
    for chosen in _batches(energies, material, batch_spots or BATCH_SPOTS[xp.name]):
        keys = keyed.event_keys(xp, seed, split, ids[chosen])
        sources = sources_of(xp, energies[chosen], codes[chosen], keys, material, tuning, dead_material_x0)
        ray = None if beam.is_central else (xp.floats(position[chosen]), xp.floats(direction[chosen]))
        cells = _cells(xp, sources, len(keys), edges, grid, material, readout, tuning, ray)
        read = readout.apply(xp, cells, keys, seed)
        first = [xp.host(values)[: len(keys)] for values in (sources.t, sources.alpha, sources.start_x0)]
        parts.append([xp.host(read).astype(np.float32), xp.host(cells.sum(1)), *first])
    if not parts:
        parts = [[np.zeros((0, grid.cells), np.float32), *([np.zeros(0)] * 4)]]
    found, absorbed, t, alpha, start = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return Showers(energies, codes, ids, found.reshape(-1, *grid.shape), absorbed, t, alpha, start)


def slice_edges(grid: Grid, material: AnyMaterial, direction: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Return the edges of the slices along the axis, in X0 behind the front: each lies within one layer.

    For inclined showers the slices are half as thick everywhere and reach as far as the longest way through the grid.
    """
    layers = np.asarray(grid.depth_edges_cm) / material.radiation_length_cm
    cosine = 1.0 if direction is None or not len(direction) else float(direction[:, 2].min())
    if cosine < 1:
        return np.arange(math.ceil(2 * layers[-1] / cosine / SLICE_X0) + 1) * (SLICE_X0 / 2)
    pieces = [np.linspace(a, b, math.ceil((b - a) / SLICE_X0 - 1e-9) + 1)[:-1] for a, b in itertools.pairwise(layers)]
    return np.concatenate([*pieces, layers[-1:]])


def _batches(energies: NDArray[np.float64], material: AnyMaterial, most: int) -> Iterator[slice]:
    """Yield events whose spots are about `most` together."""
    if not len(energies):
        return
    number = np.floor(np.cumsum(spots(energies, material) + 100) / most).astype(int)
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    yield from (slice(a, b) for a, b in zip(starts, [*starts[1:], len(energies)], strict=True))


def _cells(
    xp: Arrays,
    sources: Sources,
    events: int,
    edges_x0: NDArray[np.float64],
    grid: Grid,
    material: AnyMaterial,
    readout: Readout,
    tuning: Tuning,
    ray: tuple[Any, Any] | None,
) -> Any:
    """Return the energy in the cells, (event, cell)."""
    energy, counts, radial = _slices(xp, sources, xp.floats(edges_x0), material, readout, tuning)
    slices = energy.shape[1]
    starts = keyed.bits_start(sources.key[:, None], keyed.SPOTS, (sources.part[:, None] << _PART_BITS))
    number = xp.arange(slices)
    starts = starts + keyed.steps(number[None] << _SLICE_BITS)
    flat = counts.reshape(-1)
    first = xp.cumsum(flat, 0) - flat
    repeat = lambda values: xp.repeat(values.reshape(-1), flat)  # noqa: E731
    total = int(flat.sum())
    # each spot's place is its number within its slice
    key = repeat(starts.reshape(-1) - keyed.steps(first)) + keyed.steps(xp.arange(total))
    choice, turn = keyed.pairs_at(xp, key)
    core, tail, weight = (xp.small_floats(values) for values in radial)
    p, core_square, tail_square = repeat(weight), repeat(core**2), repeat(tail**2)
    in_core = choice < p
    share = xp.where(in_core, choice / p, (choice - p) / (1 - p))
    # the radius in units of R: r² = u/(1 − u); the largest float32 below 1 keeps it finite
    share = xp.clip(share, 0, 1 - 2.0**-24)
    scale = material.moliere_radius_cm / tuning.critical_energy * tuning.moliere_radius
    square = xp.where(in_core, core_square, tail_square) * share / (1 - share) * scale**2
    event = xp.broadcast_to(sources.event[:, None], (len(sources.event), slices))
    energies = repeat(energy / xp.floats(xp.clip(counts, 1, None)))
    if ray is None:
        layer = xp.integers(np.searchsorted(grid.depth_edges_cm, _middle_cm(edges_x0, material), side="right") - 1)
        layers = repeat(xp.broadcast_to(layer[None], energy.shape))
        if isinstance(grid, CylindricalGrid):
            place, inside = grid.polar_places(xp, layers, square, turn)
        else:
            radius, angle = xp.sqrt(square), (2 * math.pi) * turn
            place, inside = grid.places(xp, layers, radius * xp.cos(angle), radius * xp.sin(angle))
    else:
        depth = _depths(xp, sources, repeat, flat, first, edges_x0, material)
        place, inside = _inclined(xp, grid, repeat(event), depth, xp.sqrt(square), turn, ray)
    cell = xp.where(inside, repeat(event) * grid.cells + place, xp.zeros_like(place) + events * grid.cells)
    return xp.summed(cell, energies, events * grid.cells + 1)[:-1].reshape(events, grid.cells)


def _slices(
    xp: Arrays, sources: Sources, edges: Any, material: AnyMaterial, readout: Readout, tuning: Tuning
) -> tuple[Any, Any, tuple[Any, Any, Any]]:
    """Return energy and number of spots of each slice, (source, slice), and R_C, R_T in R_M and p there."""
    behind = xp.clip(edges[None] - sources.start_x0[:, None], 0, None)
    share = _shares(xp, sources.t, sources.alpha, behind)
    energy = sources.energy_gev[:, None] * share
    number = xp.arange(energy.shape[1])[None]
    part = sources.part[:, None] << _SLICE_BITS
    c = material.resolution_term if isinstance(material, SamplingMaterial) else readout.stochastic_term
    if c > 0:
        energy = c**2 * keyed.gammas(xp, sources.key[:, None], keyed.SAMPLING, part + number, energy / c**2)
    wanted = sources.spots[:, None] * _shares(xp, sources.spot_t, sources.spot_alpha, behind)
    counts = xp.whole(wanted + keyed.uniforms(xp, sources.key[:, None], keyed.COUNTS, part + number))
    counts = xp.where(energy > 0, xp.clip(counts, 1, None), xp.zeros_like(counts))
    middle = (behind[:, 1:] + behind[:, :-1]) / 2
    tau = xp.clip(middle / sources.t[:, None] * sources.tau[:, None], None, _LARGEST_TAU)
    core, tail, weight = unchecked_radial(tau, xp.log(sources.energy_gev)[:, None], material, xp)
    hadronic = sources.radius_rm[:, None] > 0
    core = xp.where(hadronic, sources.radius_rm[:, None], xp.clip(core, *_RADII_RM))
    weight = xp.where(hadronic, xp.ones_like(weight), weight * tuning.core_weight)
    return energy, counts, (core, xp.clip(tail, *_RADII_RM), xp.clip(weight, 1e-6, 1 - 1e-6))


def _shares(xp: Arrays, t: Any, alpha: Any, behind: Any) -> Any:
    """Return the share of each slice, from the profile's integral at its ends."""
    beta = ((alpha - 1) / t)[:, None]
    whole = xp.gammainc(xp.broadcast_to(alpha[:, None], behind.shape), beta * behind)
    return xp.clip(whole[:, 1:] - whole[:, :-1], 0, None)


def _middle_cm(edges_x0: NDArray[np.float64], material: AnyMaterial) -> NDArray[np.float64]:
    return (edges_x0[1:] + edges_x0[:-1]) / 2 * material.radiation_length_cm


def _depths(
    xp: Arrays,
    sources: Sources,
    repeat: Any,
    flat: Any,
    first: Any,
    edges_x0: NDArray[np.float64],
    material: AnyMaterial,
) -> Any:
    """Return the depths of the spots along the axis in cm, uniform within their slices."""
    edges, slices = xp.floats(edges_x0 * material.radiation_length_cm), len(edges_x0) - 1
    start = keyed.bits_start(sources.key[:, None], _DEPTHS, sources.part[:, None] << _PART_BITS)
    start = start + keyed.steps(xp.arange(slices)[None] << _SLICE_BITS)
    key = repeat(start.reshape(-1) - keyed.steps(first)) + keyed.steps(xp.arange(int(flat.sum())))
    uniform = keyed.pairs_at(xp, key)[0]
    shape = (len(sources.event), slices)
    lower, width = xp.broadcast_to(edges[None, :-1], shape), xp.broadcast_to((edges[1:] - edges[:-1])[None], shape)
    return repeat(lower) + uniform * repeat(width)


def _inclined(
    xp: Arrays, grid: Grid, event: Any, depth: Any, radius: Any, turn: Any, ray: tuple[Any, Any]
) -> tuple[Any, Any]:
    """Return the cells of spots at a depth along, and a radius from, the axes of their events."""
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


def joined(parts: Sequence[Showers]) -> Showers:
    """Return several sets of events as one."""
    columns = [np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Showers)]
    return Showers(*columns)
