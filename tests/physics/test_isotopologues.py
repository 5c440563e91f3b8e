"""Final states of HT and DT: potentials against spectroscopy, the method against T₂'s table and a measured share."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import eigh_tridiagonal
from scipy.special import ndtr

from cres.physics.final_states import T2_SPENT_EV, FinalStates
from cres.physics.isotopologues import (
    GROUND_GROUP_LIMIT_EV,
    HARTREE_EV,
    HELIUM3_U,
    HELIUM4_U,
    HELIUM_HYDRIDE,
    HYDROGEN,
    HYDROGEN_U,
    PER_CM_HARTREE,
    distances_bohr,
    electron_masses,
    endpoint_below_t2_ev,
    ground_group,
    levels,
    recoil_per_bohr,
    reduced,
    rovibrations,
    spent_ev,
    whole_recoil_ev,
)

OTHERS = ("T", "D", "H")


def moments(energy, probability):
    mean = energy @ probability / probability.sum()
    return mean, np.sqrt((energy - mean) ** 2 @ probability / probability.sum())


def finite_differences(potential, mass_u, rotation, step=0.004, farthest=9.0):
    """Twin: the same equation by three points, lowest levels and their waves on a fine grid."""
    distance = np.arange(step, farthest, step)
    mass = electron_masses(mass_u)
    diagonal = 1 / (mass * step**2) + potential(distance) + rotation * (rotation + 1) / (2 * mass * distance**2)
    beside = np.full(len(distance) - 1, -0.5 / (mass * step**2))
    return distance, *eigh_tridiagonal(diagonal, beside, select="i", select_range=(0, 5))


@pytest.mark.parametrize(
    ("first", "second", "dissociation_ev"),
    # D₀⁰ of Huber and Herzberg, Constants of Diatomic Molecules (1979)
    [("H", "H", 4.47813), ("H", "D", 4.51407), ("D", "D", 4.55634)],
)
def test_hydrogen_is_bound_as_measured(first, second, dissociation_ev):
    found = levels(HYDROGEN, reduced(HYDROGEN_U[first], HYDROGEN_U[second]), 0)
    assert -found.energy_hartree[0] * HARTREE_EV == pytest.approx(dissociation_ev, abs=1.5e-3)


def test_helium_hydride_vibrates_and_turns_as_measured():
    mass_u = reduced(HELIUM4_U, HYDROGEN_U["H"])
    resting, turning = (levels(HELIUM_HYDRIDE, mass_u, rotation).energy_hartree / PER_CM_HARTREE for rotation in (0, 1))
    # Bernath and Amano, PRL 48 (1982) 20: 2910.957 cm⁻¹. J = 1 ← 0 at 2010.184 GHz: Perry et al., JCP 141 (2014) 101101
    assert resting[1] - resting[0] == pytest.approx(2910.957, rel=1e-3)
    assert turning[0] - resting[0] == pytest.approx(67.053, rel=5e-3)


@pytest.mark.parametrize("rotation", [0, 7])
@pytest.mark.parametrize(("potential", "nuclei"), [(HYDROGEN, (1.0078, 3.0160)), (HELIUM_HYDRIDE, (3.0160, 3.0160))])
def test_levels_against_finite_differences(potential, nuclei, rotation):
    fast = levels(potential, reduced(*nuclei), rotation)
    distance, energy, wave = finite_differences(potential, reduced(*nuclei), rotation)
    np.testing.assert_allclose(fast.energy_hartree[:6] * HARTREE_EV, energy * HARTREE_EV, atol=1e-3)
    for power in (1, 2, -2):
        expected = (wave**2).T @ distance**power
        np.testing.assert_allclose((fast.wave[:, :6] ** 2).T @ distances_bohr() ** power, expected, rtol=2e-3)


@pytest.mark.parametrize("other", OTHERS)
def test_mean_and_spread_are_those_of_operators(other):
    """Twin without final levels: ⟨H⟩ and ⟨H²⟩ of the kicked wave, from derivatives on a fine grid.

    With χ = u(r)/r at rest, H acts on e^{iKz}χ as e^{iKz}(H + K p_z/μ + K²/2μ), and ⟨p_z²⟩ = ⟨p²⟩/3.
    """
    mass = electron_masses(reduced(HYDROGEN_U[other], HELIUM3_U))
    distance, _, wave = finite_differences(HYDROGEN, reduced(HYDROGEN_U[other], HYDROGEN_U["T"]), 0)
    resting = wave[:, 0]
    curved = np.gradient(np.gradient(resting, distance), distance)
    acted = -curved / (2 * mass) + HELIUM_HYDRIDE(distance) * resting
    kick = recoil_per_bohr(other)
    still, still_squared = resting @ acted, acted @ acted
    p_squared = -(resting @ curved)
    mean = still + kick**2 / (2 * mass)
    variance = still_squared - still**2 + (kick / mass) ** 2 * p_squared / 3
    found = rovibrations(other)
    lowest_ev = -found.dissociation_ev
    mean_found, width_found = moments(found.excitation_ev, found.probability)
    assert mean_found == pytest.approx(mean * HARTREE_EV - lowest_ev, abs=1e-3)
    assert width_found == pytest.approx(np.sqrt(variance) * HARTREE_EV, abs=1e-3)
    assert found.probability.sum() == pytest.approx(1, abs=1e-8)


def test_the_method_gives_the_published_table_of_t2():
    published = FinalStates.t2()
    near = published.excitation_ev < GROUND_GROUP_LIMIT_EV
    expected = moments(published.excitation_ev[near], published.probability[near])
    energy, probability = ground_group("T")
    assert moments(energy, probability) == pytest.approx(expected, abs=0.01)
    # seen with 0.15 eV, for the table holds lines of many levels
    share = published.probability[near] / published.ground_group_probability
    places = np.arange(0.0, 4.0, 0.05)[:, None]
    calculated = ndtr((places - energy) / 0.15) @ probability
    tabulated = ndtr((places - published.excitation_ev[near]) / 0.15) @ share
    assert np.abs(calculated - tabulated).max() < 0.025


def test_the_bound_share_of_ht_is_the_measured_one():
    found = rovibrations("H")
    bound = found.probability[found.excitation_ev < found.dissociation_ev].sum()
    # Lin et al., PRL 124 (2020) 222502: 56.5(6) %
    assert bound * FinalStates.of("HT").ground_group_probability == pytest.approx(0.565, abs=0.006)


@pytest.mark.parametrize("other", ["D", "H"])
def test_the_electron_leaves_with_the_same_mean_energy(other):
    # the helium nucleus takes p²/2m, whatever is bound to it: a lower endpoint is a smaller mean excitation
    means = {one: moments(*ground_group(one))[0] for one in ("T", other)}
    assert endpoint_below_t2_ev(other) + means[other] == pytest.approx(means["T"], abs=0.01)
    assert endpoint_below_t2_ev(other) > 0.3
    assert endpoint_below_t2_ev("T") == 0
    # Aker et al. (KATRIN), PRD 104 (2021) 012005: 1.72 eV of recoil, and 16.29 eV of bindings
    assert whole_recoil_ev("T") == pytest.approx(1.72, abs=0.005)
    assert spent_ev("T") == pytest.approx(T2_SPENT_EV, abs=0.01)


@pytest.mark.parametrize("name", ["HT", "DT"])
def test_tables_of_isotopologues(name):
    states, t2 = FinalStates.of(name), FinalStates.t2()
    assert states.ground_group_probability == pytest.approx(t2.ground_group_probability, rel=1e-9)
    assert states.excitation_ev[0] == 0
    assert np.all(np.diff(states.excitation_ev) > 0)
    # the sum over all states is that of T₂ but for the recoil, as far as electrons see the same
    lower = endpoint_below_t2_ev({"HT": "H", "DT": "D"}[name])
    assert states.mean_excitation_ev + lower == pytest.approx(t2.mean_excitation_ev, abs=0.03)
    assert name in states.source
    assert "Saenz" in states.source


def test_a_mixture_knows_where_their_endpoints_are():
    lower = endpoint_below_t2_ev("H")
    known, said = FinalStates.of("T2:0.9,HT:0.1"), FinalStates.of(f"T2:0.9,HT:0.1:{lower!r}")
    assert known == said
    assert FinalStates.of("T2:0.9,HT:0.1:0.3") != known
    assert FinalStates.of("T2:0.9,T:0.1") == FinalStates.of("T2:0.9,T:0.1:10.04")
    alone = FinalStates.of("HT:1")
    np.testing.assert_allclose(alone.excitation_ev, FinalStates.of("HT").excitation_ev, atol=1e-12)
