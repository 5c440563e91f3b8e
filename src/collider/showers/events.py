"""The events of a configuration: what enters, their showers, and the figures that describe each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from collider.showers import keyed
from collider.showers.arrays import NUMPY
from collider.showers.config import ShowerConfig
from collider.showers.grid import CylindricalGrid, Grid
from collider.showers.simulation import CENTRAL, Beam, Showers, simulate_showers

SPLITS: Final = {"train": 0, "validation": 1}

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Incident:
    """What enters: energy in GeV, PDG code, event id, and where and how."""

    energy_gev: Values
    particle: NDArray[np.int64]
    event_id: NDArray[np.int64]
    beam: Beam


def incident(config: ShowerConfig, event_id: NDArray[np.int64], split: str) -> Incident:
    """Return what enters in some events of a split; each depends on the configuration's seed and its id alone."""
    keys = keyed.event_keys(NUMPY, config.seed, SPLITS[split], event_id)
    uniform = keyed.uniforms(NUMPY, keys[:, None], keyed.ENTRANCE, np.arange(4)[None])
    particles = config.particles
    energies = np.asarray(particles.energy_gev, dtype=np.float64)
    if particles.spectrum == "values":
        energy = energies[np.minimum((uniform[:, 0] * len(energies)).astype(int), len(energies) - 1)]
    elif particles.spectrum == "uniform":
        energy = energies[0] + uniform[:, 0] * (energies[1] - energies[0])
    else:
        energy = energies[0] * (energies[1] / energies[0]) ** uniform[:, 0]
    codes = np.array(list(particles.frequencies), dtype=np.int64)
    steps = np.cumsum(list(particles.frequencies.values()))
    kind = codes[np.minimum(np.searchsorted(steps, uniform[:, 1], side="right"), len(codes) - 1)]
    return Incident(energy, kind, event_id, _beam(config, keys, uniform[:, 2:]))


def _beam(config: ShowerConfig, keys: NDArray[np.int64], uniform: Values) -> Beam:
    spread, angle = config.particles.position_spread_cm, np.radians(config.particles.angle_deg)
    if spread == 0 and angle == 0:
        return CENTRAL
    position = spread * np.stack(keyed.normals(NUMPY, keys, keyed.ENTRANCE, np.full(len(keys), 16)), axis=1)
    cosine = 1 - uniform[:, 0] * (1 - np.cos(angle))
    sine, azimuth = np.sqrt(1 - cosine**2), 2 * np.pi * uniform[:, 1]
    return Beam(position, np.stack([sine * np.cos(azimuth), sine * np.sin(azimuth), cosine], axis=1))


def simulate_events(
    config: ShowerConfig, event_id: NDArray[np.int64], split: str = "train", device: str = "numpy"
) -> Showers:
    """Simulate some events of a split."""
    found = incident(config, event_id, split)
    return simulate_showers(
        found.energy_gev,
        config.medium,
        config.cells,
        particle=found.particle,
        seed=config.seed,
        split=SPLITS[split],
        event_id=event_id,
        beam=found.beam,
        dead_material_x0=config.dead_material_x0,
        readout=config.readout,
        tuning=config.tuning,
        device=device,
    )


@dataclass(frozen=True)
class Observables:
    """What describes showers, from the cells as read out.

    deposited_gev (event,); depth_gev (event, layer); rings_gev (event, ring), around the axis of the grid;
    depth_of_maximum_x0 (event,): a parabola through the largest layer and its neighbours; containment (event,):
    deposited over incident energy.
    """

    deposited_gev: Values
    depth_gev: Values
    rings_gev: Values
    depth_of_maximum_x0: Values
    containment: Values


def observables(showers: Showers, grid: Grid, radiation_length_cm: float) -> Observables:
    """Return what describes showers in a grid."""
    cells = showers.cells_gev.astype(np.float64)
    depth = cells.sum((2, 3))
    deposited = depth.sum(1)
    edges = np.asarray(grid.depth_edges_cm) / radiation_length_cm
    return Observables(
        deposited_gev=deposited,
        depth_gev=depth,
        rings_gev=cells.reshape(len(showers), -1) @ ring_of_cell(grid),
        depth_of_maximum_x0=_maxima(depth, (edges[1:] + edges[:-1]) / 2),
        containment=deposited / showers.energy_gev,
    )


def ring_edges_cm(grid: Grid) -> Values:
    """Return the edges of the rings of lateral profiles: of the grid, or as wide as a square cell."""
    if isinstance(grid, CylindricalGrid):
        return np.asarray(grid.radius_edges_cm, dtype=np.float64)
    width = grid.x_edges_cm[1] - grid.x_edges_cm[0]
    return np.asarray(np.arange(max(1, (grid.shape[1] + 1) // 2) + 1) * width, dtype=np.float64)


def ring_of_cell(grid: Grid) -> Values:
    """Return the matrix (cell, ring) that sums cells into rings; cells beyond the last one count to none."""
    edges = ring_edges_cm(grid)
    radius = np.hypot(grid.centres_cm[:, 0], grid.centres_cm[:, 1])
    ring = np.searchsorted(edges, radius, side="right") - 1
    return np.asarray(ring[:, None] == np.arange(len(edges) - 1)[None], dtype=np.float64)


def _maxima(depth: Values, middle: Values) -> Values:
    """Return where each profile is largest; a parabola needs neighbours on both sides."""
    rows, top = np.arange(len(depth)), depth.argmax(1)
    inner = np.clip(top, 1, max(1, depth.shape[1] - 2))
    if depth.shape[1] < 3:
        return middle[top]
    before, here, after = depth[rows, inner - 1], depth[rows, inner], depth[rows, inner + 1]
    bend = before - 2 * here + after
    shift = np.where(bend < 0, (before - after) / np.where(bend < 0, 2 * bend, -1.0), 0.0)
    best = middle[inner] + np.clip(shift, -0.5, 0.5) * (middle[1] - middle[0])
    return np.where((top == inner) & (bend < 0), best, middle[top])
