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
from collider.showers.arrays import arrays_on
from collider.showers.grid import Grid, checked_grid
from collider.showers.materials import AnyMaterial
from collider.showers.parameters import (
    NOMINAL,
    Tuning,
    checked_energies,
    checked_material,
    lowest_energy_gev,
    spots,
)
from collider.showers.particles import pdg_codes
from collider.showers.readout import PERFECT, Readout
from collider.showers.sources import sources_of
from collider.showers.spots import Setup, deposited
from reconstruction.errors import UserError

SLICE_X0: Final = 0.5
"""Slices along the axis are no thicker."""

BATCH_SPOTS: Final = {"numpy": 150_000, "torch": 20_000_000}
"""Spots that are held at once; the result does not depend on it."""


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
    lowest, grid = lowest_energy_gev(checked_material(material)), checked_grid(grid)
    if len(energies) and energies.min() < lowest:
        raise UserError(
            f"{energies.min():g} GeV is too little for a shower in {material.name or 'this material'}, where the "
            f"parametrisation begins at {lowest:.3g} GeV"
        )
    xp = arrays_on(device)
    position, direction = beam.rays(len(energies))
    setup = Setup(material, grid, readout, tuning, slice_edges(grid, material, direction))
    parts = []
    for chosen in _batches(energies, material, batch_spots or BATCH_SPOTS[xp.name]):
        keys = keyed.event_keys(xp, seed, split, ids[chosen])
        sources = sources_of(xp, energies[chosen], codes[chosen], keys, material, tuning, dead_material_x0)
        ray = None if beam.is_central else (xp.floats(position[chosen]), xp.floats(direction[chosen]))
        cells = deposited(xp, sources, len(keys), setup, ray)
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


def joined(parts: Sequence[Showers]) -> Showers:
    """Return several sets of events as one."""
    columns = [np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Showers)]
    return Showers(*columns)
