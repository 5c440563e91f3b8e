"""What charged particles lose by ionisation in a thick layer, as minimum-ionising ones do."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from collider.detectors.particles import Floats
from collider.showers import Material, SamplingMaterial

XI_MEV: Final = 0.153537
"""K/2 = 2π N_A r_e² m_e c² for 1 g/cm², Z/A = 1 (Review of Particle Physics (2024), table 34.1: K = 0.307075 MeV)."""
ELECTRON_MEV: Final = 0.51099895
PLASMA_EV: Final = 28.816
"""ħω_p of 1 g/cm³ with Z/A = 1 (same, table 34.1)."""
LANDAU_J: Final = 0.200


def width_gev(material: Material | SamplingMaterial, length_cm: ArrayLike, beta: ArrayLike = 1.0) -> Floats:
    """Return ξ = (K/2)(Z/A) ρx/β², the scale of the loss in a layer, in GeV; arguments broadcast."""
    mass = np.asarray(length_cm, dtype=np.float64) * material.density_g_per_cm3
    per_mass = material.atomic_number / material.mass_number
    return np.asarray(XI_MEV * 1e-3 * per_mass * mass / np.asarray(beta, dtype=np.float64) ** 2)


def most_probable_gev(material: Material | SamplingMaterial, length_cm: ArrayLike, beta: ArrayLike = 1.0) -> Floats:
    """Return the most probable loss, in GeV; 0 where there is no layer.

    Δ = ξ [ln(2 m_e c² ξ/(ħω_p)²) + j], where the density effect has cancelled the logarithm of the momentum
    Review of Particle Physics (2024), eq. 34.13; slower particles by ξ ∝ 1/β² alone
    """
    xi = width_gev(material, length_cm, beta)
    plasma_mev = PLASMA_EV * 1e-6 * np.sqrt(material.density_g_per_cm3 * material.atomic_number / material.mass_number)
    safe = np.where(xi > 0, xi, 1.0)
    return np.where(xi > 0, xi * (np.log(2 * ELECTRON_MEV * safe * 1e3 / plasma_mev**2) + LANDAU_J), 0.0)


def losses_gev(
    material: Material | SamplingMaterial, length_cm: ArrayLike, beta: ArrayLike, random: np.random.Generator
) -> Floats:
    """Return drawn losses in layers: Moyal's distribution around the most probable one, not below 0.

    Moyal, Phil. Mag. 46 (1955) 263: (Δ − Δ_p)/ξ = −ln z², z a unit normal: the body of Landau's, a shorter tail. The
    mean is Δ_p + ξ(γ + ln 2), with Euler's γ.
    """
    xi, most = width_gev(material, length_cm, beta), most_probable_gev(material, length_cm, beta)
    normal = random.standard_normal(np.broadcast(xi, most).shape)
    return np.maximum(most - xi * np.log(np.maximum(normal**2, 1e-300)), 0.0)
