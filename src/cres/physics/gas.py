"""Scattering of keV electrons on molecular tritium: cross-sections, energy loss and angles, as quantiles to draw from.

Sources: inelastic cross-section and energy loss of 18.6 keV electrons on T₂: Aseev et al., Eur. Phys. J. D 10, 39
(2000); elastic scattering: Born approximation for the hydrogen atom (Mott & Massey, The Theory of Atomic Collisions),
two atoms a molecule, 2.95e-23 m² at 18.6 keV, which is Liu's 2.9e-23 m² for H₂ (Phys. Rev. A 35, 591, 1987); angles of
inelastic scattering: dipole Lorentzian up to the Bethe ridge (Egerton, Electron Energy-Loss Spectroscopy in the
Electron Microscope, ch. 3).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr, ndtri

from cres.physics.constants import ELECTRON_MASS_EV, FINE_STRUCTURE
from cres.physics.cyclotron import Result, Values, as_array, speed_m_per_s

REFERENCE_ENERGY_EV = 18_600.0
INELASTIC_CROSS_SECTION_M2 = 3.40e-22
"""On T₂ at 18.6 keV (Aseev et al. 2000: 3.40 ± 0.07)."""

BOHR_RADIUS_M = 5.29177210903e-11
BOHR_MOMENTUM_EV = FINE_STRUCTURE * ELECTRON_MASS_EV
"""ħc/a₀ = αmc²: momenta in units of ħ/a₀."""

# Energy loss of Aseev et al. 2000: a Gaussian for excitation below the join, a Lorentzian for ionisation above.
_GAUSS_HEIGHT, _GAUSS_PLACE_EV, _GAUSS_WIDTH_EV = 0.204, 12.6, 1.85
_TAIL_HEIGHT, _TAIL_PLACE_EV, _TAIL_WIDTH_EV = 0.0556, 14.30, 12.5
_JOIN_EV = 14.09
_SIGMA_EV = _GAUSS_WIDTH_EV / 2


def inelastic_cross_section_m2(kinetic_energy_ev: Values, reference_m2: float = INELASTIC_CROSS_SECTION_M2) -> Result:
    """Excitation and ionisation of T₂: the value at 18.6 keV scaled as 1/β².

    The logarithm of Bethe's formula, left out, changes by 0.1 % in 200 eV.
    """
    ratio = speed_m_per_s(REFERENCE_ENERGY_EV) / speed_m_per_s(kinetic_energy_ev)
    return np.asarray(reference_m2 * ratio**2)


def elastic_cross_section_m2(kinetic_energy_ev: Values) -> Result:
    """Two hydrogen atoms in the Born approximation: 2 · 7πa₀²/3(ka₀)²."""
    return 2 * 7 * math.pi / 3 * BOHR_RADIUS_M**2 / _wavenumber(kinetic_energy_ev) ** 2


def mean_track_time_s(
    kinetic_energy_ev: Values,
    density_per_m3: Values,
    inelastic_m2: float = INELASTIC_CROSS_SECTION_M2,
    elastic: bool = True,
) -> Result:
    """Mean time between two scatterings, 1/(n σ v); `elastic` adds elastic scattering to the inelastic."""
    cross_section = inelastic_cross_section_m2(kinetic_energy_ev, inelastic_m2)
    cross_section = cross_section + float(elastic) * elastic_cross_section_m2(kinetic_energy_ev)
    return 1 / (as_array(density_per_m3) * cross_section * speed_m_per_s(kinetic_energy_ev))


def energy_loss_density_per_ev(loss_ev: Values, kinetic_energy_ev: float = REFERENCE_ENERGY_EV) -> Result:
    """Probability density of the loss in one inelastic scattering, of area 1, up to half of the electron's energy.

    A₁ exp(−2(ε − ε₁)²/ω₁²) below 14.09 eV, A₂ω₂²/(ω₂² + 4(ε − ε₂)²) above (Aseev et al. 2000); of the two electrons of
    an ionisation the faster one is followed.
    """
    loss = as_array(loss_ev)
    gauss = _GAUSS_HEIGHT * np.exp(-2 * ((loss - _GAUSS_PLACE_EV) / _GAUSS_WIDTH_EV) ** 2)
    tail = _TAIL_HEIGHT / (1 + (2 * (loss - _TAIL_PLACE_EV) / _TAIL_WIDTH_EV) ** 2)
    below, above = _areas(kinetic_energy_ev)
    inside = (loss > 0) & (loss <= kinetic_energy_ev / 2)
    return np.where(loss < _JOIN_EV, gauss, tail) * inside / (below + above)


def energy_loss_quantile_ev(share: Values, kinetic_energy_ev: Values = REFERENCE_ENERGY_EV) -> Result:
    """Loss below which the share (0 to 1) of inelastic scatterings lies, eV: the inverse of the integrated density."""
    below, above = _areas(kinetic_energy_ev)
    area = as_array(share) * (below + above)
    lowest, join = ndtr(-_GAUSS_PLACE_EV / _SIGMA_EV), ndtr((_JOIN_EV - _GAUSS_PLACE_EV) / _SIGMA_EV)
    gauss = _GAUSS_PLACE_EV + _SIGMA_EV * ndtri(lowest + np.clip(area / below, 0, 1) * (join - lowest))
    angle = math.atan(_tail_place(_JOIN_EV)) + np.maximum(area - below, 0.0) / (_TAIL_HEIGHT * _TAIL_WIDTH_EV / 2)
    tail = _TAIL_PLACE_EV + _TAIL_WIDTH_EV / 2 * np.tan(angle)
    return np.where(area < below, gauss, tail)


def _areas(kinetic_energy_ev: Values) -> tuple[float, Result]:
    """Return the areas of the Gaussian up to the join and of the tail from there on."""
    covered = ndtr((_JOIN_EV - _GAUSS_PLACE_EV) / _SIGMA_EV) - ndtr(-_GAUSS_PLACE_EV / _SIGMA_EV)
    gauss = _GAUSS_HEIGHT * _SIGMA_EV * math.sqrt(2 * math.pi) * covered
    end = np.arctan(_tail_place(as_array(kinetic_energy_ev) / 2))
    return float(gauss), _TAIL_HEIGHT * _TAIL_WIDTH_EV / 2 * (end - math.atan(_tail_place(_JOIN_EV)))


def _tail_place(loss_ev: Values) -> Result:
    return 2 * (as_array(loss_ev) - _TAIL_PLACE_EV) / _TAIL_WIDTH_EV


def inelastic_angle_quantile_rad(share: Values, kinetic_energy_ev: Values, loss_ev: Values) -> Result:
    """Polar angle of an inelastic scattering: dσ/dΩ ∝ 1/(ϑ² + ϑ_E²), ϑ_E = ΔE/(pv), up to ϑ_c = √(ΔE/K)."""
    kinetic, loss = as_array(kinetic_energy_ev), as_array(loss_ev)
    characteristic = loss * (kinetic + ELECTRON_MASS_EV) / (kinetic * (kinetic + 2 * ELECTRON_MASS_EV))
    ridge = 1 + loss / kinetic / characteristic**2
    return np.asarray(characteristic * np.sqrt(ridge ** as_array(share) - 1))


def elastic_angle_quantile_rad(share: Values, kinetic_energy_ev: Values) -> Result:
    """Polar angle of an elastic scattering: dσ/dΩ ∝ [(8 + q²a₀²)/(4 + q²a₀²)²]², q = 2k sin(ϑ/2)          (Born).

    With u = 1/(1 + q²a₀²/4) the share of smaller angles is 1 − (u + u² + u³/3)·3/7, a cubic that is solved by Newton.
    """
    left = np.asarray((1 - as_array(share)) * 7 / 3)
    u = left * 3 / 7
    for _ in range(30):
        u = u - (u + u**2 + u**3 / 3 - left) / (1 + u) ** 2
    momentum = 2 * np.sqrt(1 / np.maximum(u, 1e-12) - 1)
    half = np.minimum(momentum / (2 * _wavenumber(kinetic_energy_ev)), 1.0)
    return np.asarray(2 * np.arcsin(half))


def _wavenumber(kinetic_energy_ev: Values) -> Result:
    """Return k a₀, the momentum in units of ħ/a₀."""
    kinetic = as_array(kinetic_energy_ev)
    return np.asarray(np.sqrt(kinetic * (kinetic + 2 * ELECTRON_MASS_EV)) / BOHR_MOMENTUM_EV)
