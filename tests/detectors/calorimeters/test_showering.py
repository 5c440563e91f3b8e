"""Energy in cells: conservation, linearity, the electromagnetic share of hadrons, ionisation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from guns import gun
from hypothesis import given, settings
from hypothesis import strategies as st

from collider.detectors.calorimeters.config import Calorimeters, Ecal, Hadronic, Hcal
from collider.detectors.calorimeters.hadrons import (
    electromagnetic_fractions,
    is_baryon,
    mean_electromagnetic_fraction,
    released_gev,
)
from collider.detectors.calorimeters.ionisation import losses_gev, most_probable_gev, width_gev
from collider.detectors.calorimeters.points import across_axes, placed
from collider.detectors.calorimeters.showering import shower
from collider.detectors.particles import Particles
from collider.showers import material
from reconstruction.errors import UserError

PARTS = Calorimeters()
FIELD_T = 3.8


def showered(particles, parts=PARTS, seed=1):
    return shower(particles, np.arange(len(particles)), parts, FIELD_T, seed)


# Electrons and photons ----------------------------------------------------------------------------------------------


def test_photons_leave_their_energy_and_no_more():
    for energy in (2.0, 60.0):
        made = showered(gun(22, energy, 40))
        visible = made.passage.visible_gev
        assert (visible <= energy * (1 + 1e-9)).all()
        assert visible.mean() > 0.995 * energy
        ecal = made.ecal.energy_gev.sum() / 40
        assert ecal + made.hcal.energy_gev.sum() / 40 == pytest.approx(visible.mean(), rel=1e-12)
        assert 0.98 * energy < ecal < energy  # the rest leaks through 26 X0 into the HCAL


def test_photons_are_linear():
    response = [showered(gun(22, energy, 40)).ecal.energy_gev.sum() / 40 / energy for energy in (3.0, 12.0, 48.0)]
    np.testing.assert_allclose(response, response[0], rtol=0.006)


def test_a_shower_is_of_its_particle_alone():
    """What an electromagnetic shower is depends on seed, event and place, and not on the batch."""
    together = gun(22, 5.0, 6)
    made = showered(together)
    alone = shower(
        dataclasses.replace(together.kept(np.array([4])), event=np.zeros(1, dtype=np.int64)),
        np.array([4]), PARTS, FIELD_T, 1,
    )  # fmt: skip
    of = made.ecal.particle == 4
    np.testing.assert_array_equal(made.ecal.cell[of], alone.ecal.cell)
    np.testing.assert_allclose(made.ecal.energy_gev[of], alone.ecal.energy_gev, rtol=1e-12)
    other = showered(together, seed=2)
    assert not np.array_equal(other.ecal.energy_gev, made.ecal.energy_gev)


def test_a_shower_lies_around_where_the_particle_enters():
    for eta in (0.3, -2.0):
        for pdg_id in (22, 11, -11):
            particles = gun(pdg_id, 20.0, 20, eta)
            made = showered(particles)
            cell_eta, cell_phi = PARTS.ecal.grid.centre(made.ecal.cell)
            entry = made.entries.position_mm[np.searchsorted(made.entries.particle, made.ecal.particle)]
            phi = np.arctan2(entry[:, 1], entry[:, 0])
            away = (cell_phi - phi + np.pi) % (2 * np.pi) - np.pi
            weight = made.ecal.energy_gev
            assert abs(np.average(away, weights=weight)) < 0.01
            assert np.average(cell_eta, weights=weight) == pytest.approx(eta, abs=0.02)


@pytest.mark.parametrize("direction", [(0, 0, 1), (0, 0, -1), (0.6, 0, -0.8), (1, 0, 0), (-0.36, 0.48, 0.8)])
def test_axes_across_a_direction(direction):
    one = np.array([direction], dtype=float)
    first, second = across_axes(one)
    frame = np.concatenate([first, second, one])
    np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-12)


def test_neutrinos_leave_nothing_and_what_is_made_behind_the_front_neither():
    assert not len(showered(gun(12, 50.0, 5)).ecal.cell)
    late = dataclasses.replace(gun(22, 5.0, 2), vertex_mm=np.array([[2000.0, 0, 0], [0, 0, 9000.0]]))
    assert (showered(late).passage.reached == 0).all()


def test_no_particle_at_all():
    none = gun(22, 5.0, 1).kept(np.zeros(1, dtype=bool))
    made = shower(none, np.arange(3), PARTS, FIELD_T, 1)
    assert len(made.ecal.cell) == 0 == len(made.hcal.cell)


# Hadrons ------------------------------------------------------------------------------------------------------------

DEEP = Calorimeters(
    Ecal(hadronic_response=0.6, rings=300, sectors=360),
    Hcal(hadronic_response=0.6, depth_edges_cm=(0.0, 100.0, 900.0), rings=60, sectors=72),
    Hadronic(intrinsic_term=0.0),
)
"""Nothing leaks out of 55 λ, and h/e is one number."""


def test_the_energy_of_a_hadron_is_what_is_seen_and_what_binding_takes():
    particles = gun(211, 30.0, 40)
    passage = showered(particles, DEEP).passage
    showering = passage.released_gev - passage.ionised_gev
    electromagnetic = passage.fraction * showering
    expected = passage.ionised_gev + electromagnetic + 0.6 * (showering - electromagnetic)
    np.testing.assert_allclose(passage.visible_gev, expected, rtol=5e-3)  # lateral tails beyond the cells
    assert (passage.visible_gev <= expected * (1 + 1e-9)).all()


def test_hadrons_are_shared_between_the_calorimeters():
    made = showered(gun(211, 30.0, 200))
    share = np.bincount(made.ecal.particle, made.ecal.energy_gev, 200) / made.passage.visible_gev
    begins = made.passage.start_cm < PARTS.ecal.depth_cm
    # 1 − exp(−1.1) of them interact in the crystals
    assert begins.mean() == pytest.approx(1 - np.exp(-PARTS.ecal.depth_lambda), abs=0.1)
    assert share[begins].mean() > 0.3
    assert share[~begins].mean() < 0.05
    # those that begin in the HCAL leave ionisation in the crystals
    ionised = np.bincount(made.ecal.particle, made.ecal.energy_gev, 200)[~begins]
    assert np.median(ionised) == pytest.approx(most_probable_gev(PARTS.ecal.medium, 23.0), rel=0.15)


def test_response_and_resolution_of_pions():
    """Response rises with f_em; the resolution falls, not as 1/√E but towards the fluctuation of f_em."""
    found = []
    for energy in (5.0, 100.0):
        visible = showered(gun(211, energy, 300)).passage.visible_gev
        found.append((visible.mean() / energy, visible.std() / visible.mean()))
    (low, wide), (high, narrow) = found
    assert 0.7 < low < high - 0.05
    assert high < 0.95
    assert 0.18 < wide < 0.33
    assert 0.04 < narrow < 0.1
    assert narrow > 0.9 / np.sqrt(100) * 0.5
    assert narrow > wide / np.sqrt(20)


def test_the_mean_electromagnetic_fraction_is_that_of_a_cascade():
    """Twin: at each of n interactions a third of what is left goes to π⁰, and E₀ is left to each of the particles."""
    hadronic = Hadronic(scale_gev=1.0)
    multiplicity = (2 / 3) ** (1 / (hadronic.power - 1))  # k = 1 + ln(1 − 1/3)/ln m
    for generations in range(1, 5):
        left = 1.0
        for _ in range(generations):
            left -= left / 3
        energy = multiplicity**generations
        assert mean_electromagnetic_fraction(energy, False, hadronic) == pytest.approx(1 - left, rel=1e-12)
    assert mean_electromagnetic_fraction(0.5, False, hadronic) == 0
    # at 100 GeV: 1 − 100^−0.18 and 1 − (100/2.6)^−0.18
    np.testing.assert_allclose(mean_electromagnetic_fraction([100, 100], [0, 1], hadronic), [0.5635, 0.4817], atol=2e-4)


@pytest.mark.parametrize("energy", [3.0, 100.0])
def test_drawn_fractions_have_the_mean_and_the_variance_that_they_should(energy):
    hadronic, count = Hadronic(), 40_000
    drawn = electromagnetic_fractions(np.full(count, energy), np.zeros(count), hadronic, np.random.default_rng(3))
    mean = mean_electromagnetic_fraction(energy, False, hadronic)
    variance = mean * (1 - mean) / (1 + 3 + 2 * np.log(energy))
    assert drawn.mean() == pytest.approx(mean, abs=5 * np.sqrt(variance / count))
    assert drawn.var() == pytest.approx(variance, rel=0.03)
    assert ((drawn >= 0) & (drawn <= 1)).all()


def test_what_stopping_particles_release():
    for pdg_id, less in ((2212, 0.93827), (-2112, -0.93957), (211, 0.0), (22, 0.0)):
        assert released_gev(gun(pdg_id, 5.0))[0] == pytest.approx(5 - less, abs=1e-9)
    assert [is_baryon(code) for code in (2212, 3122, 211, 130, 22, 13)] == [True, True, *[False] * 4]


# Ionisation ---------------------------------------------------------------------------------------------------------


def test_the_most_probable_loss_in_silicon():
    """300 µm: 76 to 80 electron-hole pairs of 3.62 eV for each µm (Hartmann, Evolution of Silicon Sensors, 1.1)."""
    kev = 1e6 * float(most_probable_gev(material("Si"), 0.03))
    assert 76 * 300 * 3.62e-3 * 0.97 < kev < 80 * 300 * 3.62e-3 * 1.03


def mean_loss_gev(medium, length_cm):
    """Of Moyal's distribution: −⟨ln z²⟩ = γ + ln 2."""
    return float(most_probable_gev(medium, length_cm) + width_gev(medium, length_cm) * (np.euler_gamma + np.log(2)))


def test_losses_are_around_the_most_probable_one():
    iron = material("Fe")
    drawn = losses_gev(iron, np.full(40_000, 50.0), 1.0, np.random.default_rng(1))
    assert drawn.mean() == pytest.approx(mean_loss_gev(iron, 50.0), rel=0.01)
    counts, edges = np.histogram(drawn, 80, (0.4, 1.2))
    assert edges[counts.argmax()] == pytest.approx(float(most_probable_gev(iron, 50.0)), rel=0.05)
    assert losses_gev(iron, 0.0, 1.0, np.random.default_rng(1)) == 0


def test_muons_ionise_along_their_way():
    made = showered(gun(13, 20.0, 100))
    assert np.isinf(made.passage.start_cm).all()
    np.testing.assert_allclose(made.passage.visible_gev, made.passage.ionised_gev, rtol=0.02)
    lost = mean_loss_gev(PARTS.ecal.medium, 23.0) + mean_loss_gev(PARTS.hcal.medium, 116.0)
    assert made.passage.ionised_gev.mean() == pytest.approx(lost, rel=0.06)
    assert (showered(gun(13, 1.0, 20)).passage.ionised_gev <= 1.0).all()  # not more than they have


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 60), st.floats(0, 30), st.floats(0.5, 20), st.floats(0.5, 20))
def test_depth_behind_a_place_in_two_materials(start, depth, first, second):
    """Twin: small steps, each of the length that its material has."""
    ecal, steps = 23.0, 2000
    at = start
    for _ in range(steps):
        at += depth / steps * (first if at < ecal else second)
    behind, inside = placed(np.array([depth]), np.array([start]), (first, second), ecal)
    assert inside[0] + ecal * behind[0] == pytest.approx(at, abs=2 * depth / steps * 20 + 1e-9)


# Bad input ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Ecal(rings=3), "ecal.rings must be even"),
        (lambda: Ecal(depth_cm=-1), "ecal.depth_cm must be from"),
        (lambda: Ecal(material="PbWO5"), "no material 'PbWO5'"),
        (lambda: Ecal(hadronic_response=float("nan")), "ecal.hadronic_response must be from"),
        (lambda: Hcal(depth_edges_cm=(0.0, 50.0, 40.0)), "must rise from 0"),
        (lambda: Hcal(depth_edges_cm=()), "must rise from 0"),
        (lambda: Hadronic(power=1.2), "hadrons.power must be from 0.5 to 0.99"),
        (lambda: Calorimeters(Ecal(radius_mm=1700.0)), "hcal.radius_mm must be 1930 mm or more"),
        (lambda: dataclasses.replace(Ecal().readout, threshold_gev=0.0), "must be noise_gev"),
        (lambda: dataclasses.replace(Ecal().readout, noise_gev=-1.0), "readout.noise_gev must be from 0"),
    ],
)
def test_impossible_calorimeters(make, words):
    with pytest.raises(UserError, match=words):
        make()


def test_the_gun_is_what_it_says():
    assert isinstance(gun(211, 5.0, 3), Particles)
    np.testing.assert_allclose(gun(211, 5.0, 3).energy_gev, 5.0)
