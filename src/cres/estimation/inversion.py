"""From what a spectrum shows, (mean carrier, axial frequency), to what is wanted, (energy, pitch angle)."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from cres.physics.constants import ELECTRON_CYCLOTRON_HZ_PER_T
from cres.physics.cyclotron import kinetic_energy_ev, lorentz_factor
from cres.simulation.config import TrapConfig
from cres.simulation.motion import Start, make_motion

Array = NDArray[np.float64]
BISECTIONS = 48
# The mean field depends on the energy through the gyroradius alone: two rounds leave less than 1e-6 eV.
FIELD_ROUNDS = 2
# At exactly 90° there is no bounce and no axial frequency.
PITCH_LIMITS_DEG = (80.0, 89.9999)


@runtime_checkable
class Trap(Protocol):
    """What is asked of a trap (see `cres.physics`): angles at the field minimum, radius of the guiding centre."""

    def axial_frequency_hz(self, kinetic_energy_ev: Array, pitch_angle_deg: Array, radius_m: Array) -> Array:
        """Return the frequency of the bounce."""
        ...

    def average_field_t(self, kinetic_energy_ev: Array, pitch_angle_deg: Array, radius_m: Array) -> Array:
        """Return the field averaged over a bounce, which sets the mean carrier."""
        ...


class SimulatedTrap:
    """The trap of a simulation configuration, any kind, exactly as the forward model moves electrons in it."""

    def __init__(self, config: TrapConfig) -> None:
        self._motion = make_motion(config)

    def axial_frequency_hz(self, kinetic_energy_ev: Array, pitch_angle_deg: Array, radius_m: Array) -> Array:
        """Return the frequency of the bounce."""
        return self._rates(kinetic_energy_ev, pitch_angle_deg, radius_m)[1] / (2 * math.pi)

    def average_field_t(self, kinetic_energy_ev: Array, pitch_angle_deg: Array, radius_m: Array) -> Array:
        """Return the field that belongs to the mean carrier: ⟨B⟩ = 2π m γ f_c / e."""
        carrier_hz = self._rates(kinetic_energy_ev, pitch_angle_deg, radius_m)[0] / (2 * math.pi)
        return carrier_hz * lorentz_factor(kinetic_energy_ev) / ELECTRON_CYCLOTRON_HZ_PER_T

    def _rates(self, energy_ev: Array, pitch_angle_deg: Array, radius_m: Array) -> tuple[Array, Array]:
        arrays = np.broadcast_arrays(*(np.asarray(a, np.float64) for a in (energy_ev, pitch_angle_deg, radius_m)))
        energy, pitch, radius = (torch.from_numpy(np.array(a).ravel()) for a in arrays)
        with torch.no_grad():
            rates = self._motion.rates(Start(energy, torch.deg2rad(pitch), radius))
        carrier, axial = (rate.numpy().reshape(arrays[0].shape) for rate in rates)
        return carrier, axial


def energy_from_carrier(trap: Trap, carrier_hz: Array, pitch_angle_deg: Array, radius_m: Array) -> Array:
    """Return the kinetic energy in eV of an electron of known pitch angle: K = mc² (e⟨B⟩/(2π m f_c) − 1)."""
    shape = np.broadcast_shapes(np.shape(carrier_hz), np.shape(pitch_angle_deg))
    energy: Array = np.full(shape, 18_600.0)
    for _ in range(FIELD_ROUNDS):
        field = trap.average_field_t(energy, pitch_angle_deg, radius_m)
        energy = np.asarray(kinetic_energy_ev(carrier_hz, field))
    return energy


def energy_and_pitch(
    trap: Trap,
    carrier_hz: Array,
    axial_frequency_hz: Array,
    radius_m: Array | float = 0.0,
    pitch_limits_deg: tuple[float, float] = PITCH_LIMITS_DEG,
) -> tuple[Array, Array]:
    """Return kinetic energy (eV) and pitch angle (deg) for mean carriers before mixing and axial frequencies.

    Bisection over the pitch angle; the axial frequency must fall towards 90°, as in bathtub and two-coil traps.
    Frequencies outside the range between the limits give the nearer limit.
    """
    carrier_hz, axial_frequency_hz, radius = np.broadcast_arrays(carrier_hz, axial_frequency_hz, radius_m)
    low = np.full(carrier_hz.shape, pitch_limits_deg[0])
    high = np.full(carrier_hz.shape, pitch_limits_deg[1])
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        energy = energy_from_carrier(trap, carrier_hz, middle, radius)
        too_fast = trap.axial_frequency_hz(energy, middle, radius) > axial_frequency_hz
        low = np.where(too_fast, middle, low)
        high = np.where(too_fast, high, middle)
    pitch = (low + high) / 2
    return energy_from_carrier(trap, carrier_hz, pitch, radius), pitch
