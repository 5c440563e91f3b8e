"""What belongs together, what is true of it, and which numbers networks are shown: against loops and formulae."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collider.detectors import DetectorEvents
from collider.detectors.events import EventSlice, RaggedTable
from collider.detectors.helix import Helices
from collider.detectors.learning.candidates import CandidateMaking, candidates_of, matched_particles
from collider.detectors.learning.columns import CLASSES, IDENTITY, KALMAN, KALMAN_ERROR, TRACK_BOUND, UNTRACKED
from collider.detectors.learning.linking import (
    LINKING,
    Linking,
    angles,
    at_stations,
    linked,
    nearest_of,
    perigees,
    places_of,
)
from collider.detectors.learning.tokens import Tokens, momentum_errors, segment_momentum
from collider.detectors.learning.untracked import untracked_gev
from collider.detectors.muons.config import MuonStations
from collider.detectors.schema import NONE
from collider.detectors.tracking import Tracker
from collider.detectors.tracking.perigee import momentum_of
from reconstruction.errors import UserError

MAKING = CandidateMaking(Tracker(), MuonStations(), LINKING, 30)


@pytest.fixture(scope="module")
def found(part):
    return candidates_of(part, MAKING)


def far(eta, phi, other_eta, other_phi):
    return np.hypot(eta - other_eta, np.remainder(phi - other_phi + np.pi, 2 * np.pi) - np.pi)


# Linking ------------------------------------------------------------------------------------------------------------


def test_clusters_belong_to_the_nearest_track_else_lead_or_stand_behind_another(part):
    """Every cluster by a loop over all that is near."""
    links = linked(part, LINKING, MAKING.stations, 3.8)
    tracks, clusters = part["tracks"], part["clusters"]
    eta, phi = clusters["eta"], clusters["phi_rad"].astype(float)
    for cluster, (event, kind) in enumerate(zip(clusters.event, clusters["detector"], strict=True)):
        limit = LINKING.hcal_distance if kind else LINKING.ecal_distance
        same = np.flatnonzero((tracks.event == event) & np.isfinite(tracks["ecal_eta"]))
        away = far(eta[cluster], phi[cluster], tracks["ecal_eta"][same], tracks["ecal_phi_rad"][same].astype(float))
        expected = len(tracks) + cluster
        if len(same) and away.min() < limit:
            expected = same[away.argmin()]
        elif kind:
            ecal = np.flatnonzero((clusters.event == event) & (clusters["detector"] == 0))
            ecal = ecal[links.cluster[ecal] == len(tracks) + ecal]
            away = far(eta[cluster], phi[cluster], eta[ecal], phi[ecal])
            if len(ecal) and away.min() < LINKING.cluster_distance:
                expected = len(tracks) + ecal[away.argmin()]
        assert links.cluster[cluster] == expected
    assert links.leads[: len(tracks)].all()
    assert (links.cluster < len(tracks)).sum() > 36
    assert links.leads[links.cluster].all()


def test_segments_belong_to_the_tracks_of_their_muons(part):
    links = linked(part, LINKING, MAKING.stations, 3.8)
    segments, tracks = part["segments"], part["tracks"]
    of_muon = np.flatnonzero(np.abs(part["particles"]["pdg_id"][segments.place(part["particles"], "particle")]) == 13)
    owner = links.segment[of_muon]
    assert (owner != NONE).mean() > 0.9
    there = owner != NONE
    right = tracks["particle"][owner[there]] == segments["particle"][of_muon[there]]
    assert (right & (tracks.event[owner[there]] == segments.event[of_muon[there]])).mean() > 0.95
    none = linked(part, dataclasses.replace(LINKING, muon_distance=0.0, muon_distance_gev=0.0), MAKING.stations, 3.8)
    assert (none.segment == NONE).all()


def test_a_track_behind_the_coil_goes_straight_on():
    parameters = np.array([[0.05, 0.3, 0.4, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0, 0.0]])
    places = at_stations(parameters, MuonStations(), 3.8)
    assert np.isnan(places[1]).all()  # a looper
    steps = np.diff(places[0], axis=0)
    ways = steps / np.linalg.norm(steps, axis=1, keepdims=True)
    np.testing.assert_allclose(ways, ways[:1].repeat(3, axis=0), atol=1e-9)
    np.testing.assert_allclose(np.hypot(*places[0, :, :2].T), MuonStations().radius_mm)


def test_cuts_are_distances():
    with pytest.raises(UserError, match="ecal_distance"):
        Linking(ecal_distance=-1.0)


# Truth --------------------------------------------------------------------------------------------------------------


def test_a_particle_is_the_truth_of_one_candidate(part, found):
    numbers = found.numbers
    assert len(np.unique(numbers["event_id"])) == len(found)
    keys = np.stack([found.event, numbers["pdg_id"], numbers["momentum_gev"]], axis=1)
    assert len(np.unique(keys, axis=0)) == len(found)
    # of 36 shots of each kind nearly all are found, charged ones by their tracks
    for name, least in (("electron", 30), ("photon", 30), ("muon", 33), ("charged_hadron", 60)):
        own = numbers[IDENTITY] == CLASSES[name]
        assert least <= own.sum() <= (72 if name == "charged_hadron" else 36)
        assert np.isfinite(numbers[KALMAN][own]).mean() > 0.9 or name == "photon"
    assert np.isnan(numbers[KALMAN][numbers[IDENTITY] == 22]).all()


def test_a_particle_is_the_truth_of_the_candidate_that_holds_most_of_it(part):
    """The twin goes through particles and clusters one by one."""
    links = linked(part, LINKING, MAKING.stations, 3.8)
    tracks, clusters, particles = part["tracks"], part["clusters"], part["particles"]
    found = matched_particles(part, np.arange(len(links.leads)), links.cluster)
    of_track, of_cluster = tracks.place(particles, "particle"), clusters.place(particles, "particle")
    left = clusters["energy_gev"] * clusters["particle_share"]
    held: dict[int, dict[int, float]] = {}
    for cluster in np.flatnonzero(of_cluster >= 0):
        own = held.setdefault(int(of_cluster[cluster]), {})
        owner = int(links.cluster[cluster])
        own[owner] = own.get(owner, 0.0) + float(left[cluster])
    tracked = set(of_track[tracks["purity"] >= 0.75].tolist())
    checked = 0
    for particle, own in held.items():
        home = max(own, key=own.__getitem__)
        others = max(other.get(home, 0.0) for other in held.values())
        mine = particle not in tracked and home >= len(tracks) and own[home] == others
        assert (found[len(tracks) :] == particle).sum() == mine
        assert not mine or found[home] == particle
        checked += mine
    assert checked > 30


@pytest.mark.parametrize(
    ("owner", "wanted"),
    [([1, 2], [NONE, NONE, 1]), ([1, 0], [NONE, NONE, NONE]), ([0, 2], [NONE, NONE, 1])],
    ids=["two clusters", "most beside the track", "a splinter beside the track"],
)
def test_a_splinter_is_not_the_particle(owner, wanted):
    """A track without a particle, and two clusters of one neutral hadron, of which one may be the track's."""
    energies = np.array([1.0, 9.0])

    def table(name, **columns):
        return RaggedTable(name, np.array([0, len(next(iter(columns.values())))]), columns)

    tables = {
        "particles": table("particles", pdg_id=np.array([211, 130])),
        "tracks": table("tracks", particle=np.array([NONE]), purity=np.array([0.0]), hits=np.array([9])),
        "clusters": table("clusters", particle=np.array([1, 1]), energy_gev=energies, particle_share=np.ones(2)),
    }
    found = matched_particles(EventSlice({}, tables), np.arange(3), np.array(owner))
    assert found.tolist() == wanted


def test_energy_without_a_track_is_divided_as_it_was_left(part):
    """The twin goes through the cells one by one; no energy is made."""
    links = linked(part, LINKING, MAKING.stations, 3.8)
    clusters, particles, count = part["clusters"], part["particles"], len(links.leads)
    found = untracked_gev(part, links.cluster, count)
    tracked = set(part["tracks"].place(particles, "particle").tolist())
    left: dict[int, dict[int, float]] = {}
    for name in ("ecal_cells", "hcal_cells"):
        cells = part[name]
        cluster, particle = cells.place(clusters, "cluster"), cells.place(particles, "particle")
        for cell in np.flatnonzero((cluster >= 0) & (particle >= 0)):
            if int(particle[cell]) not in tracked and abs(particles["pdg_id"][particle[cell]]) != 13:
                own, owner = left.setdefault(int(particle[cell]), {}), int(links.cluster[cluster[cell]])
                own[owner] = own.get(owner, 0.0) + float(cells["deposited_gev"][cell])
    wanted = np.zeros(count)
    for particle, own in left.items():
        momentum2 = sum(float(particles[f"p{axis}_gev"][particle]) ** 2 for axis in "xyz")
        energy = np.sqrt(momentum2 + float(particles["mass_gev"][particle]) ** 2)
        for owner, gev in own.items():
            wanted[owner] += energy * gev / sum(own.values())
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    photons = particles["pdg_id"] == 22
    assert found.sum() > 0.9 * sum(particles[f"p{axis}_gev"][photons] ** 2 for axis in "xyz").sum() ** 0.5


def test_candidates_without_a_truth_have_energy_without_a_track(part, found):
    every = candidates_of(part, dataclasses.replace(MAKING, untracked=True))
    assert len(every) > len(found)
    assert set(found.numbers["event_id"]) < set(every.numbers["event_id"])
    assert UNTRACKED in every.numbers
    assert IDENTITY not in every.numbers


def test_what_detectors_say_is_near_to_the_truth(found):
    numbers, true = found.numbers, found.numbers["momentum_gev"]
    track = np.isfinite(numbers[KALMAN])
    pulls = (numbers[KALMAN] - true)[track] / numbers[KALMAN_ERROR][track]
    assert 0.75 < np.quantile(np.abs(pulls), 0.6827) < 1.3
    over = numbers[KALMAN_ERROR][track] / numbers[TRACK_BOUND][track]
    assert abs(np.median(over) - 1) < 0.06
    light = np.isin(numbers[IDENTITY], (11, 22)) & (true > 10)
    assert abs(np.median(numbers["ecal_sum_gev"][light] / true[light]) - 1) < 0.06
    muon = numbers["muon_tokens"] > 0
    assert (numbers[IDENTITY][muon] == 13).mean() > 0.9
    assert abs(np.median(numbers["segment_momentum_gev"][muon] / true[muon]) - 1) < 0.25


def test_without_particles_all_candidates_are_there_and_none_has_a_truth(part, found):
    bare = dataclasses.replace(part, tables={n: t for n, t in part.tables.items() if n != "particles"})
    made = candidates_of(bare, MAKING)
    assert len(made) >= len(found)
    assert "momentum_gev" not in made.numbers
    assert np.isin(found.numbers["event_id"], made.numbers["event_id"]).all()


def test_identities_do_not_depend_on_what_is_read_together(shots, found):
    events = DetectorEvents(shots)
    apart = [candidates_of(events[a:b], MAKING).numbers["event_id"] for a, b in ((0, 7), (7, 36))]
    np.testing.assert_array_equal(np.concatenate(apart), found.numbers["event_id"])


# Tokens -------------------------------------------------------------------------------------------------------------


def test_tokens_of_a_track_are_its_hits_near_the_fitted_helix(part, found):
    seen = found.seen["tracker"]
    track = np.isfinite(found.numbers[KALMAN])
    assert (seen.counts[~track] == 0).all()
    assert set(seen.counts[track]) <= set(part["tracks"]["hits"].tolist())
    for one in np.flatnonzero(track)[:20]:
        values = seen.values[seen.offsets[one] : seen.offsets[one + 1]]
        assert (np.diff(values[:, 0]) > 0).all()  # outward
    innermost = seen.values[seen.values[:, 0] < 0.05]
    assert np.quantile(np.abs(np.sinh(innermost[:, 3])), 0.68) < 1.5  # in units of the error


def test_tokens_of_calorimeters_are_the_largest_cells(part, found):
    for name in ("ecal", "hcal"):
        seen, energy = found.seen[name], found.numbers[f"{name}_sum_gev"]
        shares = np.array(
            [(seen.values[a:b, 3] ** 2).sum() for a, b in zip(seen.offsets, seen.offsets[1:], strict=False)]
        )
        there = seen.counts > 0
        assert (np.isfinite(energy) == there).all()
        assert (shares[there] <= 1 + 1e-5).all()
        assert np.median(shares[there]) > 0.95
        falls = [
            np.diff(seen.values[a:b, 2]).max(initial=0) for a, b in zip(seen.offsets, seen.offsets[1:], strict=False)
        ]
        assert max(falls) <= 1e-6
        assert seen.counts.max() <= 30


@settings(max_examples=40)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.integers(1, 4), st.data())
def test_padding_is_that_of_a_loop(counts, most, data):
    offsets = np.concatenate([[0], np.cumsum(counts)])
    values = np.arange(1, 1 + 2 * offsets[-1], dtype=np.float32).reshape(-1, 2)
    lead = np.arange(len(counts), dtype=np.float32)[:, None] + 0.5
    tokens = Tokens(lead, values, offsets)
    rows = np.array(data.draw(st.lists(st.integers(0, len(counts) - 1), max_size=6)), dtype=np.int64)
    padded, lengths = tokens.of(rows).padded(most)
    assert padded.shape == (len(rows), most, 2)
    for place, row in enumerate(rows):
        own = values[offsets[row] : offsets[row + 1]][:most]
        expected = np.zeros((most, 2), np.float32)
        expected[: len(own)] = own
        np.testing.assert_array_equal(padded[place], expected)
        assert lengths[place] == len(own)


def test_errors_of_momenta_are_those_of_small_steps():
    parameters = np.array([[0.1, 0.3, 0.8, 0.0, 0.0], [-0.4, 1.0, -2.0, 0.1, 3.0]])
    step = np.zeros((2, 5, 5))
    for k in range(5):
        there = np.eye(5)[k] * 1e-6
        step[:, k, k] = (momentum_of(parameters + there) - momentum_of(parameters - there)) / 2e-6
    gradient = np.einsum("tkk->tk", step)
    random = np.random.default_rng(0).standard_normal((2, 5, 5))
    covariance = 1e-4 * random @ np.swapaxes(random, 1, 2)
    expected = np.sqrt(np.einsum("ti,tij,tj->t", gradient, covariance, gradient))
    np.testing.assert_allclose(momentum_errors(parameters, covariance), expected, rtol=1e-6)


@settings(max_examples=40)
@given(st.floats(4.0, 200.0), st.floats(0.01, 0.9), st.sampled_from([-1, 1]))
def test_the_momentum_of_a_segment_is_that_of_a_helix_and_a_straight_line(pt, eta, sign):
    """Without the iron's field and scattering the formula is exact where a track leaves through the barrel."""
    stations, phi = MuonStations(), 0.7
    momentum = pt * np.array([[np.cos(phi), np.sin(phi), np.sinh(eta)]])
    coil = Helices.of(momentum, np.zeros((1, 3)), np.array([sign])).at_cylinder(
        stations.coil_radius_mm, stations.coil_half_length_mm
    )
    there = Helices(coil.position_mm, coil.direction, np.zeros(1)).at_cylinder(4200.0, 6900.0)
    (_, at), (slope, to) = angles(there.position_mm), angles(there.direction)
    found = segment_momentum(there.position_mm, np.sin(to - at), slope, stations, 3.8)
    assert found[0] == pytest.approx(min(pt * np.cosh(eta), 300.0), rel=1e-3)


def test_perigees_come_back(part):
    tracks = part["tracks"]
    np.testing.assert_allclose(np.abs(perigees(tracks)[:, 0]), np.abs(tracks["q_over_pt_per_gev"]), rtol=1e-6)


def test_of_two_that_are_equally_near_it_is_the_first():
    """Whatever else is in the same search: steps of 2⁻¹⁶, in which directions are stored, make many such pairs."""
    random, step = np.random.default_rng(1), 2.0**-6
    eta, phi = (random.integers(1, 9, 300) * step for _ in range(2))
    event = np.arange(300)
    places = places_of(eta, phi, event)
    sides = [places_of(eta + one * step, phi, event) for one in (1, -1)]
    among = np.concatenate(sides)[random.permutation(600)]
    found = nearest_of(places, among, 0.4)
    for one, row in zip(places, found, strict=True):
        away = np.hypot(among[:, 0] - one[0], among[:, 1] - one[1]) + np.abs(among[:, 2] - one[2])
        assert row == np.flatnonzero(away == away.min())[0]
