"""Relativistic cyclotron motion and its radiation in free space. Arrays broadcast; everything is float64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cres.physics.constants import (
    ELECTRON_CYCLOTRON_HZ_PER_T,
    ELECTRON_MASS_EV,
    ELECTRON_MASS_KG,
    ELEMENTARY_CHARGE_C,
    SPEED_OF_LIGHT_M_PER_S,
    VACUUM_PERMITTIVITY_F_PER_M,
)

Array: TypeAlias = NDArray[np.float64]
Result: TypeAlias = NDArray[np.float64] | np.float64
"""What comes back: an array, or a NumPy number where only numbers went in."""
Values: TypeAlias = int | float | Sequence[Any] | NDArray[Any] | np.generic
"""What broadcasts: numbers, lists of them, arrays."""


def as_array(value: Values) -> Array:
    """Return the value as a float64 array (0-dimensional for a number)."""
    return np.asarray(value, dtype=np.float64)


def lorentz_factor(kinetic_energy_ev: Values) -> Result:
    """γ = 1 + K/mc²."""
    return 1 + as_array(kinetic_energy_ev) / ELECTRON_MASS_EV


def speed_m_per_s(kinetic_energy_ev: Values) -> Result:
    """Speed v = c √(1 − 1/γ²), written so that nothing cancels at small K."""
    kinetic = as_array(kinetic_energy_ev) / ELECTRON_MASS_EV
    return SPEED_OF_LIGHT_M_PER_S * np.sqrt(kinetic * (kinetic + 2)) / (1 + kinetic)


def momentum_kg_m_per_s(kinetic_energy_ev: Values) -> Result:
    """Momentum p = γ m v."""
    kinetic = as_array(kinetic_energy_ev) / ELECTRON_MASS_EV
    return ELECTRON_MASS_KG * SPEED_OF_LIGHT_M_PER_S * np.sqrt(kinetic * (kinetic + 2))


def cyclotron_frequency_hz(kinetic_energy_ev: Values, field_t: Values) -> Result:
    """f_c = eB/(2π γ m)."""
    return ELECTRON_CYCLOTRON_HZ_PER_T * as_array(field_t) / lorentz_factor(kinetic_energy_ev)


def kinetic_energy_ev(frequency_hz: Values, field_t: Values) -> Result:
    """K = mc² (eB/(2π m f) − 1), the inverse of `cyclotron_frequency_hz`."""
    return ELECTRON_MASS_EV * (ELECTRON_CYCLOTRON_HZ_PER_T * as_array(field_t) / as_array(frequency_hz) - 1)


def gyroradius_m(kinetic_energy_ev: Values, pitch_angle_deg: Values, field_t: Values) -> Result:
    """r_c = p sinθ / (eB)."""
    transverse = momentum_kg_m_per_s(kinetic_energy_ev) * np.sin(np.deg2rad(as_array(pitch_angle_deg)))
    return transverse / (ELEMENTARY_CHARGE_C * as_array(field_t))


def radiated_power_w(kinetic_energy_ev: Values, pitch_angle_deg: Values, field_t: Values) -> Result:
    """Power radiated into free space, P = e⁴ B² β² γ² sin²θ / (6π ε₀ m² c)          (relativistic Larmor)."""
    transverse = momentum_kg_m_per_s(kinetic_energy_ev) * np.sin(np.deg2rad(as_array(pitch_angle_deg)))
    transverse_over_mc = transverse / (ELECTRON_MASS_KG * SPEED_OF_LIGHT_M_PER_S)
    scale = ELEMENTARY_CHARGE_C**4 / (
        6 * math.pi * VACUUM_PERMITTIVITY_F_PER_M * ELECTRON_MASS_KG**2 * SPEED_OF_LIGHT_M_PER_S
    )
    return scale * (as_array(field_t) * transverse_over_mc) ** 2


def chirp_rate_hz_per_s(
    kinetic_energy_ev: Values, pitch_angle_deg: Values, field_t: Values, power_w: Values | None = None
) -> Result:
    """df/dt = f_c P / (γ m c²); P is the free-space power where `power_w` is not given."""
    power = radiated_power_w(kinetic_energy_ev, pitch_angle_deg, field_t) if power_w is None else as_array(power_w)
    total_energy_j = lorentz_factor(kinetic_energy_ev) * ELECTRON_MASS_EV * ELEMENTARY_CHARGE_C
    return cyclotron_frequency_hz(kinetic_energy_ev, field_t) * power / total_energy_j
