"""Particle flow of single particles, and of objects that are made up: nothing is lost, nothing counts twice."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collider.detectors.learning.candidates import matched_particles
from collider.detectors.learning.columns import CHARGED_HADRON, CLASSES, ELECTRON, MUON_CODE, NEUTRAL_HADRON, PHOTON
from collider.detectors.physics.config import Prompt
from collider.detectors.physics.flow import FlowParticles, by_rules, flow_of, made, true_flow
from collider.detectors.physics.jets import Jets, jets_of, nearest_jets
from collider.detectors.physics.objects import Objects, vertices_mm
from collider.detectors.physics.prompt import prompt_particles
from collider.detectors.physics.rules import FlowRules, Resolution, Response
from collider.detectors.physics.spoken import Spoken
from collider.detectors.schema import NONE
from collider.generation.jets import Clustering
from reconstruction.errors import UserError

RULES = FlowRules()


def test_single_particles_are_what_they_are(chain, shot_part, shot_objects):
    opinion = by_rules(shot_objects, RULES)
    true = true_flow(shot_part)
    particle = matched_particles(shot_part, shot_objects.heads, shot_objects.owner)
    there = particle >= 0
    said, kind = opinion.kind[shot_objects.heads[there]], true.kind[particle[there]]
    for code in (ELECTRON, PHOTON, MUON_CODE, CHARGED_HADRON):
        assert (kind == code).sum() >= 30
        assert (said[kind == code] == code).mean() > 0.9
    momentum = np.linalg.norm(true.momentum_gev[particle[there]], axis=1)
    ratio = opinion.momentum_gev[shot_objects.heads[there]] / momentum
    assert np.median(ratio) == pytest.approx(1, abs=0.01)


def test_energies_of_events_are_those_of_their_particles(shot_part, shot_objects):
    flow, true = flow_of(shot_objects, RULES, by_rules(shot_objects, RULES)), true_flow(shot_part)
    found, wanted = (np.bincount(one.event, one.energy_gev, len(shot_part)) for one in (flow, true))
    assert np.median(found / wanted) == pytest.approx(1, abs=0.04)
    assert (np.diff(flow.event) >= 0).all()


def test_vertices_are_the_middle_of_the_tracks(shot_part):
    """The twin sorts each event by itself."""
    tracks = shot_part["tracks"]
    for event, found in enumerate(vertices_mm(shot_part)):
        own = tracks.event == event
        heights, weights = tracks["z0_mm"][own].astype(float), tracks["q_over_pt_per_gev"][own].astype(float) ** -2
        order = np.argsort(heights)
        share = np.cumsum(weights[order]) / weights.sum()
        assert found == pytest.approx(heights[order][np.searchsorted(share, 0.5)], rel=1e-6)


# Made-up objects ----------------------------------------------------------------------------------------------------


def made_up(momenta, ecal, hcal, *, width=0.01, stations=0, linked=True) -> Objects:
    """Tracks in one direction, and one cluster in each calorimeter, all of one block or the clusters apart."""
    tracks, clusters = len(momenta), 2
    size = tracks + clusters
    own = tracks + np.arange(clusters)
    return Objects(
        tracks=tracks,
        event=np.zeros(size, dtype=np.int64),
        identity=np.arange(1, size + 1),
        direction=np.tile([1.0, 0.0, 0.0], (size, 1)),
        momentum_gev=np.array(momenta, dtype=np.float64),
        error_gev=0.01 * np.array(momenta, dtype=np.float64),
        charge=np.ones(tracks, dtype=np.int64),
        stations=np.full(tracks, stations),
        energy_gev=np.array([ecal, hcal], dtype=np.float64),
        width=np.full(clusters, width),
        of_ecal=np.array([True, False]),
        owner=np.zeros(clusters, dtype=np.int64) if linked else own,
        candidate=np.zeros(clusters, dtype=np.int64) if linked else own,
        block=np.zeros(size, dtype=np.int64) if linked else np.arange(size),
    )


def flow_by_rules(objects: Objects) -> FlowParticles:
    return flow_of(objects, RULES, by_rules(objects, RULES))


def total(flow: FlowParticles, *kinds: int) -> float:
    return float(flow.energy_gev[np.isin(flow.kind, kinds)].sum())


def test_what_a_hadron_leaves_is_no_second_particle():
    flow = flow_by_rules(made_up([20.0], 5.0, 8.0, width=0.02))
    assert flow.kind.tolist() == [CHARGED_HADRON]
    assert np.linalg.norm(flow.momentum_gev) == pytest.approx(20)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(1, 60), min_size=1, max_size=4), st.floats(0.5, 80), st.floats(0.5, 80))
def test_energy_beyond_the_tracks_is_neutral(momenta, ecal, hcal):
    """The twin in words of one block: H − Σp where it is more than the error, first a photon, then a neutral hadron."""
    objects = made_up(momenta, ecal, hcal, width=0.02)  # no electron is that wide
    flow = flow_by_rules(objects)
    energy = float(RULES.hadron_response.corrected(np.array(ecal + hcal)))
    excess = energy - sum(momenta)
    error = np.sqrt(sum(float(RULES.hadron_resolution.of(np.array(one))) ** 2 for one in momenta))
    photon = hadron = 0.0
    if excess > RULES.excess_sigma * error:
        photon = min(excess, float(RULES.photon_response.corrected(np.array(ecal))))
        hadron = excess - photon
    assert total(flow, PHOTON) == pytest.approx(photon if photon >= RULES.least_photon_gev else 0.0)
    assert total(flow, NEUTRAL_HADRON) == pytest.approx(hadron if hadron >= RULES.least_hadron_gev else 0.0)


def test_an_electron_that_radiated_leaves_a_photon():
    seen = 40.0 * 0.963
    flow = flow_by_rules(made_up([30.0], seen, 0.0))
    assert sorted(flow.kind.tolist()) == [ELECTRON, PHOTON]
    assert flow.energy_gev.sum() == pytest.approx(40, rel=0.01)
    alone = flow_by_rules(made_up([40.0], seen, 0.0))
    assert alone.kind.tolist() == [ELECTRON]


def test_a_muon_brings_its_own_energy():
    assert flow_by_rules(made_up([30.0], 0.3, 1.5, stations=3)).kind.tolist() == [MUON_CODE]
    busy = flow_by_rules(made_up([30.0], 0.3, 25.0, stations=3))
    assert busy.kind.tolist().count(NEUTRAL_HADRON) == 1


@pytest.mark.parametrize(("width", "kind"), [(0.01, PHOTON), (0.02, NEUTRAL_HADRON)])
def test_clusters_without_a_track_are_neutral(width, kind):
    objects = made_up([], 20.0, 0.1, width=width, linked=False)
    kinds = flow_by_rules(objects).kind.tolist()
    assert kinds == [kind]


def says(identity, kind=NONE, momentum_gev=np.nan, untracked_gev=np.nan):
    """What a network says of one object."""
    chances = np.full((1, len(CLASSES)), np.nan)
    held, judged = np.ones((1, 3), bool), np.ones(1, bool)
    momenta = np.array([momentum_gev]), np.array([untracked_gev])
    return Spoken(np.array([identity]), np.array([kind]), chances, *momenta, held, judged, ("one",))


def test_others_say_who_is_what_and_how_hard(shot_objects):
    rules = by_rules(shot_objects, RULES)
    found = says(shot_objects.identity[0], MUON_CODE, 33.0).opinion(shot_objects, RULES)
    assert (found.kind[0], found.momentum_gev[0]) == (MUON_CODE, 33.0)
    np.testing.assert_array_equal(found.kind[1:], rules.kind[1:])
    np.testing.assert_array_equal(found.momentum_gev[1:], rules.momentum_gev[1:])
    flow = flow_of(shot_objects, RULES, found)
    row = flow.source == 0
    assert np.linalg.norm(flow.momentum_gev[row][0]) == pytest.approx(33)


def test_a_track_that_is_told_to_be_a_photon_has_no_charge():
    objects = made_up([20.0], 5.0, 8.0, width=0.02)
    photon = says(objects.identity[0], PHOTON).opinion(objects, RULES)
    flow = flow_of(objects, RULES, photon)
    assert flow.charge[flow.source == 0].tolist() == [0]
    assert flow_by_rules(objects).charge.tolist() == [1]


def test_another_kind_has_the_energy_of_that_kind():
    objects = made_up([], 20.0, 0.1, width=0.02, linked=False)
    assert by_rules(objects, RULES).kind[0] == NEUTRAL_HADRON
    photon = says(objects.identity[0], PHOTON).opinion(objects, RULES)
    assert photon.kind[0] == PHOTON
    assert photon.momentum_gev[0] == pytest.approx(float(RULES.photon_response.corrected(np.array(20.0))))


def test_of_whom_a_network_is_silent_the_rules_speak(shot_objects):
    found = says(12345, PHOTON, 5.0).opinion(shot_objects, RULES)
    rules = by_rules(shot_objects, RULES)
    np.testing.assert_array_equal(found.kind, rules.kind)
    np.testing.assert_array_equal(found.momentum_gev, rules.momentum_gev)


@settings(max_examples=30, deadline=None)
@given(st.floats(2, 60), st.floats(0.5, 80), st.floats(0.5, 80), st.floats(0, 90))
def test_energy_that_is_said_to_be_without_a_track_stands_beside_the_track(momentum, ecal, hcal, untracked):
    """What the clusters hold beyond the track is what is said, whatever the rules would make of it."""
    objects = made_up([momentum], ecal, hcal, width=0.02)
    flow = flow_of(objects, RULES, says(objects.identity[0], untracked_gev=untracked).opinion(objects, RULES))
    kind, least = (PHOTON, RULES.least_photon_gev) if ecal > hcal else (NEUTRAL_HADRON, RULES.least_hadron_gev)
    assert total(flow, CHARGED_HADRON) == pytest.approx(np.hypot(momentum, 0.13957))
    assert total(flow, kind) == pytest.approx(untracked if untracked >= least else 0)
    assert len(flow) == 1 + (untracked >= least)


def test_clusters_of_a_candidate_that_is_told_are_no_particles_of_their_own():
    """Narrow and some way from its track it is a photon by rules; it is in what is said of the track's candidate."""
    objects = made_up([20.0], 8.0, 0.2)
    objects = dataclasses.replace(objects, owner=np.array([1, 0]), block=np.array([0, 1, 0]))
    assert sorted(flow_by_rules(objects).kind.tolist()) == [PHOTON, CHARGED_HADRON]
    told = says(objects.identity[0], untracked_gev=9.0).opinion(objects, RULES)
    assert total(flow_of(objects, RULES, told), PHOTON) == pytest.approx(9)


def test_clusters_without_a_track_have_the_energy_that_is_said():
    objects = made_up([], 20.0, 0.1, linked=False)
    told = says(objects.identity[0], untracked_gev=31.0).opinion(objects, RULES)
    flow = flow_of(objects, RULES, told)
    assert flow.kind.tolist() == [PHOTON]
    assert flow.energy_gev.sum() == pytest.approx(31)


def test_an_electron_of_which_it_is_told_radiates_what_is_said():
    objects = made_up([30.0], 40.0 * 0.963, 0.0)
    flow = flow_of(objects, RULES, says(objects.identity[0], untracked_gev=3.0).opinion(objects, RULES))
    assert total(flow, PHOTON) == pytest.approx(3)


# Jets, leptons ------------------------------------------------------------------------------------------------------


def test_jets_of_a_flow_are_its_particles(random):
    axes = np.array([[30, 0, 5]] * 4 + [[-25, 2, 0]] * 3)
    momenta = axes + random.normal(0, 1, (7, 3))
    kinds = np.array([CHARGED_HADRON] * 4 + [PHOTON] * 3)
    zero = np.zeros(7, dtype=np.int64)
    flow = made(zero + 1, kinds, zero, momenta, np.arange(7))
    jets = jets_of(flow, 3, Clustering())
    assert jets.event.tolist() == [1, 1]
    np.testing.assert_allclose(jets.vector[0, 1:], momenta[:4].sum(axis=0), rtol=1e-6)
    assert jets.lonely[0] == 0
    assert 0.2 < jets.lonely[1] < 0.5


def test_a_true_jet_has_one_partner():
    def jets(*angles):
        phi = np.array(angles)
        vector = np.stack([np.full(len(phi), 50.0), 50 * np.cos(phi), 50 * np.sin(phi), 0 * phi], axis=1)
        return Jets(np.zeros(len(phi), dtype=np.int64), vector, np.zeros(len(phi)))

    found = nearest_jets(jets(0.0, 0.15, 2.0, -3.1), jets(0.1, 3.1, 1.0), 0.2)
    assert found.tolist() == [-1, 0, -1, 1]


def test_leptons_are_dressed_and_isolated():
    cuts = Prompt()
    zero = np.zeros(6, dtype=np.int64)
    kinds = np.array([MUON_CODE, PHOTON, ELECTRON, CHARGED_HADRON, PHOTON, PHOTON])
    momenta = np.array([[40, 0, 0], [5, 0.1, 0], [0, 30, 0], [0, 20, 1], [-50, 0, 0], [0.0, -10, 0]], dtype=np.float64)
    found = prompt_particles(made(zero, kinds, zero, momenta, np.arange(6)), cuts)
    assert found.kind.tolist() == [PHOTON, MUON_CODE]  # the electron is in a jet, the last photon soft
    assert found.pt_gev[1] == pytest.approx(45, abs=0.01)


# Rules --------------------------------------------------------------------------------------------------------------


def test_a_response_is_undone():
    response = RULES.hadron_response
    energy = np.array(response.energy_gev)
    np.testing.assert_allclose(response.corrected(energy * np.array(response.response)), energy)
    assert np.all(np.diff(response.corrected(np.linspace(0.1, 300, 500))) > 0)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"muon_stations": 0}, "muon_stations must be from 1 to 4"),
        ({"electron_e_over_p": (2.0, 1.0)}, "a smallest and a larger largest"),
        ({"excess_sigma": float("nan")}, "excess_sigma must be"),
    ],
)
def test_rules_that_mean_nothing_are_refused(wrong, words):
    with pytest.raises(UserError, match=words):
        dataclasses.replace(RULES, **wrong)


def test_responses_and_resolutions_that_mean_nothing_are_refused():
    with pytest.raises(UserError, match="must rise"):
        Response((1.0, 2.0), (0.9, 0.1))
    with pytest.raises(UserError, match="one energy or more"):
        Response((1.0, 2.0), (0.9,))
    with pytest.raises(UserError, match="resolution"):
        Resolution(-1.0)
