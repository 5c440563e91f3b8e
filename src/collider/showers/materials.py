"""Materials that showers develop in: single ones, compounds by mass, and the layers of a sampling calorimeter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, SupportsFloat

from reconstruction.errors import UserError, nearest

SCALE_ENERGY_MEV: Final = 21.2
"""E_s = m_e c² √(4π/α), the scale of multiple scattering."""

CRITICAL_ENERGY_MEV: Final = 2.66
CRITICAL_ENERGY_POWER: Final = 1.1
"""E_c = 2.66 MeV (X0 Z/A)^1.1, X0 in g/cm²: Grindhammer and Peters, hep-ex/0001020, section 2."""

SAMPLING_TERM: Final = 0.027
"""σ/E = 2.7 % √(d/f) /√E, d the active layer in mm, f its share of a minimum-ionising particle's loss.

Livan, Vercesi and Wigmans, CERN 95-02; Wigmans, Calorimetry (2000), section 4.2.
"""


def _is_positive(value: object) -> bool:
    return isinstance(value, SupportsFloat) and not isinstance(value, bool) and 0 < float(value) < math.inf


@dataclass(frozen=True)
class Material:
    """A homogeneous material.

    radiation_length_cm: X0; density_g_per_cm3: ρ; interaction_length_cm: λ of nuclear interactions, NaN where it is not
    known (only hadronic showers need it). Raises UserError for numbers that no material has.
    """

    atomic_number: float
    mass_number: float
    radiation_length_cm: float
    density_g_per_cm3: float
    name: str = ""
    interaction_length_cm: float = math.nan

    def __post_init__(self) -> None:
        for field in ("atomic_number", "mass_number", "radiation_length_cm", "density_g_per_cm3"):
            value = getattr(self, field)
            if not _is_positive(value):
                raise UserError(f"{self.name or 'a material'}: {field} must be a positive number, not {value!r}")
        if self.atomic_number > self.mass_number:
            raise UserError(
                f"{self.name or 'a material'}: atomic_number {self.atomic_number:g} is larger than mass_number "
                f"{self.mass_number:g}: the two are exchanged"
            )

    @property
    def radiation_length_g_per_cm2(self) -> float:
        """X0 in g/cm²."""
        return self.radiation_length_cm * self.density_g_per_cm3

    @property
    def critical_energy_mev(self) -> float:
        """E_c = 2.66 MeV (X0 Z/A)^1.1, the loss by ionisation per X0."""
        per_mass = self.radiation_length_g_per_cm2 * self.atomic_number / self.mass_number
        return CRITICAL_ENERGY_MEV * per_mass**CRITICAL_ENERGY_POWER

    @property
    def moliere_radius_cm(self) -> float:
        """R_M = X0 · 21.2 MeV/E_c."""
        return self.radiation_length_cm * SCALE_ENERGY_MEV / self.critical_energy_mev


@dataclass(frozen=True)
class SamplingMaterial:
    """Layers of a passive and an active material in turn, which a shower sees as one effective material.

    passive_thickness_cm, active_thickness_cm: of one layer each. sampling_term: c of σ/E = c/√(E/GeV); where it is not
    given it follows from the active layer and its share of the ionisation (see `SAMPLING_TERM`).
    Effective quantities: Grindhammer and Peters, hep-ex/0001020, section 3. Raises UserError for impossible layers.
    """

    passive: Material
    active: Material
    passive_thickness_cm: float
    active_thickness_cm: float
    sampling_term: float | None = None

    def __post_init__(self) -> None:
        for field in ("passive", "active"):
            if not isinstance(getattr(self, field), Material):
                raise UserError(
                    f"{field} of a sampling calorimeter is a Material, such as material('Pb'), not "
                    f"{getattr(self, field)!r}"
                )
        for field in ("passive_thickness_cm", "active_thickness_cm"):
            value = getattr(self, field)
            if not _is_positive(value):
                raise UserError(f"{field} of a sampling calorimeter must be a positive number of cm, not {value!r}")
        if self.sampling_term is not None and not (_is_positive(self.sampling_term) and self.sampling_term < 1):
            raise UserError(
                f"sampling_term is the c of σ/E = c/√E, between 0 and 1 such as 0.11, not {self.sampling_term!r}"
            )

    @property
    def name(self) -> str:
        """Names of passive and active material."""
        return f"{self.passive.name or 'passive'}/{self.active.name or 'active'}"

    @property
    def _weights(self) -> tuple[float, float]:
        passive = self.passive.density_g_per_cm3 * self.passive_thickness_cm
        active = self.active.density_g_per_cm3 * self.active_thickness_cm
        return passive / (passive + active), active / (passive + active)

    def _by_mass(self, passive: float, active: float) -> float:
        first, second = self._weights
        return first * passive + second * active

    @property
    def atomic_number(self) -> float:
        """Z_eff = Σ w Z, w the shares of the mass."""
        return self._by_mass(self.passive.atomic_number, self.active.atomic_number)

    @property
    def mass_number(self) -> float:
        """A_eff = Σ w A."""
        return self._by_mass(self.passive.mass_number, self.active.mass_number)

    @property
    def thickness_cm(self) -> float:
        """Thickness of a passive and an active layer together."""
        return self.passive_thickness_cm + self.active_thickness_cm

    @property
    def density_g_per_cm3(self) -> float:
        """Mean density of a layer."""
        mass = self.passive.density_g_per_cm3 * self.passive_thickness_cm
        return (mass + self.active.density_g_per_cm3 * self.active_thickness_cm) / self.thickness_cm

    @property
    def radiation_length_cm(self) -> float:
        """X0_eff, harmonic in the mass: a layer's depth in X0 is the sum of those of its two parts."""
        layers = self.passive_thickness_cm / self.passive.radiation_length_cm
        return self.thickness_cm / (layers + self.active_thickness_cm / self.active.radiation_length_cm)

    @property
    def radiation_length_g_per_cm2(self) -> float:
        """X0_eff in g/cm²."""
        return self.radiation_length_cm * self.density_g_per_cm3

    @property
    def interaction_length_cm(self) -> float:
        """λ_eff, NaN where one of the two is not known."""
        layers = self.passive_thickness_cm / self.passive.interaction_length_cm
        return self.thickness_cm / (layers + self.active_thickness_cm / self.active.interaction_length_cm)

    @property
    def critical_energy_mev(self) -> float:
        """E_c,eff = X0_eff Σ w E_c ρ_eff/(ρ X0)."""
        return self.radiation_length_cm * self._loss_mev_per_cm

    @property
    def _loss_mev_per_cm(self) -> float:
        passive = self.passive.critical_energy_mev / self.passive.radiation_length_cm * self.passive_thickness_cm
        active = self.active.critical_energy_mev / self.active.radiation_length_cm * self.active_thickness_cm
        return (passive + active) / self.thickness_cm

    @property
    def moliere_radius_cm(self) -> float:
        """R_M,eff: 1/R_M,eff = Σ w E_c ρ_eff/(ρ X0) / 21.2 MeV."""
        return SCALE_ENERGY_MEV / self._loss_mev_per_cm

    @property
    def sampling_frequency(self) -> float:
        """F = X0_eff/(d_a + d_p): samplings per X0."""
        return self.radiation_length_cm / self.thickness_cm

    @property
    def signal_ratio(self) -> float:
        """ê = 1/(1 + 0.007 (Z_p − Z_a)): the signal of an electron over that of a minimum-ionising particle."""
        return 1 / (1 + 0.007 * (self.passive.atomic_number - self.active.atomic_number))

    @property
    def sampling_fraction(self) -> float:
        """Share of the ionisation loss in the active layer, with E_c/X0 as the loss per cm."""
        active = self.active.critical_energy_mev / self.active.radiation_length_cm * self.active_thickness_cm
        return active / (self._loss_mev_per_cm * self.thickness_cm)

    @property
    def resolution_term(self) -> float:
        """C of σ/E = c/√(E/GeV): as given, or 2.7 % √(d_a[mm]/f)."""
        if self.sampling_term is not None:
            return self.sampling_term
        return SAMPLING_TERM * math.sqrt(10 * self.active_thickness_cm / self.sampling_fraction)


AnyMaterial = Material | SamplingMaterial


def compound(shares: Mapping[str, float] | Mapping[Material, float], density_g_per_cm3: float, name: str) -> Material:
    """Return the material of several, mixed by mass: Z, A and λ, X0 in g/cm² by mass, 1/X0 = Σ w/X0.

    shares: mass fractions by element, our names or materials; they sum to 1. Raises UserError otherwise.
    """
    parts = [(material(part), share) for part, share in shares.items()]
    total = sum(share for _, share in parts)
    if not parts or any(not share > 0 for _, share in parts) or abs(total - 1) > 1e-3:
        raise UserError(f"the mass fractions of {name} must be positive and sum to 1, not {total:g}")
    inverse_x0 = sum(share / part.radiation_length_g_per_cm2 for part, share in parts)
    inverse_lambda = sum(share / (part.interaction_length_cm * part.density_g_per_cm3) for part, share in parts)
    return Material(
        atomic_number=sum(share * part.atomic_number for part, share in parts) / total,
        mass_number=sum(share * part.mass_number for part, share in parts) / total,
        radiation_length_cm=1 / inverse_x0 / density_g_per_cm3,
        density_g_per_cm3=density_g_per_cm3,
        name=name,
        interaction_length_cm=1 / inverse_lambda / density_g_per_cm3,
    )


def _element(name: str, z: float, a: float, x0_g: float, density: float, lambda_g: float) -> Material:
    return Material(z, a, x0_g / density, density, name, lambda_g / density)


# Z, A, X0 and λ in g/cm², density: PDG, Atomic and Nuclear Properties of Materials (Phys. Rev. D 110 (2024) 030001);
# hydrogen and oxygen as liquids, which only their g/cm² enter.
_ELEMENTS: Final = (
    _element("H", 1, 1.008, 63.04, 0.0708, 52.0),
    _element("C", 6, 12.011, 42.70, 2.210, 85.8),
    _element("O", 8, 15.999, 34.24, 1.141, 90.2),
    _element("Al", 13, 26.982, 24.01, 2.699, 107.2),
    _element("Si", 14, 28.085, 21.82, 2.329, 108.4),
    _element("LAr", 18, 39.948, 19.55, 1.396, 119.7),
    _element("Fe", 26, 55.845, 13.84, 7.874, 132.1),
    _element("Cu", 29, 63.546, 12.86, 8.960, 137.3),
    _element("Ge", 32, 72.630, 12.25, 5.323, 143.0),
    _element("LKr", 36, 83.798, 11.37, 2.418, 151.0),
    _element("I", 53, 126.904, 8.48, 4.930, 171.7),
    _element("LXe", 54, 131.293, 8.48, 2.953, 172.1),
    _element("Cs", 55, 132.905, 8.31, 1.873, 172.8),
    _element("W", 74, 183.84, 6.76, 19.30, 191.9),
    _element("Pb", 82, 207.2, 6.37, 11.35, 199.6),
    _element("Bi", 83, 208.980, 6.29, 9.747, 200.2),
    _element("U", 92, 238.029, 6.00, 18.95, 209.0),
)
_BY_NAME: dict[str, Material] = {element.name: element for element in _ELEMENTS}


def material(wanted: str | Material) -> Material:
    """Return one of our materials by its name; a material stays. Raises UserError with the nearest name."""
    if isinstance(wanted, Material):
        return wanted
    if not isinstance(wanted, str) or wanted not in _BY_NAME:
        known = ", ".join(sorted(_BY_NAME))
        raise UserError(f"there is no material {wanted!r}{nearest(str(wanted), _BY_NAME)}; there are {known}")
    return _BY_NAME[wanted]


def _by_atoms(atoms: Mapping[str, int]) -> dict[str, float]:
    masses = {name: count * material(name).mass_number for name, count in atoms.items()}
    return {name: mass / sum(masses.values()) for name, mass in masses.items()}


# Densities: PDG, as above. The X0 that follow agree with its table to 1 % (a test holds the numbers).
for _name, _atoms, _density in (
    ("PbWO4", {"Pb": 1, "W": 1, "O": 4}, 8.300),
    ("BGO", {"Bi": 4, "Ge": 3, "O": 12}, 7.130),
    ("CsI", {"Cs": 1, "I": 1}, 4.510),
    ("scintillator", {"C": 9, "H": 10}, 1.032),
    ("water", {"H": 2, "O": 1}, 1.000),
):
    _BY_NAME[_name] = compound(_by_atoms(_atoms), _density, _name)


def material_names() -> list[str]:
    """Return the names that `material` knows."""
    return sorted(_BY_NAME)
