"""Start values of electrons. Electron i depends on (seed, i) only: not on the shard, the worker or the number."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from cres.errors import UserError
from cres.physics.beta import beta_quantile
from cres.simulation.config import EnsembleConfig, SimulationConfig

FloatArray = NDArray[np.float64]

DRAWS_PER_ELECTRON = 8
"""Uniform numbers that an electron may use; a multiple of 4, which is one step of the Philox counter."""


@dataclass(frozen=True)
class Electrons:
    """Start values, one entry an electron; float64 arrays of one length, event_id int64."""

    energy_ev: FloatArray
    pitch_angle_deg: FloatArray
    radius_m: FloatArray
    azimuth_rad: FloatArray
    start_phase_rad: FloatArray
    axial_phase_rad: FloatArray
    amplitude: FloatArray
    event_id: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.energy_ev)

    def __getitem__(self, index: slice | NDArray[np.int64] | NDArray[np.bool_]) -> Electrons:
        return Electrons(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


def event_ids(seed: int, start: int, count: int) -> NDArray[np.int64]:
    """Return identities that differ between seeds (20 bits) and electrons (32 bits) and are exact in float64."""
    return ((np.int64(seed % 2**20)) << np.int64(32)) + np.arange(start, start + count, dtype=np.int64)


def uniform_draws(seed: int, start: int, count: int, stream: int = 0) -> FloatArray:
    """Return (count, DRAWS_PER_ELECTRON) uniform numbers in [0, 1) keyed by (seed, stream, electron)."""
    generator = np.random.Philox(key=[seed % 2**64, stream])
    generator.advance(start * DRAWS_PER_ELECTRON // 4)
    return np.random.Generator(generator).random((count, DRAWS_PER_ELECTRON))


def sample_electrons(config: SimulationConfig, count: int, seed: int, start: int = 0) -> Electrons:
    """Draw electrons `start` to `start + count` of the ensemble with this seed."""
    if count < 0 or start < 0:
        raise UserError(f"the number of electrons must not be negative, not {count} from {start}")
    draws = uniform_draws(seed, start, count)
    ensemble = config.ensemble
    return Electrons(
        energy_ev=energies_ev(ensemble, draws[:, 0], draws[:, 6]),
        pitch_angle_deg=isotropic_pitch_deg(ensemble, draws[:, 1]),
        radius_m=uniform_area_radius_m(ensemble, draws[:, 2]),
        azimuth_rad=2 * math.pi * draws[:, 3],
        start_phase_rad=2 * math.pi * draws[:, 4],
        axial_phase_rad=2 * math.pi * draws[:, 5],
        amplitude=np.ones(count),
        event_id=event_ids(seed, start, count),
    )


def energies_ev(ensemble: EnsembleConfig, draw: FloatArray, choice: FloatArray) -> FloatArray:
    """Energies of the ensemble at the quantiles `draw`; `choice` below the background's fraction makes background."""
    if ensemble.kind == "uniform":
        return _between(ensemble.energy_ev, draw)
    background = choice < ensemble.background_fraction
    low, high = ensemble.energy_ev
    return beta_quantile(draw, low, high, ensemble.endpoint_ev, ensemble.neutrino_mass_ev, background=background)


def _between(interval: tuple[float, float], draw: FloatArray) -> FloatArray:
    return interval[0] + (interval[1] - interval[0]) * draw


def isotropic_pitch_deg(ensemble: EnsembleConfig, draw: FloatArray) -> FloatArray:
    """Pitch angles uniform in cosθ between the two limits."""
    low, high = np.cos(np.deg2rad(ensemble.pitch_angle_deg))
    return np.rad2deg(np.arccos(low + (high - low) * draw))


def uniform_area_radius_m(ensemble: EnsembleConfig, draw: FloatArray) -> FloatArray:
    """Radii uniform in area between the two limits."""
    low, high = np.square(ensemble.radius_m)
    return np.sqrt(low + (high - low) * draw)
