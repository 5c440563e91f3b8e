"""A cylindrical cavity in a TE0np mode: frequency, coupling of a gyrating electron, power, coupling to the port."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import j0, j1, jvp

from cres.physics import cyclotron
from cres.physics.constants import ELEMENTARY_CHARGE_C, SPEED_OF_LIGHT_M_PER_S, VACUUM_PERMITTIVITY_F_PER_M
from cres.physics.cyclotron import Result, Values, as_array, cyclotron_frequency_hz, speed_m_per_s

J1_ZEROS = (3.8317059702075123, 7.015586669815619, 10.173468135062722, 13.323691936314223)
"""Zeros of J₁, the radial index n of TE0np is 1 for the first (Abramowitz & Stegun, table 9.5)."""


def mode_frequency_hz(
    cavity_radius_m: float, cavity_length_m: float, radial_index: int = 1, axial_index: int = 1
) -> float:
    """Resonance f = (c/2π) √(k² + (pπ/L)²), k = x₁ₙ/R."""
    transverse = J1_ZEROS[radial_index - 1] / cavity_radius_m
    axial = axial_index * math.pi / cavity_length_m
    return SPEED_OF_LIGHT_M_PER_S / (2 * math.pi) * math.hypot(transverse, axial)


def radial_coupling(radius_m: Values, gyroradius_m: Values, cavity_radius_m: float, radial_index: int = 1) -> Result:
    """Coherent coupling 2 J₁(kρ) J₁'(k r_c) of a gyrating electron to E_φ: zero on the axis and at the wall.

    J₁(kρ') e^{…} expanded around the guiding centre (Graf's addition theorem); only the part that turns with the
    electron adds up over a turn.
    """
    wavenumber = J1_ZEROS[radial_index - 1] / cavity_radius_m
    return 2 * j1(wavenumber * as_array(radius_m)) * jvp(1, wavenumber * as_array(gyroradius_m))


def axial_profile(axial_m: Values, cavity_length_m: float, axial_index: int = 1) -> Result:
    """sin(pπ(z + L/2)/L): z is measured from the cavity's centre."""
    return np.sin(axial_index * math.pi * (as_array(axial_m) / cavity_length_m + 0.5))


def detuning(frequency_hz: Values, resonance_hz: float, loaded_q: float) -> Result:
    """δ = 2 Q_L (f/f₀ − 1); a line passes the cavity with 1/(1 + iδ)."""
    return 2 * loaded_q * (as_array(frequency_hz) / resonance_hz - 1)


def antinode_power_w(
    speed_transverse_m_per_s: Values,
    *,
    cavity_radius_m: float,
    cavity_length_m: float,
    loaded_q: float,
    mode_frequency_hz: float,
    radial_index: int = 1,
) -> Result:
    """e² v_⊥² Q_L / (π ε₀ ω₀ R² L J₀²(x)): the power on resonance for unit radial coupling and axial profile.

    Derived from P = ½ e² v² Q_L |e|²/(ω ε₀) with the mode's field normalised to ∫|e|² dV = 1.
    """
    volume = cavity_radius_m**2 * cavity_length_m * j0(J1_ZEROS[radial_index - 1]) ** 2
    omega = 2 * math.pi * mode_frequency_hz
    scale = ELEMENTARY_CHARGE_C**2 * loaded_q / (math.pi * VACUUM_PERMITTIVITY_F_PER_M * omega * volume)
    return scale * as_array(speed_transverse_m_per_s) ** 2


def cavity_power_w(
    kinetic_energy_ev: Values,
    pitch_angle_deg: Values,
    radius_m: Values,
    axial_m: Values,
    *,
    cavity_radius_m: float,
    cavity_length_m: float,
    loaded_q: float,
    mode_frequency_hz: float,
    field_t: Values,
) -> Result:
    """Power that an electron at a fixed place gives to TE011, the carrier at its cyclotron frequency in `field_t`.

    P = e²v_⊥²Q_L/(πε₀ω₀R²L J₀²(x)) · [2J₁(kρ)J₁'(kr_c)]² · sin²(π(z + L/2)/L) / (1 + δ²)
    """
    transverse = speed_m_per_s(kinetic_energy_ev) * np.sin(np.deg2rad(as_array(pitch_angle_deg)))
    power = antinode_power_w(
        transverse,
        cavity_radius_m=cavity_radius_m,
        cavity_length_m=cavity_length_m,
        loaded_q=loaded_q,
        mode_frequency_hz=mode_frequency_hz,
    )
    gyroradius = cyclotron.gyroradius_m(kinetic_energy_ev, pitch_angle_deg, field_t)
    coupling = radial_coupling(radius_m, gyroradius, cavity_radius_m) * axial_profile(axial_m, cavity_length_m)
    off_resonance = detuning(cyclotron_frequency_hz(kinetic_energy_ev, field_t), mode_frequency_hz, loaded_q)
    return power * coupling**2 / (1 + off_resonance**2)


def port_share(loaded_q: float, unloaded_q: float) -> float:
    """β_c/(1 + β_c) with β_c = Q₀/Q_L − 1: the part of the power that leaves through the port."""
    coupling = unloaded_q / loaded_q - 1
    return coupling / (1 + coupling)
