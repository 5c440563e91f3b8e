"""The cascade: its cross sections against tables, energy to the last digit, and the depth of its maximum."""

from __future__ import annotations

import math

import numpy as np
import pytest

from collider.showers import material, simulate_cascades
from collider.showers.cascade import ELECTRON_MEV, PHOTON_CUT_MEV, Rates, _bremsstrahlung, _comptons, _rotated
from collider.showers.profiles import depth_of_maximum
from reconstruction.errors import UserError

LEAD = material("Pb")

# NIST XCOM, total attenuation without coherent scattering, cm²/g
ATTENUATION = {
    ("Pb", 1.0): 0.0684,
    ("Pb", 3.0): 0.0421,
    ("Pb", 10.0): 0.0497,
    ("Fe", 1.0): 0.0599,
    ("Fe", 10.0): 0.0299,
}


@pytest.mark.parametrize(("name", "energy_mev"), sorted(ATTENUATION))
def test_photons_are_absorbed_as_tables_say(name, energy_mev):
    """Formulae without a fit: to 10 %."""
    where = material(name)
    total = sum(rate.item() for rate in Rates(where).photon(np.array([energy_mev])))
    assert total / where.radiation_length_g_per_cm2 == pytest.approx(ATTENUATION[name, energy_mev], rel=0.10)


def test_the_two_expansions_of_pair_creation_meet():
    """Maximon's series for low and for high energies agree at k = 4 m: neither has a wrong coefficient."""
    rates, border = Rates(LEAD), 4 * ELECTRON_MEV
    low, high = rates._pair(np.array([border * (1 - 1e-9), border * (1 + 1e-9)]))
    assert low == pytest.approx(high, rel=3e-4)
    assert rates._pair(np.array([2 * ELECTRON_MEV])) == 0
    assert rates._pair(np.array([1e6])) == pytest.approx(7 / 9)


def test_bremsstrahlung_has_its_rate_and_spectrum():
    """Numbers and energy of hard photons against the integral of (4/3 − 4/3 v + v²)/v; hard and soft are E per X0."""
    rates, energy = Rates(LEAD), 50.0
    v = np.linspace(PHOTON_CUT_MEV / energy, 1, 200001)
    density = (4 / 3 - 4 / 3 * v + v**2) / v
    assert rates.hard_photons(np.array([energy])) == pytest.approx(np.trapezoid(density, v), rel=1e-4)
    hard = energy * np.trapezoid(density * v, v)
    assert hard + rates.soft_loss(np.array([energy])).item() == pytest.approx(energy, rel=1e-4)
    drawn = _bremsstrahlung(np.full(20000, energy), np.random.default_rng(1))
    wanted = hard / np.trapezoid(density, v)
    assert drawn.mean() == pytest.approx(wanted, abs=4 * drawn.std() / math.sqrt(20000))


def test_compton_scattering_is_that_of_klein_and_nishina():
    """Mean energy of the scattered photon at 1 MeV against the integral over the angle."""
    count = 20000
    here = {name: np.zeros(count) for name in ("event", "kind", "x", "y", "z", "dx", "dy")}
    here |= {"energy": np.ones(count), "dz": np.ones(count)}
    photons, electrons = _comptons(here, np.random.default_rng(2))
    k, cosine = 1 / ELECTRON_MEV, np.linspace(-1, 1, 100001)
    share = 1 / (1 + k * (1 - cosine))
    weight = share**2 * (share + 1 / share - 1 + cosine**2)
    mean = np.trapezoid(weight * share, cosine) / np.trapezoid(weight, cosine)
    assert photons["energy"].mean() == pytest.approx(mean, abs=4 * photons["energy"].std() / math.sqrt(count))
    np.testing.assert_allclose(photons["energy"] + electrons["energy"], 1)
    # momentum across the photon's way is balanced
    across = photons["energy"] * photons["dx"]
    momentum = np.sqrt(electrons["energy"] * (electrons["energy"] + 2 * ELECTRON_MEV))
    np.testing.assert_allclose(across + momentum * electrons["dx"], 0, atol=1e-9)


def test_rotations_keep_the_length_and_turn_by_their_angle():
    rng = np.random.default_rng(3)
    way = rng.normal(size=(3, 500))
    way /= np.linalg.norm(way, axis=0)
    way[:, :2] = [[0, 0], [0, 0], [1, -1]]
    cosine = rng.uniform(-1, 1, 500)
    new = _rotated(dict(zip(("dx", "dy", "dz"), way, strict=True)), cosine, rng.uniform(0, 7, 500))
    turned = np.stack([new["dx"], new["dy"], new["dz"]])
    np.testing.assert_allclose(np.linalg.norm(turned, axis=0), 1)
    np.testing.assert_allclose((turned * way).sum(0), cosine, atol=1e-12)


@pytest.mark.parametrize("particle", ["electron", "positron", "photon"])
def test_no_energy_is_lost_or_made(particle):
    energies = np.array([0.5, 1.0, 2.0])
    found = simulate_cascades(energies, material("Fe"), particle=particle)
    # a positron brings its rest mass twice when it ends; a photon's pair has paid for it
    extra = 2 * ELECTRON_MEV * 1e-3 if particle == "positron" else 0
    np.testing.assert_allclose(found.depth_gev.sum(1) + found.lost_gev, energies + extra, rtol=1e-9)
    assert (found.radius_gev.sum(1) <= found.depth_gev.sum(1) * (1 + 1e-12)).all()


def test_the_maximum_is_where_the_particle_data_group_has_it():
    """PDG: t_max = ln y − 0.5 for electrons, + 0.5 for photons; in lead at 1 GeV 4.40 and 5.40 X0."""
    depth = {}
    for particle in ("electron", "photon"):
        found = simulate_cascades(np.full(60, 1.0), LEAD, particle=particle, seed=1)
        depth[particle] = depth_of_maximum(found.depth_edges_x0, found.depth_gev.mean(0))
    assert depth["electron"] == pytest.approx(4.40, abs=0.6)
    assert 0.6 < depth["photon"] - depth["electron"] < 1.7


def test_within_one_moliere_radius_are_about_ninety_percent():
    found = simulate_cascades(np.full(20, 1.0), LEAD)
    share = found.radius_gev[:, :5].sum() / found.depth_gev.sum()
    assert 0.80 < share < 0.92


def test_the_same_seed_is_the_same_cascade():
    first, again = (simulate_cascades([0.5, 0.7], LEAD, seed=4) for _ in range(2))
    assert np.array_equal(first.depth_gev, again.depth_gev)
    assert not np.array_equal(first.depth_gev, simulate_cascades([0.5, 0.7], LEAD, seed=5).depth_gev)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: simulate_cascades([1.0], LEAD, particle="pi+"), "no cross sections of hadrons"),
        (lambda: simulate_cascades([-1.0], LEAD), "must be positive"),
        (lambda: simulate_cascades([1.0], LEAD, particle="muon"), "there is no shower of particle 'muon'"),
    ],
)
def test_what_it_does_not_know_is_one_sentence(call, sentence):
    with pytest.raises(UserError, match=sentence):
        call()
