"""What the decay leaves of HT, DT and T₂: rotation, vibration and dissociation of ³HeH⁺, ³HeD⁺ and ³HeT⁺.

The β electron leaves in 10⁻¹⁸ s, while the nuclei stand still (sudden approximation): the helium nucleus takes the
recoil p, the molecule's inner motion p M/(M + m_He) of it, with M the mass of the other nucleus, and the vibration that
was is a sum of those that can be. For the molecule at rest (J = 0) the probability of a final level (v, J) is
(2J + 1) |∫ χ_vJ(r) j_J(K r) χ₀(r) dr|². Both nuclear motions are solved here in Morse potentials of the measured
depth, frequency and distance. Electrons make nothing of it: within the electronic ground state of ³HeH⁺ their overlap
is taken as the same at all distances and for all isotopes.

Against the published table of T₂ (Saenz, Jonsell and Froelich, Phys. Rev. Lett. 84 (2000) 242) this gives a mean
excitation in the ground-state group of 1.745 eV (1.752) and a width of 0.430 eV (0.436). Of HT it leaves 56.2 % as
bound ³HeH⁺; 56.5(6) % were measured (Lin et al., Phys. Rev. Lett. 124 (2020) 222502).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.special import spherical_jn

from cres.physics.constants import ATOMIC_MASS_KG, ELECTRON_MASS_EV, ELECTRON_MASS_KG, FINE_STRUCTURE

Array = NDArray[np.float64]

HARTREE_EV = 27.211386245981  # CODATA 2022
PER_CM_HARTREE = 1 / 219_474.6313632  # CODATA 2022

# Atomic masses in u: AME2020 (Wang et al., Chinese Phys. C 45 (2021) 030003).
HYDROGEN_U = {"H": 1.007825032, "D": 2.014101778, "T": 3.016049281}
HELIUM3_U = 3.016029322
HELIUM4_U = 4.002603254

ELECTRON_EV = 18_574.0
"""The β electron at the endpoint, where final states are asked for."""
MOMENTUM_EV = math.sqrt(ELECTRON_EV * (ELECTRON_EV + 2 * ELECTRON_MASS_EV))
"""Its momentum, and that of the recoil, times c."""

STEP_BOHR, POINTS = 0.06, 200
"""Of the grid: waves of up to π/0.06 per bohr, where the recoil gives 19 and the vibration some 5 more."""
GROUND_GROUP_LIMIT_EV = 8.0
"""States this close to the lowest one are rotations and vibrations of the electronic ground state."""
BIN_EV = 0.1
ROTATIONS = 60
LEAST_PROBABILITY = 1e-10
"""At most so many rotations, and no more once so little is missing: K times the distance is 28, and 40 hold all."""


@dataclass(frozen=True)
class Morse:
    """V(r) = D ((1 − e^{−a (r − r_e)})² − 1) in atomic units; a from the frequency ω_e of an isotopologue."""

    depth_ev: float
    frequency_per_cm: float
    distance_bohr: float
    mass_u: float

    def __call__(self, distance_bohr: Array) -> Array:
        """Return the potential in hartree, 0 where the atoms are far apart."""
        depth = self.depth_ev / HARTREE_EV
        steepness = self.frequency_per_cm * PER_CM_HARTREE * math.sqrt(electron_masses(self.mass_u) / (2 * depth))
        return depth * ((1 - np.exp(-steepness * (distance_bohr - self.distance_bohr))) ** 2 - 1)


def electron_masses(mass_u: float) -> float:
    """Return a mass in those of the electron."""
    return mass_u * ATOMIC_MASS_KG / ELECTRON_MASS_KG


def reduced(first_u: float, second_u: float) -> float:
    """Return the reduced mass of two."""
    return first_u * second_u / (first_u + second_u)


HYDROGEN = Morse(4.7483, 4401.21, 1.40112, reduced(HYDROGEN_U["H"], HYDROGEN_U["H"]))
"""H₂ in its ground state: Huber and Herzberg, Constants of Diatomic Molecules (1979)."""
HELIUM_HYDRIDE = Morse(2.0400, 3228.0, 1.4632, reduced(HELIUM4_U, HYDROGEN_U["H"]))
"""HeH⁺ in its ground state: depth and distance of Kołos and Peek, Chem. Phys. 12 (1976) 381, frequency of ⁴HeH⁺ such
that the first vibration is the measured 2911 cm⁻¹ (Bernath and Amano, Phys. Rev. Lett. 48 (1982) 20)."""


@dataclass(frozen=True)
class Levels:
    """Levels of nuclear motion, ascending."""

    energy_hartree: Array
    """(level,), 0 for atoms at rest far apart."""
    wave: Array
    """(distance, level), squares of sum 1."""


def distances_bohr() -> Array:
    """Return the distances (distance,) of the grid."""
    return STEP_BOHR * np.arange(1, POINTS + 1, dtype=np.float64)


def levels(potential: Morse, mass_u: float, rotation: int) -> Levels:
    """Return all levels of a reduced mass that turns with J = `rotation`.

    Waves sin(k r) up to the grid's highest k: Colbert and Miller, J. Chem. Phys. 96 (1992) 1982, eq. A4.
    """
    number = np.arange(1, POINTS + 1)
    apart, together = number[:, None] - number, number[:, None] + number
    sign = np.where(apart % 2 == 0, 1.0, -1.0)
    with np.errstate(divide="ignore"):
        kinetic = sign * 2 * (1.0 / apart**2 - 1.0 / together**2)
    np.fill_diagonal(kinetic, math.pi**2 / 3 - 0.5 / number**2)
    mass, distance = electron_masses(mass_u), distances_bohr()
    hamiltonian = kinetic / (2 * mass * STEP_BOHR**2)
    hamiltonian[np.diag_indices(POINTS)] += potential(distance) + rotation * (rotation + 1) / (2 * mass * distance**2)
    return Levels(*eigh(hamiltonian))


def recoil_per_bohr(other: str) -> float:
    """Return K, what the inner motion of the molecule takes of the recoil; `other` is H, D or T."""
    momentum_per_bohr = MOMENTUM_EV / ELECTRON_MASS_EV / FINE_STRUCTURE
    return momentum_per_bohr * HYDROGEN_U[other] / (HYDROGEN_U[other] + HELIUM3_U)


def whole_recoil_ev(other: str) -> float:
    """Return the kinetic energy that the molecule as a whole takes."""
    return MOMENTUM_EV**2 / (2 * electron_masses(HYDROGEN_U[other] + HELIUM3_U) * ELECTRON_MASS_EV)


@dataclass(frozen=True)
class Rovibrations:
    """The electronic ground state of what a decay leaves, with all energies in eV."""

    excitation_ev: Array
    """(level,) above the lowest, whatever J; unordered."""
    probability: Array
    """(level,) of sum 1: that of the electronic ground state is to be multiplied."""
    dissociation_ev: float
    """Of the lowest level into ³He and an ion of hydrogen: what is above may fall apart."""
    binding_before_ev: float
    """Of the molecule that decays, in its lowest level, into atoms."""
    kinetic_before_ev: float
    """Mean energy of motion in that level."""


@cache
def rovibrations(other: str) -> Rovibrations:
    """Return the levels after the decay of a molecule of T and `other` (H, D or T) at rest in its lowest level."""
    before_u, after_u = reduced(HYDROGEN_U[other], HYDROGEN_U["T"]), reduced(HYDROGEN_U[other], HELIUM3_U)
    distance = distances_bohr()
    before = levels(HYDROGEN, before_u, 0)
    resting = before.wave[:, 0]
    kick = recoil_per_bohr(other)
    energies, probabilities = [], []
    missing = 1.0
    for rotation in range(ROTATIONS):
        after = levels(HELIUM_HYDRIDE, after_u, rotation)
        turned = math.sqrt(2 * rotation + 1) * spherical_jn(rotation, kick * distance) * resting
        energies.append(after.energy_hartree)
        probabilities.append((after.wave.T @ turned) ** 2)
        missing -= float(turned @ turned)
        if missing < LEAST_PROBABILITY:
            break
    lowest = energies[0][0]
    motion = before.energy_hartree[0] - resting**2 @ HYDROGEN(distance)
    return Rovibrations(
        (np.concatenate(energies) - lowest) * HARTREE_EV,
        np.concatenate(probabilities),
        -lowest * HARTREE_EV,
        -before.energy_hartree[0] * HARTREE_EV,
        float(motion) * HARTREE_EV,
    )


def ground_group(other: str) -> tuple[Array, Array]:
    """Return excitations (bin,) in eV and probabilities of the ground-state group, in bins with their mean energies.

    The lowest level stands alone, so that energies are counted from it.
    """
    found = rovibrations(other)
    number = np.ceil(found.excitation_ev / BIN_EV - 1e-9).astype(int)
    near = (found.excitation_ev < GROUND_GROUP_LIMIT_EV) & (found.probability > 0)
    number, energy, probability = number[near], found.excitation_ev[near], found.probability[near]
    share = np.bincount(number, probability)
    mean = np.bincount(number, probability * energy) / np.where(share > 0, share, 1)
    occupied = share > 0
    return mean[occupied], share[occupied] / share.sum()


def spent_ev(other: str) -> float:
    """Return what of the mass difference of the atoms T and ³He the electron does not get, all else at its lowest.

    The whole molecule's recoil; the molecule is taken apart, its other atom ionised, and an ion formed of that and ³He.
    """
    found = rovibrations(other)
    ionisation_ev = 0.5 * HARTREE_EV / (1 + 1 / electron_masses(HYDROGEN_U[other]))
    return float(whole_recoil_ev(other) + ionisation_ev + found.binding_before_ev - found.dissociation_ev)


def endpoint_below_t2_ev(other: str) -> float:
    """Return by how much the endpoint is below that of T₂, both with the daughter in its lowest level.

    The molecule as a whole takes more of the recoil where it is lighter; bindings change by some meV.
    """
    return spent_ev(other) - spent_ev("T")


def excited_above_t2_ev(other: str) -> float:
    """Return by how much electronic excitations, counted from the lowest level, are above those of T₂.

    Seen from free atoms only the energy of the nuclei's motion differs: of the recoil, and of the vibration before.
    How the excited states' energies spread over the distances of the vibration is that of T₂.
    """

    def above(one: str) -> float:
        found = rovibrations(one)
        inner = recoil_per_bohr(one) ** 2 / (2 * electron_masses(reduced(HYDROGEN_U[one], HELIUM3_U))) * HARTREE_EV
        mass_change = reduced(HYDROGEN_U[one], HYDROGEN_U["T"]) / reduced(HYDROGEN_U[one], HELIUM3_U)
        return inner + found.kinetic_before_ev * mass_change + found.dissociation_ev

    return float(above(other) - above("T"))
