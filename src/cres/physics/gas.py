"""Scattering of keV electrons on molecular tritium: cross-sections, energy loss and angles, as quantiles to draw from.

Sources: energy loss of 18.6 keV electrons on T₂: Aker et al. (KATRIN), Eur. Phys. J. C 81 (2021) 579, arXiv:2105.06930,
with the ionisation of Kim and Rudd, Phys. Rev. A 50 (1994) 3954; it supersedes Aseev et al., Eur. Phys. J. D 10 (2000)
39. Inelastic cross-section: Bethe's formula with the constants of Liu, Phys. Rev. A 35 (1987) 591, for H₂. Elastic
scattering: Born approximation for the hydrogen atom (Mott & Massey, The Theory of Atomic Collisions), two atoms a
molecule, 2.95e-23 m² at 18.6 keV, which is Liu's 2.9e-23 m². Angles of inelastic scattering: dipole Lorentzian up to
the Bethe ridge (Egerton, Electron Energy-Loss Spectroscopy in the Electron Microscope, ch. 3).

Which of these values were checked against a second source: docs/concepts/constants.md.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cres.physics.constants import ELECTRON_MASS_EV, FINE_STRUCTURE
from cres.physics.cyclotron import Result, Values, as_array, speed_m_per_s

REFERENCE_ENERGY_EV = 18_600.0
INELASTIC_CROSS_SECTION_M2 = 3.62e-22
"""On T₂ at 18.6 keV: 4πa₀² R/T [1.5487 ln(T/R) + 2.2212] with T = mv²/2 (Liu 1987). KATRIN uses 3.64e-22 m² (Aker et
al., Phys. Rev. D 104 (2021) 012005); Aseev et al. 2000 measured 3.40 ± 0.07e-22 m²."""

BOHR_RADIUS_M = 5.29177210903e-11
BOHR_MOMENTUM_EV = FINE_STRUCTURE * ELECTRON_MASS_EV
"""ħc/a₀ = αmc²: momenta in units of ħ/a₀."""

# Energy loss on T₂: (amplitude per eV, place, standard deviation in eV) of three groups of excitations, and where
# ionisation begins. Aker et al. 2021, table of the combined fit to T₂.
_EXCITATIONS = ((0.0328, 11.9189, 0.1836), (0.29570, 12.8046, 0.4677), (0.0757, 14.9677, 0.907))
IONISATION_EV = 15.487
# Kim and Rudd 1994, H₂: binding and kinetic energy of the orbital, N and Nᵢ, coefficients of the oscillator strength
_BINDING_EV, _ORBITAL_EV, _ORBITAL_ELECTRONS, _DIPOLE_ELECTRONS = 15.43, 15.98, 2.0, 1.173
_OSCILLATOR = (1.1262, 6.3982, -7.8055, 2.1440)
_TABLE_POINTS = 4001


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

    Three Gaussians of excitation below 15.487 eV; above, the binary-encounter-dipole model of ionisation, joined
    continuously (Aker et al. 2021, eq. 8); of the two electrons of an ionisation the faster one is followed.
    """
    loss = as_array(loss_ev)
    inside = (loss > 0) & (loss <= kinetic_energy_ev / 2)
    return np.where(inside, _loss_shape(loss, kinetic_energy_ev), 0.0) / _loss_table(kinetic_energy_ev)[2]


def energy_loss_quantile_ev(share: Values, kinetic_energy_ev: Values = REFERENCE_ENERGY_EV) -> Result:
    """Loss below which the share (0 to 1) of inelastic scatterings lies, eV: the inverse of the integrated density.

    The shape at 18.6 keV, cut at half of the electron's energy: between 17 and 19 keV it changes by less than 1e-4.
    """
    loss, below, _ = _loss_table(REFERENCE_ENERGY_EV)
    reached = np.interp(as_array(kinetic_energy_ev) / 2, loss, below)
    return np.asarray(np.interp(as_array(share) * reached, below, loss))


def _loss_shape(loss_ev: NDArray[np.float64], kinetic_energy_ev: float) -> NDArray[np.float64]:
    """Return the energy loss as published, of area 1 within its errors."""
    ionised = np.asarray(np.maximum(loss_ev, IONISATION_EV))
    join = np.asarray(IONISATION_EV)
    factor = float(_excitation(join) / _ionisation(join, kinetic_energy_ev))
    return np.where(loss_ev < IONISATION_EV, _excitation(loss_ev), factor * _ionisation(ionised, kinetic_energy_ev))


def _excitation(loss_ev: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(sum(a * np.exp(-0.5 * ((loss_ev - place) / std) ** 2) for a, place, std in _EXCITATIONS))


def _ionisation(loss_ev: NDArray[np.float64], kinetic_energy_ev: float) -> NDArray[np.float64]:
    """Return dσ/dW in arbitrary units, the ejected electron's energy W = loss − B (Kim and Rudd 1994, eq. 44)."""
    t, w = kinetic_energy_ev / _BINDING_EV, (loss_ev - _BINDING_EV) / _BINDING_EV
    y = 1 / (1 + w)
    strength = sum(c * y**power for power, c in enumerate(_OSCILLATOR, start=3))
    ratio = _DIPOLE_ELECTRONS / _ORBITAL_ELECTRONS
    exchange = (ratio - 2) / (t + 1) * (y + 1 / (t - w))
    binary = (2 - ratio) * (y**2 + 1 / (t - w) ** 2)
    dipole = math.log(t) / _ORBITAL_ELECTRONS * y * strength
    return np.asarray((exchange + binary + dipole) / (t + _ORBITAL_EV / _BINDING_EV + 1))


@lru_cache(maxsize=8)
def _loss_table(kinetic_energy_ev: float) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return losses in eV, the share of smaller ones, and the area of the published shape."""
    fine = np.linspace(10.0, IONISATION_EV, _TABLE_POINTS)
    loss = np.concatenate([fine, np.geomspace(IONISATION_EV, kinetic_energy_ev / 2, _TABLE_POINTS)[1:]])
    shape = _loss_shape(loss, kinetic_energy_ev)
    # at the join the shape has a kink, not a step
    below = np.concatenate([[0.0], np.cumsum(0.5 * (shape[1:] + shape[:-1]) * np.diff(loss))])
    return loss, below / below[-1], float(below[-1])


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
