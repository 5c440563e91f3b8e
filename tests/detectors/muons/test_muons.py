"""Muon stations: who reaches them, scattering, hits, segments beside a slow fit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from guns import gun

from collider.detectors.calorimeters.config import Calorimeters
from collider.detectors.calorimeters.points import NO_PARTICLE
from collider.detectors.calorimeters.showering import shower
from collider.detectors.muons.config import MuonStations
from collider.detectors.muons.hits import MuonHits, find_segments, frames, measured_hits
from collider.detectors.muons.passing import arrivals, onto_surface
from collider.detectors.scattering import scattering_angle
from reconstruction.errors import UserError

PARTS, STATIONS, FIELD_T = Calorimeters(), MuonStations(), 3.8
QUIET = dataclasses.replace(STATIONS, noise_hits=0.0)
EXACT = dataclasses.replace(QUIET, efficiency=1.0, resolution_mm=(1e-4, 1e-4))


def arrived(particles, stations=STATIONS, seed=1):
    made = shower(particles, np.arange(len(particles)), PARTS, FIELD_T, seed)
    return arrivals(particles, made.passage, PARTS, stations, FIELD_T, np.random.default_rng(seed))


def share(found, count):
    return np.bincount(found.station, minlength=4) / count


def test_muons_reach_a_station_from_their_range_on():
    """A muon of 3 GeV ends in the calorimeters and the first iron, one of 20 GeV passes all."""
    slow, fast = share(arrived(gun(13, 2.6, 100)), 100), share(arrived(gun(-13, 20.0, 100)), 100)
    assert slow[0] > 0.3
    assert slow[2] == 0
    assert (np.diff(slow) <= 0).all()
    np.testing.assert_array_equal(fast, 1.0)
    assert not len(arrived(gun(13, 1.5, 50)).particle)
    assert not len(arrived(gun(13, 300.0, 20, eta=2.7)).particle)  # in the hole
    assert (arrived(gun(13, 50.0, 20, eta=-1.9)).end == -1).all()


def test_electrons_photons_and_neutrons_do_not():
    for pdg_id in (11, 22, 2112):
        assert not len(arrived(gun(pdg_id, 5.0, 100)).particle)


def test_hadrons_punch_through_rarely_and_more_so_with_energy():
    low, high = arrived(gun(211, 20.0, 1500)), arrived(gun(211, 300.0, 1500))
    assert len(np.unique(low.particle)) / 1500 < 0.02
    assert 0.02 < len(np.unique(high.particle)) / 1500 < 0.25
    assert high.debris.any()
    assert share(high, 1500)[0] > 4 * share(high, 1500)[3]


def test_muons_are_scattered_by_as_much_as_the_formula_says():
    """From the first station to the second, 40 cm of iron in no field, nearly without loss at 200 GeV."""
    straight = dataclasses.replace(STATIONS, return_field_t=0.0)
    found = arrived(gun(13, 200.0, 800, eta=0.0), straight)
    one, other = (found.kept(found.station == station) for station in (0, 1))
    np.testing.assert_array_equal(one.particle, other.particle)
    angle = np.linalg.norm(one.direction - other.direction, axis=1)
    iron_x0 = 40.0 / STATIONS.iron.radiation_length_cm
    expected = scattering_angle(196.0, iron_x0, 0.10566)
    assert np.sqrt((angle**2).mean() / 2) == pytest.approx(expected, rel=0.08)


def test_calorimeters_scatter_muons_more_than_the_first_iron():
    """At η = 0, without a field: a hundred radiation lengths in half of the way from r = 1.29 m to the coil."""
    straight = dataclasses.replace(STATIONS, return_field_t=0.0, absorber_cm=(0.0, 0.0, 0.0, 0.0))
    particles = gun(13, 100.0, 800, eta=0.0)
    made = shower(particles, np.arange(800), PARTS, 1e-6, 1)
    found = arrivals(particles, made.passage, PARTS, straight, 1e-6, np.random.default_rng(1))
    first = found.kept(found.station == 0)
    flown = particles.momentum_gev / particles.p_gev[:, None]
    depth_x0 = 23.0 / 0.8904 + 116.0 / PARTS.hcal.medium.radiation_length_cm
    # 13.6 MeV/99 GeV √(26 + 75) (1 + 0.038 ln 101)
    expected = scattering_angle(99.0, depth_x0, 0.10566)
    assert expected == pytest.approx(1.6e-3, rel=0.05)
    angle = np.linalg.norm(first.direction - flown[first.particle], axis=1)
    assert np.sqrt((angle**2).mean() / 2) == pytest.approx(expected, rel=0.08)
    # away from the line by the lever arm to the middle of the matter, and by x θ₀/√12 beside
    away = np.linalg.norm(np.cross(first.position_mm, flown[first.particle]), axis=1)
    lever, depth = 4200.0 - (1290.0 + 3000.0) / 2, 3000.0 - 1290.0
    wanted = expected * np.hypot(lever, depth / np.sqrt(12))
    assert np.sqrt((away**2).mean() / 2) == pytest.approx(wanted, rel=0.08)


def test_iron_bends_as_much_behind_the_ends_as_its_length_says():
    """Across the field pT turns by 0.2998 B l/pT for the transverse path l in the iron: 30 cm along z at an end."""
    silent = dataclasses.replace(STATIONS, absorber_cm=(30.0, 0.0, 0.0, 0.0))
    turns = []
    for stations in (silent, dataclasses.replace(silent, return_field_t=0.0)):
        first = arrived(gun(13, 200.0, 300, eta=1.9), stations).kept
        found = first(np.arange(300) * 4)
        assert (found.station == 0).all()
        turns.append(np.arctan2(found.direction[:, 1], found.direction[:, 0]))
    # the same random numbers: what scatters is the same
    bent = np.median((turns[0] - turns[1] + np.pi) % (2 * np.pi) - np.pi)
    pt = 198.0 / np.cosh(1.9)
    assert bent == pytest.approx(-0.2998 * 1.8 * 0.30 / np.sinh(1.9) / pt, rel=0.1)


def test_the_return_field_bends_the_other_way():
    found = arrived(gun(13, 10.0, 200, eta=0.0))
    turn = []
    for station in (0, 3):
        direction = found.kept(found.station == station).direction
        turn.append(np.arctan2(direction[:, 1], direction[:, 0]))
    bent = np.median((turn[1] - turn[0] + np.pi) % (2 * np.pi) - np.pi)
    # negative muons turn anticlockwise in +3.8 T: clockwise in the iron, 0.3 · 1.8 T · 1.66 m/8.5 GeV
    assert bent == pytest.approx(-0.3 * 1.8 * 1.66 / 7.5, rel=0.25)


def test_hits_have_efficiency_and_resolution():
    found = arrived(gun(13, 100.0, 400), QUIET)
    hits = measured_hits(found, QUIET, 400, np.random.default_rng(2))
    assert len(hits) / (4 * len(found.particle)) == pytest.approx(0.97, abs=0.01)
    exact = measured_hits(found, EXACT, 400, np.random.default_rng(2))
    of = {tuple(row): place for row, place in zip(_keys(exact), exact.position_mm, strict=True)}
    away = hits.position_mm - np.array([of[tuple(row)] for row in _keys(hits)])
    out, along, across = frames(hits.position_mm, hits.end)
    for axis, sigma in ((along, 0.25), (across, 1.0)):
        assert (away * axis).sum(1).std() == pytest.approx(sigma, rel=0.04)
    assert np.abs((away * out).sum(1)).max() < 0.1
    radius = np.hypot(exact.position_mm[:, 0], exact.position_mm[:, 1])
    wanted = np.array(STATIONS.radius_mm)[exact.station] + 100 * exact.layer
    np.testing.assert_allclose(radius, wanted, rtol=2e-4)


def _keys(hits):
    return np.stack([hits.event, hits.station, hits.layer], axis=1)


def test_segments_are_the_lines_of_a_slow_fit():
    count = 40
    found = arrived(gun(13, 60.0, count, eta=1.9), QUIET)
    hits = measured_hits(found, QUIET, count, np.random.default_rng(2))
    segments = find_segments(hits, QUIET)
    assert len(segments) > 3.8 * count
    assert (segments.purity == 1).all()
    for i in range(0, len(segments), 7):
        own = (hits.event == segments.event[i]) & (hits.station == segments.station[i])
        place = hits.position_mm[own]
        slopes = [np.polyfit(place[:, 2], place[:, axis], 1)[0] for axis in (0, 1)]
        got = segments.direction[i] / segments.direction[i, 2]
        np.testing.assert_allclose(got[:2], slopes, atol=3e-5)
        np.testing.assert_allclose(segments.position_mm[i], place.mean(0), atol=1e-6)
        assert segments.hits[i] == own.sum()
    assert (segments.chi2 / (2 * segments.hits - 4)).mean() == pytest.approx(1, abs=0.15)
    truth = found.kept(found.station == 0)
    first = segments.station == 0
    of = np.searchsorted(truth.event, segments.event[first])
    np.testing.assert_allclose(segments.direction[first], truth.direction[of], atol=0.03)


def test_noise_alone_makes_no_segment_and_two_muons_make_two():
    none = arrived(gun(22, 5.0, 1))
    noise = measured_hits(none, dataclasses.replace(STATIONS, noise_hits=20.0), 50, np.random.default_rng(1))
    assert len(noise) == pytest.approx(1000, abs=200)
    assert (noise.particle == NO_PARTICLE).all()
    assert not len(find_segments(noise, STATIONS))
    pair = gun(13, 50.0, 2)
    found = arrived(pair, QUIET)
    together = dataclasses.replace(found, event=np.zeros_like(found.event))
    segments = find_segments(measured_hits(together, QUIET, 1, np.random.default_rng(1)), QUIET)
    assert sorted(segments.particle[segments.station == 2].tolist()) == [0, 1]
    empty = MuonHits(*(np.zeros(0, dtype=np.int64),) * 4, np.zeros((0, 3)), np.zeros(0, dtype=np.int64))
    assert len(find_segments(empty, STATIONS)) == 0


def test_a_place_near_a_surface_moves_onto_it():
    direction = np.array([[0.8, 0, 0.6], [0.6, 0, 0.8]])
    moved = onto_surface(np.array([[4190.0, 0, 5], [900, 50, 6880]]), direction, np.array([0, 1]), 4200.0, 6900.0)
    assert np.hypot(*moved[0, :2]) == pytest.approx(4200)
    assert moved[1, 2] == pytest.approx(6900)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"radius_mm": (4200.0, 5000.0)}, "must be 4 numbers"),
        ({"radius_mm": (4200.0, 5000.0, 4900.0, 7200.0)}, "muons.radius_mm must rise"),
        ({"absorber_cm": (30.0, 40.0, 263.0, 63.0)}, "more than the iron between"),
        ({"efficiency": 1.2}, "muons.efficiency must be from 0 to 1"),
        ({"layers": 1}, "muons.layers must be from 2"),
        ({"resolution_mm": (0.0, 1.0)}, "resolution_mm"),
        ({"material": "Iron"}, "no material"),
    ],
)
def test_impossible_stations(changed, words):
    with pytest.raises(UserError, match=words):
        dataclasses.replace(STATIONS, **changed)
