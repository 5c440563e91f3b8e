"""Which electrons a record can hold: trapped at both ends and passing, within cavity and wall, in the band."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from cres.physics.cyclotron import cyclotron_frequency_hz, gyroradius_m
from cres.physics.traps import NumericalTrap, Trap
from cres.simulation.config import SimulationConfig
from cres.simulation.trapping import make_trap

FloatArray = NDArray[np.float64]


class Fate(IntEnum):
    """What becomes of an electron: held, or the first reason why it is not."""

    HELD = 0
    NOT_TRAPPED = 1
    OUTSIDE = 2
    WALL = 3
    OUT_OF_BAND = 4
    LINGERING = 5


WORDS = {
    Fate.NOT_TRAPPED: "not trapped",
    Fate.OUTSIDE: "turning outside of the cavity",
    Fate.WALL: "touching the wall",
    Fate.OUT_OF_BAND: "out of the sampled band",
    Fate.LINGERING: "lingering on a hump of the field",
}

ADVICE = {
    Fate.NOT_TRAPPED: "narrow ensemble.pitch_angle_deg towards 90, or make the trap deeper at both ends",
    Fate.OUTSIDE: "narrow ensemble.pitch_angle_deg towards 90, or make cavity.length_m larger",
    Fate.WALL: "lower ensemble.radius_m, or make cavity.radius_m larger",
    Fate.OUT_OF_BAND: "move readout.lo_frequency_hz to the carriers, or raise readout.sampling_rate_hz",
    Fate.LINGERING: "move ensemble.pitch_angle_deg away from the angles that just pass the hump between two wells",
}

LONGEST_LINGERING = 8.0
"""Beyond, an electron passes a hump so slowly that its bounce is not resolved (here to 1e-6, the carrier to some Hz; at
twice as much to hundreds of kHz), and that its own loss decides within a record which well it is in."""


def fates(
    config: SimulationConfig, energy_ev: FloatArray, pitch_angle_deg: FloatArray, radius_m: FloatArray
) -> NDArray[np.int64]:
    """Return what becomes of electrons with these start values, `Fate` each (electrons,)."""
    low_m, high_m, mean_field_t, lingering = _bounce(make_trap(config.trap), energy_ev, pitch_angle_deg, radius_m)
    cavity, readout = config.cavity, config.readout
    ends = np.maximum(high_m - cavity.offset_m, cavity.offset_m - low_m)
    outermost = radius_m + gyroradius_m(energy_ev, pitch_angle_deg, config.trap.field_t)
    carrier_hz = np.asarray(cyclotron_frequency_hz(energy_ev, mean_field_t)) - readout.lo_frequency_hz
    with np.errstate(invalid="ignore"):
        tests = {
            # on top of a hump a bounce has no end: its mean field is no number
            Fate.NOT_TRAPPED: ~(np.isfinite(low_m) & np.isfinite(high_m) & np.isfinite(mean_field_t)),
            Fate.LINGERING: lingering > LONGEST_LINGERING,
            Fate.OUTSIDE: ends > cavity.length_m / 2,
            Fate.WALL: outermost >= cavity.radius_m,
            Fate.OUT_OF_BAND: np.abs(carrier_hz) > readout.sampling_rate_hz / 2,
        }
    return np.select(list(tests.values()), [int(fate) for fate in tests], int(Fate.HELD))


def _bounce(
    trap: Trap, energy_ev: FloatArray, pitch_angle_deg: FloatArray, radius_m: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return both turning points, mean field and lingering, solved once; NaN for what is not trapped."""
    start = energy_ev, pitch_angle_deg, radius_m
    if isinstance(trap, NumericalTrap):
        solved = trap.bounce(*start)
        return solved.low_m, solved.high_m, solved.average_field_t, solved.lingering
    high = np.asarray(trap.turning_point_m(*start))
    return -high, high, np.asarray(trap.average_field_t(*start)), np.ones_like(high)
