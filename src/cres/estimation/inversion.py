"""From what a spectrum shows, (mean carrier, axial frequency), to what is wanted, (energy, pitch angle)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from cres.estimation.apparatus import LARGEST_PITCH_DEG, Apparatus
from cres.physics import Trap, kinetic_energy_ev
from reconstruction.shapes import PerRow

Array = NDArray[np.float64]
BISECTIONS = 48
# The mean field depends on the energy through the gyroradius alone: two rounds leave less than 1e-6 eV.
FIELD_ROUNDS = 2
# At exactly 90° there is no bounce and no axial frequency.
PITCH_LIMITS_DEG = (80.0, LARGEST_PITCH_DEG)


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


def energy_and_pitch_of_lines(
    apparatus: Apparatus, carrier_hz: PerRow, axial_hz: PerRow, radius_m: PerRow | float
) -> tuple[PerRow, PerRow]:
    """Return energy and pitch angle of carriers after mixing, on their device."""
    before_mixing = (carrier_hz + apparatus.reception.lo_frequency_hz).cpu().numpy()
    radius = radius_m if isinstance(radius_m, float) else radius_m.cpu().numpy()
    found = energy_and_pitch(apparatus.trap, before_mixing, axial_hz.cpu().numpy(), radius)
    energy, pitch = (torch.from_numpy(values).to(carrier_hz.device) for values in found)
    return energy, pitch
