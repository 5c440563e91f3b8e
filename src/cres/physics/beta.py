"""The differential spectrum of tritium beta decay, with its small corrections and molecular final states.

dΓ/dK = G_F² |V_ud|² (g_V² + g_A² M_GT²)/(2π³ħ) · F(2,K) · p E · Σ_f P_f ε_f √(ε_f² − m²) Θ(ε_f − m) · corrections,
ε_f = E₀ − V_f − K.   Kleesiek et al. 2018 (arXiv:1806.00369), after Wilkinson, Nucl. Phys. A 526 (1991) 131.

Constants and what they were checked against: docs/concepts/constants.md.

`endpoint_ev` is the largest electron energy for a massless neutrino and the lowest final state (V = 0). A negative
squared mass has no meaning but is wanted by fits: there ε√(ε² − m²) is continued by its first-order form ε² − m²/2 on
ε > 0, so that the spectrum is linear in m², and a smeared one has no kink at m² = 0.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cres.physics import beta_corrections as factors
from cres.physics.final_states import T2_SPENT_EV, T_SPENT_EV, FinalStates

Array = NDArray[np.float64]
Numbers = NDArray[Any] | np.number | Sequence[Any] | float | int

Q_VALUE_EV = 18_592.071
"""Mass difference of the atoms T and ³He: Medina Restrepo and Myers, Phys. Rev. Lett. 131 (2023) 243002, ± 0.022 eV;
before it Myers et al., Phys. Rev. Lett. 114 (2015) 013003, 18 592.01 ± 0.07 eV."""
T2_ENDPOINT_EV = Q_VALUE_EV - T2_SPENT_EV
"""Molecular tritium, 18 574.06 eV. Bodine, Parno and Robertson, Phys. Rev. C 91 (2015) 035505 have 18 573.24 eV, of an
older Q of 18 591.3 ± 1.0 eV."""
T_ENDPOINT_EV = Q_VALUE_EV - T_SPENT_EV
"""Atomic tritium, 18 564.02 eV."""

HBAR_EV_S = 6.582119569e-16  # CODATA 2022
FERMI_CONSTANT_PER_EV2 = 1.1663787e-23  # G_F/(ħc)³, PDG
CKM_UD = 0.97373  # PDG 2022 (superallowed decays, Hardy and Towner 2020)
GAMOW_TELLER = 1.6474  # |M_GT| of tritium from its half-life: Baroni et al., Phys. Rev. C 94 (2016) 024003
INNER_RADIATIVE = 0.02467  # Δ_R of the vector coupling: Seng et al., Phys. Rev. Lett. 121 (2018) 241804
RATE_PER_SECOND = (
    FERMI_CONSTANT_PER_EV2**2
    * CKM_UD**2
    * (1 + INNER_RADIATIVE)
    * (1 + factors.AXIAL_TO_VECTOR**2 * GAMOW_TELLER**2)
    / (2 * np.pi**3 * HBAR_EV_S)
)
"""Scale of the rate, good to 3 %: the outer radiative correction is taken for its shape. No fit depends on it."""

CORRECTIONS = ("radiative", "screening", "recoil", "coulomb_recoil", "finite_nucleus", "exchange")
"""All the small corrections; phase space and Fermi function are always on."""


def beta_spectrum_rate(
    kinetic_energy_ev: Numbers,
    endpoint_ev: Numbers,
    neutrino_mass_ev: Numbers = 0.0,
    *,
    neutrino_mass_squared_ev2: Numbers | None = None,
    corrections: Collection[str] = CORRECTIONS,
    final_states: FinalStates | None = None,
) -> Array:
    """Return the decay rate dΓ/dK in 1/(s eV) of one tritium nucleus. Arrays broadcast.

    `neutrino_mass_squared_ev2`, when given, takes the place of `neutrino_mass_ev`; it may be negative (module
    docstring). `corrections` names the small factors to multiply in. Zero above the endpoint and for K ≤ 0.
    Raises ValueError for an unknown correction or a negative mass.
    """
    kinetic, endpoint, mass_squared = np.broadcast_arrays(
        np.asarray(kinetic_energy_ev, np.float64),
        np.asarray(endpoint_ev, np.float64),
        _mass_squared(neutrino_mass_ev, neutrino_mass_squared_ev2),
    )
    rate = np.zeros(kinetic.shape)
    inside = (kinetic > 0) & (kinetic < endpoint)
    kinetic, endpoint, mass_squared = kinetic[inside], endpoint[inside], mass_squared[inside]
    electron = electron_factor(kinetic, endpoint, corrections)
    rate[inside] = electron * neutrino_factor(kinetic, endpoint, mass_squared, corrections, final_states)
    return rate


def electron_factor(kinetic_energy_ev: Array, endpoint_ev: Array | float, corrections: Collection[str]) -> Array:
    """Return the part of the rate that does not see the neutrino: constants, Fermi function, p E, small corrections.

    It depends on the endpoint only through recoil and the nucleus' size (1e-10 relative for an eV), so that a fit may
    compute it once.
    """
    check_corrections(corrections)
    electron = factors.Electron.of(kinetic_energy_ev)
    factor = RATE_PER_SECOND * factors.fermi_function(electron) * electron.momentum_ev * electron.energy_ev
    if "screening" in corrections:
        factor = factor * factors.screening(electron)
    if "recoil" in corrections:
        factor = factor * factors.recoil(electron, endpoint_ev)
    if "coulomb_recoil" in corrections:
        factor = factor * factors.coulomb_recoil(electron, endpoint_ev)
    if "finite_nucleus" in corrections:
        factor = factor * factors.finite_nucleus(electron, endpoint_ev)
    if "exchange" in corrections:
        factor = factor * factors.exchange(electron)
    return factor


def neutrino_factor(
    kinetic_energy_ev: Array,
    endpoint_ev: Array | float,
    mass_squared_ev2: Array | float,
    corrections: Collection[str] = CORRECTIONS,
    final_states: FinalStates | None = None,
) -> Array:
    """Return Σ_f P_f ε_f √(ε_f² − m²) Θ(ε_f − m) G(K, ε_f) in eV²; G is the radiative correction, or 1 without.

    For m² < 0 see the module's convention.
    """
    radiative = factors.Radiative.of(kinetic_energy_ev) if "radiative" in corrections else None
    total = np.zeros(np.broadcast(kinetic_energy_ev, endpoint_ev, mass_squared_ev2).shape)
    states = [(0.0, 1.0)] if final_states is None else final_states.pairs()
    for excitation_ev, probability in states:
        neutrino_energy = np.maximum(endpoint_ev - excitation_ev - kinetic_energy_ev, 0.0)
        term = phase_space(neutrino_energy, mass_squared_ev2)
        if radiative is not None:
            term = term * radiative(neutrino_energy)
        total += probability * term
    return total


def phase_space(neutrino_energy_ev: Array, mass_squared_ev2: Array | float) -> Array:
    """Return ε√(ε² − m²) for m² ≥ 0 and its continuation ε² − m²/2 for m² < 0; zero where ε ≤ m or ε ≤ 0."""
    square = neutrino_energy_ev**2
    physical = neutrino_energy_ev * np.sqrt(np.maximum(square - mass_squared_ev2, 0.0))
    if np.all(np.asarray(mass_squared_ev2) >= 0):
        return np.asarray(physical)
    continued = np.where(neutrino_energy_ev > 0, square - np.minimum(mass_squared_ev2, 0.0) / 2, 0.0)
    return np.where(np.asarray(mass_squared_ev2) < 0, continued, physical)


def check_corrections(corrections: Collection[str]) -> None:
    """Raise ValueError for a name that is no correction, or for one string in place of a collection."""
    if isinstance(corrections, str):
        raise ValueError(f"corrections is a collection of names; write ({corrections!r},)")
    unknown = set(corrections) - set(CORRECTIONS)
    if unknown:
        raise ValueError(f"unknown correction {sorted(unknown)[0]!r}; known are {', '.join(CORRECTIONS)}")


def sample_beta_spectrum(
    count: int,
    low_ev: float,
    high_ev: float,
    endpoint_ev: float,
    generator: np.random.Generator,
    neutrino_mass_ev: float = 0.0,
    *,
    neutrino_mass_squared_ev2: float | None = None,
    corrections: Collection[str] = CORRECTIONS,
    final_states: FinalStates | None = None,
    background_fraction: float = 0.0,
) -> Array:
    """Draw `count` kinetic energies in eV from the spectrum between `low_ev` and min(`high_ev`, endpoint).

    A fraction of them may be flat background between `low_ev` and `high_ev`; each electron decides by itself. Uses two
    uniform numbers an electron, in rows: the first electrons do not depend on `count`. Raises ValueError for an empty
    window.
    """
    uniform = generator.random((count, 2))
    return beta_quantile(
        uniform[:, 0],
        low_ev,
        high_ev,
        endpoint_ev,
        neutrino_mass_ev,
        neutrino_mass_squared_ev2=neutrino_mass_squared_ev2,
        corrections=corrections,
        final_states=final_states,
        background=uniform[:, 1] < background_fraction,
    )


def beta_quantile(
    probability: Array,
    low_ev: float,
    high_ev: float,
    endpoint_ev: float,
    neutrino_mass_ev: float = 0.0,
    *,
    neutrino_mass_squared_ev2: float | None = None,
    corrections: Collection[str] = CORRECTIONS,
    final_states: FinalStates | None = None,
    background: NDArray[np.bool_] | None = None,
    points: int = 20_001,
) -> Array:
    """Return energies in eV at cumulative probabilities of the spectrum within a window (the inverse distribution).

    The rate is linear between the points of a grid that is finer towards the endpoint, where it is drawn exactly.
    Where `background` is true the flat distribution over the whole window is used instead.
    """
    top = min(high_ev, endpoint_ev)
    if not low_ev < top:
        raise ValueError(f"no electron between {low_ev:g} and {high_ev:g} eV for an endpoint of {endpoint_ev:g} eV")
    mass_squared = float(_mass_squared(neutrino_mass_ev, neutrino_mass_squared_ev2))
    check_corrections(corrections)
    grid, rate = _rate_on_grid(low_ev, top, endpoint_ev, mass_squared, tuple(corrections), final_states, points)
    energy = _piecewise_linear_quantile(np.asarray(probability, np.float64), grid, rate)
    if background is None:
        return energy
    return np.where(background, low_ev + (high_ev - low_ev) * probability, energy)


@lru_cache(maxsize=64)
def _rate_on_grid(
    low_ev: float,
    top_ev: float,
    endpoint_ev: float,
    mass_squared_ev2: float,
    corrections: tuple[str, ...],
    final_states: FinalStates | None,
    points: int,
) -> tuple[Array, Array]:
    """Return energies, denser towards the top, and the rate there; remembered, for sums over final states are slow."""
    grid = top_ev - (top_ev - low_ev) * np.linspace(1.0, 0.0, points) ** 2
    rate = beta_spectrum_rate(
        grid, endpoint_ev, neutrino_mass_squared_ev2=mass_squared_ev2, corrections=corrections,
        final_states=final_states,
    )  # fmt: skip
    return grid, rate


def _piecewise_linear_quantile(probability: Array, grid: Array, density: Array) -> Array:
    area = 0.5 * (density[1:] + density[:-1]) * np.diff(grid)
    if not area.sum() > 0:
        raise ValueError("the spectrum is zero everywhere in this window")
    cumulative = np.concatenate([[0.0], np.cumsum(area)])
    wanted = probability * cumulative[-1]
    cell = np.clip(np.searchsorted(cumulative, wanted, side="right") - 1, 0, len(area) - 1)
    left, right, width = density[cell], density[cell + 1], grid[cell + 1] - grid[cell]
    # ∫₀ᵗ [l + (r − l) s] width ds = rest, in the form of the root that does not cancel.
    rest = (wanted - cumulative[cell]) / width
    root = np.sqrt(np.maximum(left**2 + 2 * (right - left) * rest, 0.0))
    fraction = np.divide(2 * rest, left + root, out=np.zeros_like(rest), where=(left + root) > 0)
    return grid[cell] + width * np.clip(fraction, 0.0, 1.0)


def _mass_squared(mass_ev: Numbers, mass_squared_ev2: Numbers | None) -> Array:
    mass = np.asarray(mass_ev, np.float64)
    if mass_squared_ev2 is not None:
        if np.any(mass != 0):
            raise ValueError("give the neutrino mass or its square, not both")
        return np.asarray(mass_squared_ev2, np.float64)
    if np.any(mass < 0):
        raise ValueError("a negative neutrino mass has no meaning; for fits use neutrino_mass_squared_ev2")
    return np.asarray(mass**2)
