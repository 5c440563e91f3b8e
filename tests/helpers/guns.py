"""Particles of one kind, one an event, from the origin in one direction of η and in any of φ."""

from __future__ import annotations

import numpy as np

from collider.detectors.particles import Particles

MASS_GEV = {11: 0.000511, 13: 0.10566, 22: 0.0, 211: 0.13957, 2112: 0.93957, 2212: 0.93827, 12: 0.0}
CHARGE = {11: -1, 13: -1, 211: 1, 2212: 1}


def gun(pdg_id: int, energy_gev: float | np.ndarray, count: int = 1, eta: float = 0.2, seed: int = 1) -> Particles:
    """Return so many particles, the first in event 0."""
    mass, sign = MASS_GEV[abs(pdg_id)], int(np.sign(pdg_id))
    p = np.sqrt(np.broadcast_to(np.asarray(energy_gev, dtype=float), (count,)) ** 2 - mass**2)
    phi = np.random.default_rng(seed).uniform(-np.pi, np.pi, count)
    across = p / np.cosh(eta)
    return Particles(
        event=np.arange(count),
        pdg_id=np.full(count, pdg_id),
        charge=np.full(count, sign * CHARGE.get(abs(pdg_id), 0)),
        momentum_gev=np.stack([across * np.cos(phi), across * np.sin(phi), p * np.tanh(eta)], axis=1),
        mass_gev=np.full(count, mass),
        vertex_mm=np.zeros((count, 3)),
    )
