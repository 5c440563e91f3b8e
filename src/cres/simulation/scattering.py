"""What a scattering does to an electron: energy, direction, guiding centre, and whether the trap still holds it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cres.physics.cyclotron import gyroradius_m, momentum_kg_m_per_s
from cres.simulation.config import SimulationConfig
from cres.simulation.holding import Fate, fates
from cres.simulation.motion import Motion, Start
from cres.simulation.pieces import State
from cres.simulation.scattering_config import ScatteringConfig

FloatArray = NDArray[np.float64]

DRAWS = 8
"""Uniform numbers of each track of an event."""
_STREAM = 0x5CA77E4
_PLACES = 256


def track_draws(event_id: NDArray[np.int64], tracks: int) -> FloatArray:
    """Return uniform numbers (electrons, tracks, DRAWS) keyed by the event's identity alone."""
    keys = [np.random.Philox(key=[int(event) % 2**64, _STREAM]) for event in event_id]
    return np.stack([np.random.Generator(key).random((tracks, DRAWS)) for key in keys])


def track_time_s(config: ScatteringConfig, kinetic_energy_ev: FloatArray, draw: FloatArray) -> FloatArray:
    """Return the time to the next scattering, exponentially distributed; infinite without gas."""
    if config.density_per_m3 == 0:
        return np.full(len(draw), np.inf)
    mean = config.mixture.mean_track_time_s(kinetic_energy_ev, config.density_per_m3)
    return np.asarray(-np.log1p(-draw) * mean)


def share_within(config: ScatteringConfig, kinetic_energy_ev: FloatArray, time_s: float) -> FloatArray:
    """Return how many tracks end within a time: the draws of `track_time_s` below it."""
    mean = config.mixture.mean_track_time_s(kinetic_energy_ev, config.density_per_m3)
    return np.asarray(-np.expm1(-time_s / mean))


class Kick(NamedTuple):
    """A scattering's energy loss, eV, and polar angle, rad, each (batch,)."""

    loss_ev: FloatArray
    angle_rad: FloatArray


def draw_kick(config: ScatteringConfig, kinetic_energy_ev: FloatArray, draws: FloatArray) -> Kick:
    """Return kicks from three uniform numbers each (batch, 3): partner and kind, loss, angle."""
    return Kick(*config.mixture.kick(kinetic_energy_ev, draws))


@torch.no_grad()
def scatter(motion: Motion, field_t: float, state: State, kick: Kick, turns_rad: FloatArray) -> State:
    """Return the electrons after their kicks, at the same place.

    turns_rad: (batch, 2), the azimuth of the kick around the direction of flight, and that of the gyration against the
    guiding centre. Field line and gyration change together, so that the electron itself does not move; a change of the
    field within a gyroradius is left out. Positions beyond the new bounce are at its turning point.
    """
    orbit = motion.solve(state.start)
    here = orbit.period(state.axial_phase_rad[:, None])
    ahead = orbit.period(state.axial_phase_rad[:, None] + 1e-4).axial_m
    place, ratio = here.axial_m[:, 0].numpy(), np.maximum(here.field_ratio[:, 0].numpy(), 1.0)
    rising = (ahead - here.axial_m)[:, 0].numpy() >= 0
    energy = state.energy_ev.numpy()
    sine = np.minimum(np.sin(state.pitch_rad.numpy()) * np.sqrt(ratio), 1.0)
    cosine = np.where(rising, 1.0, -1.0) * np.sqrt(1 - sine**2)
    kicked = kick.angle_rad, turns_rad[:, 0]
    along, across = np.cos(kicked[0]), np.sin(kicked[0])
    # new direction: x along the transverse momentum, z along the field
    x = sine * along + cosine * across * np.cos(kicked[1])
    y = across * np.sin(kicked[1])
    z = cosine * along - sine * across * np.cos(kicked[1])
    new_energy = energy - kick.loss_ev
    scale = np.asarray(momentum_kg_m_per_s(new_energy) / momentum_kg_m_per_s(energy))
    gyration = np.asarray(gyroradius_m(energy, 90.0, field_t * ratio))
    shift = gyration * np.hypot(sine - scale * x, scale * y)
    radius, turn = _moved(state.radius_m.numpy(), shift, turns_rad[:, 1])
    pitch = np.arcsin(np.clip(np.hypot(x, y) / np.sqrt(ratio), 1e-6, 1.0))
    start = Start(*(torch.from_numpy(np.asarray(v)) for v in (new_energy, pitch, radius)))
    phase = state.phase_rad + torch.from_numpy(np.arctan2(y, x) - turn)
    axial_phase = _axial_phase_at(motion, start, torch.from_numpy(place), torch.from_numpy(z >= 0))
    return State(*start, state.azimuth_rad + torch.from_numpy(turn), phase, axial_phase)


def _moved(radius_m: FloatArray, shift_m: FloatArray, direction_rad: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return radius and change of azimuth after a step that makes this angle with the radius."""
    outwards, aside = radius_m + shift_m * np.cos(direction_rad), shift_m * np.sin(direction_rad)
    return np.hypot(outwards, aside), np.arctan2(aside, outwards)


def _axial_phase_at(motion: Motion, start: Start, place_m: Tensor, rising: Tensor) -> Tensor:
    """Return the axial phase at which the new bounce passes the place upwards or downwards, by three finer grids."""
    orbit = motion.solve(start)
    middle = torch.zeros_like(place_m)
    reach = math.pi
    for _ in range(4):
        grid = torch.linspace(-1, 1, _PLACES + 1, dtype=torch.float64) * reach
        phases = middle[:, None] + grid
        axial = orbit.period(phases).axial_m
        direction = torch.gradient(axial, dim=1)[0] >= 0
        distance = (axial - place_m[:, None]).abs() + 1e3 * (direction != rising[:, None])
        middle = torch.gather(phases, 1, distance.argmin(1, keepdim=True))[:, 0]
        reach *= 4 / _PLACES
    return torch.remainder(middle, 2 * math.pi)


def still_held(config: SimulationConfig, state: State) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which electrons trap and cavity hold at both ends, and which stay clear of the wall."""
    start = state.energy_ev.numpy(), np.rad2deg(state.pitch_rad.numpy()), state.radius_m.numpy()
    fate = fates(config, *start)
    return (fate != Fate.NOT_TRAPPED) & (fate != Fate.OUTSIDE), fate != Fate.WALL
