"""Factors of the tritium beta spectrum that depend on the electron: Fermi function and small corrections.

Formulae of Kleesiek et al. 2018 (arXiv:1806.00369), section 2, which follow Wilkinson, Nucl. Phys. A 526 (1991) 131,
and for the radiative correction Repko and Wu, Phys. Rev. C 28 (1983) 2433. W is the electron's total energy in units of
its mass, p its momentum in the same units, η = αZ/β, g = √(1 − α²Z²), Z = 2 of the daughter helium.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, loggamma

from cres.physics.constants import ELECTRON_MASS_EV, FINE_STRUCTURE

Array = NDArray[np.float64]

DAUGHTER_CHARGE = 2
AXIAL_TO_VECTOR = 1.2754  # |g_A/g_V| of the free neutron, PDG 2022: 1.2754 ± 0.0013 (Kleesiek et al. 2018: 1.265)
MAGNETIC_MOMENT_DIFFERENCE = 5.107  # μ(³He) − μ(³H) in nuclear magnetons, the same
HELION_RADIUS = 2.884e-3  # nuclear radius in ħ/mc, the same
HELION_MASS = 5497.885  # in electron masses, the same
SCREENING_POTENTIAL_EV = 76.0  # of the daughter's electrons, ±10 eV, the same

ALPHA_Z = FINE_STRUCTURE * DAUGHTER_CHARGE
G = float(np.sqrt(1 - ALPHA_Z**2))


@dataclass(frozen=True)
class Electron:
    """Kinematics of electrons, one shape throughout."""

    total: Array
    """W, total energy over mass."""
    momentum: Array
    """p over mass."""

    @classmethod
    def of(cls, kinetic_energy_ev: Array) -> Electron:
        """Return the kinematics at these kinetic energies; p² = w(w + 2) does not cancel at small energy."""
        kinetic = np.asarray(kinetic_energy_ev, np.float64) / ELECTRON_MASS_EV
        return cls(1 + kinetic, np.sqrt(kinetic * (kinetic + 2)))

    @cached_property
    def log_gamma_squared(self) -> Array:
        """The logarithm of |Γ(g + iη)|², the slow part that two factors share."""
        return _log_gamma_squared(ALPHA_Z / self.beta)

    @property
    def beta(self) -> Array:
        """Velocity over that of light."""
        return self.momentum / self.total

    @property
    def energy_ev(self) -> Array:
        """Total energy."""
        return self.total * ELECTRON_MASS_EV

    @property
    def momentum_ev(self) -> Array:
        """Momentum times c."""
        return self.momentum * ELECTRON_MASS_EV


def _log_gamma_squared(eta: Array) -> Array:
    """Return ln |Γ(g + iη)|²."""
    return 2 * loggamma(G + 1j * eta).real


def fermi_function(electron: Electron) -> Array:
    """F = 4 (2pR)^{2(g−1)} |Γ(g + iη)|² e^{πη} / Γ(2g + 1)²."""
    eta = ALPHA_Z / electron.beta
    log_f = 2 * (G - 1) * np.log(2 * electron.momentum * HELION_RADIUS) + electron.log_gamma_squared + np.pi * eta
    return 4 * np.exp(log_f - 2 * gammaln(2 * G + 1))


def screening(electron: Electron) -> Array:
    """S = (W̄/W)(p̄/p)^{2g−1} e^{π(η̄−η)} |Γ(g+iη̄)|²/|Γ(g+iη)|², W̄ = W − V₀.

    1 where the electron has less energy than the screening potential.
    """
    total = electron.total - SCREENING_POTENTIAL_EV / ELECTRON_MASS_EV
    valid = total > 1
    total = np.where(valid, total, electron.total)
    momentum = np.sqrt((total - 1) * (total + 1))
    eta, eta_screened = ALPHA_Z / electron.beta, ALPHA_Z * total / momentum
    log_s = np.log(total / electron.total) + (2 * G - 1) * np.log(momentum / electron.momentum)
    log_s += np.pi * (eta_screened - eta) + _log_gamma_squared(eta_screened) - electron.log_gamma_squared
    return np.where(valid, np.exp(log_s), 1.0)


def recoil(electron: Electron, endpoint_ev: Array | float) -> Array:
    """R = 1 + (A W − B/W)/C: recoil of the nucleus, weak magnetism, V−A interference."""
    ratio, moment = AXIAL_TO_VECTOR, MAGNETIC_MOMENT_DIFFERENCE
    a = 2 * (5 * ratio**2 + ratio * moment + 1) / HELION_MASS
    b = 2 * ratio * (moment + ratio) / HELION_MASS
    c = 1 + 3 * ratio**2 - _total_at_endpoint(endpoint_ev) * b
    return 1 + (a * electron.total - b / electron.total) / c


def coulomb_recoil(electron: Electron, endpoint_ev: Array | float) -> Array:
    """Q = 1 − παZ/(Mp) [1 + (1 − λ²)/(1 + 3λ²) (W₀ − W)/3W]: the charge that the electron leaves moves away."""
    asymmetry = (1 - AXIAL_TO_VECTOR**2) / (1 + 3 * AXIAL_TO_VECTOR**2)
    neutrino = (_total_at_endpoint(endpoint_ev) - electron.total) / (3 * electron.total)
    return 1 - np.pi * ALPHA_Z / (HELION_MASS * electron.momentum) * (1 + asymmetry * neutrino)


def finite_nucleus(electron: Electron, endpoint_ev: Array | float) -> Array:
    """L·C: the Coulomb field inside the nucleus, and lepton against nucleon wave functions in its volume."""
    total, radius, end = electron.total, HELION_RADIUS, _total_at_endpoint(endpoint_ev)
    field = 1 + 13 / 60 * ALPHA_Z**2 - total * radius * ALPHA_Z * (41 - 26 * G) / (15 * (2 * G - 1))
    field = field - ALPHA_Z * radius * G / (30 * total) * (17 - 2 * G) / (2 * G - 1)
    c0 = -233 / 630 * ALPHA_Z**2 - (end * radius) ** 2 / 5 + 2 / 35 * end * radius * ALPHA_Z
    c1 = -21 / 35 * radius * ALPHA_Z + 4 / 9 * end * radius**2
    c2 = -4 / 9 * radius**2
    return field * (1 + c0 + c1 * total + c2 * total**2)


def exchange(electron: Electron) -> Array:
    """I = 1 + 729/256 a² + 27/16 a, a = e^{2τ atan(−2/τ)} (τ²/(1 + τ²/4))², τ = −2α/p: the 1s electron is emitted."""
    tau = -2 * FINE_STRUCTURE / electron.momentum
    a = np.exp(2 * tau * np.arctan(-2 / tau)) * (tau**2 / (1 + tau**2 / 4)) ** 2
    return 1 + 729 / 256 * a**2 + 27 / 16 * a


@dataclass(frozen=True)
class Radiative:
    """Radiative correction as a function of the neutrino's energy ε, at fixed electrons.

    G = ε^{2αt/π} {1 + 2α/π [t (ln 2 − 3/2 + ε/W) + (t+1)/4 (2(1+β²) + 2 ln(1−β) + ε²/6W²) − 2 + β/2 − 17β²/36
    + 5β³/6]}, t = atanh(β)/β − 1, ε in electron masses (Repko and Wu 1983).
    """

    exponent: Array
    constant: Array
    linear: Array
    quadratic: Array

    @classmethod
    def of(cls, kinetic_energy_ev: Array) -> Radiative:
        """Prepare the parts that depend on the electron."""
        electron = Electron.of(kinetic_energy_ev)
        beta, strength = electron.beta, 2 * FINE_STRUCTURE / np.pi
        t = np.arctanh(beta) / beta - 1
        constant = t * (np.log(2) - 1.5) + (t + 1) / 2 * (1 + beta**2 + np.log1p(-beta))
        constant = constant - 2 + beta / 2 - 17 / 36 * beta**2 + 5 / 6 * beta**3
        return cls(
            strength * t,
            1 + strength * constant,
            strength * t / electron.total,
            strength * (t + 1) / (24 * electron.total**2),
        )

    def part(self, count: int) -> Radiative:
        """Return it for the first electrons."""
        return Radiative(self.exponent[:count], self.constant[:count], self.linear[:count], self.quadratic[:count])

    def part_from(self, first: int) -> Radiative:
        """Return it for the electrons from `first` on."""
        return Radiative(self.exponent[first:], self.constant[first:], self.linear[first:], self.quadratic[first:])

    def __call__(self, neutrino_energy_ev: Array) -> Array:
        """Return G at these neutrino energies; 0 at ε ≤ 0, where the phase space ends."""
        energy = np.maximum(neutrino_energy_ev, 0.0) / ELECTRON_MASS_EV
        soft = np.exp(self.exponent * np.log(np.maximum(energy, np.finfo(float).tiny)))
        return np.where(energy > 0, soft * (self.constant + energy * (self.linear + energy * self.quadratic)), 0.0)


def _total_at_endpoint(endpoint_ev: Array | float) -> Array | float:
    return 1 + endpoint_ev / ELECTRON_MASS_EV
