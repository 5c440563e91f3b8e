"""Scattering on mixtures of gases: what each kind of atom or molecule does, and what a mixture of them does.

Cross-sections at 18.6 keV, scaled as 1/β². Molecules of hydrogen isotopes (T2, HT, DT, HD, D2, H2) have the electrons
of T₂ and all that is in `gas`. Atoms (T, D, H): Bethe's formula for hydrogen, 4πa₀² (R/T)[ln(T/R) + 1.8358], whose
constants follow from exact oscillator strengths and form factor (Inokuti, Rev. Mod. Phys. 43 (1971) 297). Helium:
ionisation of Kim and Rudd, Phys. Rev. A 50 (1994) 3954, and dipole excitations by the sum rule for M² = 0.7525, their
momentum cut scaled from hydrogen's 2p (about 10 % of them, 3 % of the total). Krypton: ionisation measured by Rieke and
Prepejchal, Phys. Rev. A 6 (1972) 1507, M² = 6.09, C = 52.38; its excitations, some 8 %, are left out, and the energy
loss is that of its outer shell in the binary-encounter-Bethe model. Elastic scattering on helium and krypton: Born
approximation with an exponentially screened nucleus (Wentzel), radius 0.885 a₀ Z^(−1/3).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cres.errors import UserError, nearest
from cres.physics import gas
from cres.physics.constants import ELECTRON_MASS_EV, FINE_STRUCTURE
from cres.physics.cyclotron import Result, Values, as_array, speed_m_per_s

Array = NDArray[np.float64]

RYDBERG_EV = 13.605693
HYDROGEN_BETHE_CONSTANT = 1.8358
MOLECULES = ("T2", "HT", "DT", "HD", "D2", "H2")
ATOMS = ("T", "D", "H")
_HYDROGEN_LEVELS = 40
_POINTS = 4001


@dataclass(frozen=True)
class Ionisation:
    """An orbital of the binary-encounter-dipole model: binding and kinetic energy, electrons, oscillator strength.

    strength: coefficients of df/dw in powers of B/loss, from the second on; () for the Bethe form with N electrons.
    """

    binding_ev: float
    orbital_ev: float
    electrons: float
    strength: tuple[float, ...] = ()

    def shape(self, loss_ev: Array, kinetic_energy_ev: float) -> Array:
        """Return dσ/dloss in m²/eV of the faster electron (Kim and Rudd 1994, eq. 44; 57 without a strength)."""
        t, u, w = (
            kinetic_energy_ev / self.binding_ev,
            self.orbital_ev / self.binding_ev,
            loss_ev / self.binding_ev - 1,
        )
        y = 1 / (1 + w)
        strength = sum((c * y**power for power, c in enumerate(self.strength, start=2)), np.zeros_like(y))
        ratio = self._dipole_electrons / self.electrons
        dipole = math.log(t) / self.electrons * y * strength if self.strength else math.log(t) * y**3
        binary = (2 - ratio) * (y**2 + 1 / (t - w) ** 2) + (ratio - 2) / (t + 1) * (y + 1 / (t - w))
        unit = 4 * math.pi * gas.BOHR_RADIUS_M**2 * self.electrons * (RYDBERG_EV / self.binding_ev) ** 2
        return np.asarray(unit / (t + u + 1) * (binary + dipole) / self.binding_ev)

    @property
    def _dipole_electrons(self) -> float:
        """∫ df/dw dw."""
        return sum(c / (power - 1) for power, c in enumerate(self.strength, start=2)) or self.electrons


@dataclass(frozen=True)
class Gas:
    """One kind of atom or molecule that is not a molecule of hydrogen.

    lines: (loss in eV, part of all inelastic scatterings) of excitations; the rest is `ionisation`. nuclear_charge: of
    the screened nucleus that scatters elastically; 1: hydrogen, whose form factor is exact.
    """

    inelastic_m2: float
    lines: tuple[tuple[float, float], ...]
    ionisation: Ionisation
    nuclear_charge: int

    @cached_property
    def _ionised(self) -> tuple[Array, Array]:
        """Losses in eV, and the share of smaller ones among ionisations."""
        loss = np.geomspace(self.ionisation.binding_ev, gas.REFERENCE_ENERGY_EV / 2, _POINTS)
        shape = self.ionisation.shape(loss, gas.REFERENCE_ENERGY_EV)
        below = np.concatenate([[0.0], np.cumsum(0.5 * (shape[1:] + shape[:-1]) * np.diff(loss))])
        return loss, below / below[-1]

    def loss_quantile_ev(self, share: Array) -> Array:
        """Return the loss below which the share of inelastic scatterings lies."""
        excited = np.cumsum([0.0, *(part for _, part in self.lines)])
        loss, below = self._ionised
        rest = np.clip((share - excited[-1]) / (1 - excited[-1]), 0.0, 1.0)
        found = np.interp(rest, below, loss)
        if self.lines:
            place = np.clip(np.searchsorted(excited, share, side="right") - 1, 0, len(self.lines) - 1)
            found = np.where(share < excited[-1], np.array([line for line, _ in self.lines])[place], found)
        return np.asarray(found)

    def elastic_m2(self, kinetic_energy_ev: Values) -> Result:
        """Return the elastic cross-section in the Born approximation."""
        if self.nuclear_charge == 1:
            return np.asarray(gas.elastic_cross_section_m2(kinetic_energy_ev)) / 2
        radius, k = _screening(self.nuclear_charge), _wavenumber(kinetic_energy_ev)
        z = self.nuclear_charge
        return np.asarray(16 * math.pi * z**2 * radius**4 / (1 + 4 * (k * radius) ** 2) * gas.BOHR_RADIUS_M**2)

    def elastic_angle_rad(self, share: Array, kinetic_energy_ev: Array) -> Array:
        """Return the angle below which the share of elastic scatterings lies: dσ/dΩ ∝ 1/(q² + 1/R²)²."""
        if self.nuclear_charge == 1:
            return np.asarray(gas.elastic_angle_quantile_rad(share, kinetic_energy_ev))
        turn = 4 * (_wavenumber(kinetic_energy_ev) * _screening(self.nuclear_charge)) ** 2
        return np.asarray(2 * np.arcsin(np.sqrt(share / (1 + turn * (1 - share)))))


def _screening(nuclear_charge: int) -> float:
    return 0.885 * nuclear_charge ** (-1 / 3)


def _wavenumber(kinetic_energy_ev: Values) -> Result:
    """Return k a₀."""
    kinetic = as_array(kinetic_energy_ev)
    return np.asarray(np.sqrt(kinetic * (kinetic + 2 * ELECTRON_MASS_EV)) / gas.BOHR_MOMENTUM_EV)


def _bethe_m2(square: float, constant: float) -> float:
    """Return 4πa₀² (R/T)[M² ln(T/R) + C] at 18.6 keV, T = mv²/2."""
    speed = float(speed_m_per_s(gas.REFERENCE_ENERGY_EV)) / 299_792_458.0
    energy = 0.5 * ELECTRON_MASS_EV * speed**2 / RYDBERG_EV
    return 4 * math.pi * gas.BOHR_RADIUS_M**2 / energy * (square * math.log(energy) + constant)


def hydrogen_strength(level: int) -> float:
    """Return that of 1s → np of hydrogen, 2⁸n⁵(n−1)^(2n−4)/3(n+1)^(2n+4) (Bethe and Salpeter 1957, § 63)."""
    n = float(level)
    return float(2**8 * n**5 / 3 * math.exp((2 * n - 4) * math.log(n - 1) - (2 * n + 4) * math.log(n + 1)))


def _hydrogen() -> Gas:
    """Excitations to the levels n by their dipole strength, with the logarithm of the 2p line for all."""
    total = _bethe_m2(1.0, HYDROGEN_BETHE_CONSTANT)
    orbital = Ionisation(RYDBERG_EV, RYDBERG_EV, 1.0, (-2.2473e-2, 1.1775, -4.6264e-1, 8.9064e-2))
    losses = [RYDBERG_EV * (1 - 1 / n**2) for n in range(2, _HYDROGEN_LEVELS)]
    weights = [hydrogen_strength(n) / (1 - 1 / n**2) for n in range(2, _HYDROGEN_LEVELS)]
    excited = 1 - _ionisation_m2(orbital) / total
    return Gas(total, tuple((e, excited * w / sum(weights)) for e, w in zip(losses, weights, strict=True)), orbital, 1)


def _helium() -> Gas:
    orbital = Ionisation(24.587, 39.51, 2.0, (0.0, 12.178, -29.585, 31.251, -12.175))
    ionised = _ionisation_m2(orbital)
    excited = _bethe_m2(0.7525 - 0.489, (0.7525 - 0.489) * math.log(0.684))
    total = ionised + excited
    # 1¹S → 2¹P, 3¹P and the rest: energies of NIST, oscillator strengths 0.2762, 0.0734 and what the sum rule leaves
    lines = ((21.218, 0.2762 / 21.218), (23.087, 0.0734 / 23.087), (24.0, 0.2635 / RYDBERG_EV - 0.016197))
    weight = sum(part for _, part in lines)
    return Gas(total, tuple((e, excited / total * part / weight) for e, part in lines), orbital, 2)


def _krypton() -> Gas:
    """Ionisation alone: 4π(ħ/mc)² [M² (ln(β²/(1 − β²))/β² − 1) + C/β²] (Rieke and Prepejchal 1972)."""
    square = (float(speed_m_per_s(gas.REFERENCE_ENERGY_EV)) / 299_792_458.0) ** 2
    unit = 4 * math.pi * (gas.BOHR_RADIUS_M * FINE_STRUCTURE) ** 2
    total = unit * (6.09 * (math.log(square / (1 - square)) / square - 1) + 52.38 / square)
    return Gas(total, (), Ionisation(13.99961, 13.99961, 6.0), 36)


def _ionisation_m2(orbital: Ionisation) -> float:
    loss = np.geomspace(orbital.binding_ev, (gas.REFERENCE_ENERGY_EV + orbital.binding_ev) / 2, 20_001)
    return float(np.trapezoid(orbital.shape(loss, gas.REFERENCE_ENERGY_EV), loss))


@lru_cache(maxsize=1)
def known_gases() -> Mapping[str, Gas | None]:
    """Return what is known of each gas; None for molecules of hydrogen, which `gas` describes."""
    hydrogen, helium = _hydrogen(), _helium()
    molecules: dict[str, Gas | None] = dict.fromkeys(MOLECULES)
    return {**molecules, **dict.fromkeys(ATOMS, hydrogen), "He3": helium, "He": helium, "Kr": _krypton()}


def check_fractions(fractions: Mapping[str, Any], where: str) -> None:
    """Raise UserError for gases that are not known, and for fractions that are no parts of one gas."""
    known = known_gases()
    for name, part in fractions.items():
        if name not in known:
            raise UserError(f"{where} names {name!r}{nearest(str(name), known)}: known are {', '.join(known)}")
        if isinstance(part, bool) or not isinstance(part, int | float) or not 0 <= part <= 1:
            raise UserError(f"{where}: the fraction of {name} is {part!r}; it must lie in 0 to 1")
    total = math.fsum(fractions.values())
    if fractions and abs(total - 1) > 1e-6:
        raise UserError(f"{where}: the fractions of molecules and atoms sum to {total:.6g}; they must sum to 1")


@dataclass(frozen=True)
class GasMixture:
    """A mixture by number of molecules and atoms. `molecular_m2`: inelastic, of T₂ at 18.6 keV."""

    fractions: tuple[tuple[str, float], ...] = (("T2", 1.0),)
    molecular_m2: float = gas.INELASTIC_CROSS_SECTION_M2
    elastic: bool = True

    def cross_sections_m2(self, kinetic_energy_ev: Values) -> tuple[Array, Array]:
        """Return elastic and inelastic cross-sections of each component times its fraction, (component, batch) each."""
        kinetic = np.atleast_1d(as_array(kinetic_energy_ev))
        elastic, inelastic = [], []
        for name, part in self.fractions:
            one = known_gases()[name]
            reference = self.molecular_m2 if one is None else one.inelastic_m2
            inelastic.append(part * np.asarray(gas.inelastic_cross_section_m2(kinetic, reference)))
            found = gas.elastic_cross_section_m2(kinetic) if one is None else one.elastic_m2(kinetic)
            elastic.append(part * float(self.elastic) * np.asarray(found))
        return np.stack(elastic), np.stack(inelastic)

    def mean_track_time_s(self, kinetic_energy_ev: Values, density_per_m3: Values) -> Array:
        """Return the mean time between two scatterings, 1/(n σ v), (batch,)."""
        elastic, inelastic = self.cross_sections_m2(kinetic_energy_ev)
        return 1 / (
            as_array(density_per_m3)
            * (elastic.sum(0) + inelastic.sum(0))
            * np.asarray(speed_m_per_s(kinetic_energy_ev))
        )

    def kick(self, kinetic_energy_ev: Array, draws: Array) -> tuple[Array, Array]:
        """Return energy loss in eV and polar angle in rad, (batch,) each, from three uniform numbers (batch, 3).

        The first says on what the electron scatters and how, the others loss and angle.
        """
        elastic, inelastic = self.cross_sections_m2(kinetic_energy_ev)
        ways = np.stack([elastic, inelastic], 1).reshape(-1, elastic.shape[1])  # component by component
        reached = np.cumsum(ways, 0)
        way = (draws[:, 0] * reached[-1] >= reached).sum(0).clip(max=len(ways) - 1)
        loss, angle = np.zeros(len(draws)), np.zeros(len(draws))
        for number, (name, _) in enumerate(self.fractions):
            one = known_gases()[name]
            here = way == 2 * number
            angle[here] = _elastic_angle(one, draws[here, 2], kinetic_energy_ev[here])
            here = way == 2 * number + 1
            loss[here] = _loss(one, draws[here, 1], kinetic_energy_ev[here])
            angle[here] = gas.inelastic_angle_quantile_rad(draws[here, 2], kinetic_energy_ev[here], loss[here])
        return loss, angle


def _elastic_angle(one: Gas | None, share: Array, kinetic_energy_ev: Array) -> Array:
    if one is None:
        return np.asarray(gas.elastic_angle_quantile_rad(share, kinetic_energy_ev))
    return one.elastic_angle_rad(share, kinetic_energy_ev)


def _loss(one: Gas | None, share: Array, kinetic_energy_ev: Array) -> Array:
    if one is None:
        return np.asarray(gas.energy_loss_quantile_ev(share, kinetic_energy_ev))
    return np.minimum(one.loss_quantile_ev(share), kinetic_energy_ev / 2)
