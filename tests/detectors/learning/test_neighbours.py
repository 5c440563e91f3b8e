"""What is near to a candidate: against a loop over all tracks and clusters of its event."""

from __future__ import annotations

import numpy as np
import pytest

from collider.detectors import DetectorEvents
from collider.detectors.learning.candidates import CandidateMaking, candidates_of
from collider.detectors.learning.columns import DETECTORS, LEAD_WIDTH, NEIGHBOUR_WIDTH
from collider.detectors.learning.data import CandidateDataModule
from collider.detectors.learning.linking import LINKING, linked
from collider.detectors.muons.config import MuonStations
from collider.detectors.tracking import Tracker

MOST = 16
MAKING = CandidateMaking(Tracker(), MuonStations(), LINKING, 30, MOST)
LEADS, MINE, ALONG, TURN, LOG_ENERGY, OWNER = 0, 1, -4, -3, -2, -1


@pytest.fixture(scope="module")
def found(part):
    return candidates_of(part, MAKING)


def objects_of(part):
    """η, φ, energy, event and whom it belongs to, of tracks and clusters, one by one."""
    tracks, clusters = part["tracks"], part["clusters"]
    owner = linked(part, LINKING, MAKING.stations, 3.8).cluster
    for i in range(len(tracks)):
        c, q = float(tracks["cot_theta"][i]), float(tracks["q_over_pt_per_gev"][i])
        there = np.isfinite(tracks["ecal_eta"][i])
        eta, phi = (
            (tracks["ecal_eta"][i], tracks["ecal_phi_rad"][i]) if there else (np.arcsinh(c), tracks["phi_rad"][i])
        )
        yield float(eta), float(phi), np.sqrt(1 + c**2) / abs(q), int(tracks.event[i]), i
    for i in range(len(clusters)):
        place = (float(clusters["eta"][i]), float(clusters["phi_rad"][i]))
        yield *place, float(clusters["energy_gev"][i]), int(clusters.event[i]), int(owner[i])


def away(one, other):
    turn = np.remainder(other[1] - one[1] + np.pi, 2 * np.pi) - np.pi
    return other[0] - one[0], turn


def test_tokens_are_the_candidates_own_then_the_nearest_by_a_loop(part, found):
    """Candidates are told apart by the energy that leads them; every number of place and energy by hand."""
    everything = list(objects_of(part))
    tokens = found.seen["neighbours"]
    assert tokens.counts.max() == MOST
    assert tokens.counts.min() < MOST  # an event with fewer
    for candidate in range(len(found)):
        seen = tokens.values[tokens.offsets[candidate] : tokens.offsets[candidate + 1]]
        first = seen[0]
        assert first[LEADS] == 1
        assert first[ALONG] == first[TURN] == first[OWNER] == 0
        assert seen[1:, LEADS].sum() == 0
        lead = min(
            (j for j, one in enumerate(everything) if one[3] == found.event[candidate] and one[4] == j),
            key=lambda j: abs(np.log(max(everything[j][2], 0.05)) - first[LOG_ENERGY]),
        )
        same = [j for j, one in enumerate(everything) if one[3] == found.event[candidate]]
        expected = sorted(
            same, key=lambda j: (everything[j][4] != lead, np.hypot(*away(everything[lead], everything[j])))
        )[:MOST]
        assert len(seen) == len(expected)
        for token, j in zip(seen, expected, strict=True):
            np.testing.assert_allclose(token[[ALONG, TURN]], away(everything[lead], everything[j]), atol=2e-5)
            assert token[LOG_ENERGY] == pytest.approx(np.log(max(everything[j][2], 0.05)), abs=1e-4)
            assert bool(token[MINE]) == (everything[j][4] == lead) == (token[OWNER] == 0)
        owners = [everything[j][4] for j in expected]
        same_owner = np.equal.outer(owners, owners)
        np.testing.assert_array_equal(np.equal.outer(seen[:, OWNER], seen[:, OWNER]), same_owner)


def test_what_tokens_are(part, found):
    """One kind each; a track is told its charge, a cluster its cells; what is not of its kind is 0."""
    values = found.seen["neighbours"].values
    assert values.shape[1] == NEIGHBOUR_WIDTH
    assert np.isfinite(values).all()
    kinds = values[:, 2:5]
    assert (kinds.sum(1) == 1).all()
    assert (kinds.sum(0) > 20).all()
    track = kinds[:, 0] == 1
    assert set(values[track, 5]) == {-1.0, 1.0}
    assert (values[~track, 5:9] == 0).all()
    assert (values[track, 9:14] == 0).all()
    assert (values[~track, 10] > 0).all()
    muons = found.numbers["muon_tokens"] > 0
    first = found.seen["neighbours"].offsets[:-1]
    np.testing.assert_array_equal(values[first, 8] > 0, muons)


def test_neighbours_do_not_depend_on_what_is_read_together(shots, found):
    events = DetectorEvents(shots)
    apart = [candidates_of(events[a:b], MAKING).seen["neighbours"].values for a, b in ((0, 7), (7, 36))]
    np.testing.assert_allclose(np.concatenate(apart), found.seen["neighbours"].values, atol=1e-6)


def test_an_input_holds_all_leads_and_then_neighbours(shots, found):
    data = CandidateDataModule(data=str(shots), inputs=("tracker", "neighbours"), least_gev=0.0, neighbours=MOST)
    rows = np.array([5, 0, len(data.records) - 1])
    values, lengths = data.records.inputs("neighbours", rows)
    assert values.shape == (3, len(DETECTORS) + MOST, NEIGHBOUR_WIDTH)
    for place, row in enumerate(rows):
        for kind, name in enumerate(DETECTORS):
            np.testing.assert_array_equal(values[place, kind, : LEAD_WIDTH[name]], found.seen[name].lead[row])
        tokens = found.seen["neighbours"]
        own = tokens.values[tokens.offsets[row] : tokens.offsets[row + 1]]
        assert lengths[place] == len(DETECTORS) + len(own)
        np.testing.assert_allclose(values[place, len(DETECTORS) : lengths[place]], own, atol=1e-6)
        assert (values[place, lengths[place] :] == 0).all()
    assert data.apparatus_facts()["neighbours"] == MOST
    assert data.records.inputs("tracker", rows)[1].max() > 5
