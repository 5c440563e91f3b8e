"""Jets, smearing, objects and selections, each against a loop that takes its time."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from collisions import needed
from hypothesis import given, settings
from hypothesis import strategies as st

from collider.generation import (
    PERFECT,
    CalorimeterBin,
    Clustering,
    Cuts,
    Detector,
    Leptons,
    Selection,
    TrackBin,
    Wanted,
    cluster,
    final,
    heavy_hadrons,
    reconstruct,
    smeared,
)
from collider.generation.selection import pair_masses
from reconstruction.errors import UserError
from reconstruction.random.keyed import KeyedRandom

ak = needed("awkward")
pytestmark = pytest.mark.usefixtures("wheels")


def keyed(events, first=0):
    return KeyedRandom(4, 0, torch.arange(first, first + events))


# Jets ---------------------------------------------------------------------------------------------------------------


def anti_kt(momenta, radius):
    """All jets of the inclusive algorithm by its definition (JHEP 04 (2008) 063, eqs. 1 and 2), in rapidity and φ."""
    groups = [(list(map(float, p)), {i}) for i, p in enumerate(momenta)]
    jets = []
    while groups:
        facts = []
        for (px, py, pz, e), _ in groups:
            facts.append((px**2 + py**2, 0.5 * math.log((e + pz) / (e - pz)), math.atan2(py, px)))
        best = min((1 / facts[i][0], i, i) for i in range(len(groups)))
        for i, j in itertools.combinations(range(len(groups)), 2):
            dphi = (facts[i][2] - facts[j][2] + math.pi) % (2 * math.pi) - math.pi
            distance = ((facts[i][1] - facts[j][1]) ** 2 + dphi**2) / radius**2
            best = min(best, (min(1 / facts[i][0], 1 / facts[j][0]) * distance, i, j))
        _, i, j = best
        if i == j:
            jets.append(groups.pop(i))
        else:
            second, first = groups.pop(j), groups.pop(i)
            groups.append(([a + b for a, b in zip(first[0], second[0], strict=True)], first[1] | second[1]))
    return sorted(jets, key=lambda jet: -math.hypot(*jet[0][:2]))


def test_batches_of_jets_are_those_of_the_definition(tops):
    particles = final(tops)[:4]
    particles = particles[ak.argsort(np.hypot(particles.px, particles.py), axis=1, ascending=False)][:, :60]
    found = cluster(particles, Clustering(pt_gev=20.0, eta=20.0))
    for event, jets in zip(particles.to_list(), found.to_list(), strict=True):
        slow = anti_kt([(p["px"], p["py"], p["pz"], p["energy"]) for p in event], 0.4)
        hard = [jet for jet in slow if math.hypot(*jet[0][:2]) >= 20]
        assert [set(jet["constituents"]) for jet in jets] == [members for _, members in hard]
        for jet, ((px, py, pz, e), members) in zip(jets, hard, strict=True):
            assert jet["pt"] == pytest.approx(math.hypot(px, py))
            assert jet["eta"] == pytest.approx(math.asinh(pz / math.hypot(px, py)))
            assert jet["mass"] == pytest.approx(math.sqrt(max(e * e - px * px - py * py - pz * pz, 0)), abs=1e-4)
            assert jet["charge"] == sum(event[i]["charge"] for i in members)


def test_events_without_particles_have_no_jets(tops):
    particles = final(tops)
    some = ak.concatenate([particles[:2], particles[2:3, :0], particles[3:4]])
    counts = ak.num(cluster(some, Clustering())).to_list()
    assert counts[2] == 0
    assert counts[0] == len(cluster(particles[:1], Clustering())[0])
    assert ak.num(cluster(particles[:3, :0], Clustering())).to_list() == [0, 0, 0]
    assert set(cluster(particles[:3, :0], Clustering()).fields) == set(cluster(particles[:1], Clustering()).fields)


def test_fastjet_prints_nothing(tops, capfd, monkeypatch):
    monkeypatch.setattr("collider.generation.jets._greeted", False)
    cluster(final(tops)[:2], Clustering())
    assert capfd.readouterr().out == ""


# Smearing -----------------------------------------------------------------------------------------------------------


def shot(code, momentum_gev, eta, number=4000):
    """Events of one particle each, of the same momentum and pseudorapidity."""
    pt = momentum_gev / math.cosh(eta)
    columns = {"px": pt, "py": 0.0, "pz": pt * math.sinh(eta), "mass": 0.0, "energy": momentum_gev}
    columns |= {"pdg_id": code, "charge": {211: 1, 13: -1, 11: -1, 22: 0, 130: 0}[code], "prompt": True}
    return ak.unflatten(ak.zip({name: np.full(number, value) for name, value in columns.items()}), 1)


@pytest.mark.parametrize(
    ("code", "momentum_gev", "eta", "sigma", "found"),
    [
        (211, 100.0, 0.0, math.hypot(0.01, 1.5e-4 * 100), 0.95),
        (13, 50.0, 1.2, math.hypot(0.015, 1.5e-4 * 50 / math.cosh(1.2)), 1.0),
        (22, 20.0, 0.3, math.sqrt(0.008**2 + 0.11**2 / 20 + (0.4 / 20) ** 2), 1.0),
        (11, 40.0, 2.0, math.sqrt(0.008**2 + 0.11**2 / 40 + (0.4 / 40) ** 2), 1.0),
        (130, 100.0, 1.0, math.sqrt(0.05**2 + 1.5**2 / 100), 1.0),
    ],
)
def test_widths_are_those_of_the_formulae(code, momentum_gev, eta, sigma, found):
    seen = smeared(shot(code, momentum_gev, eta), Detector(), keyed(4000))
    assert ak.sum(ak.num(seen)) / 4000 == pytest.approx(found, abs=0.02)
    energies = ak.flatten(seen.energy).to_numpy() / momentum_gev
    assert energies.mean() == pytest.approx(1, abs=4 * sigma / 60)
    assert energies.std() == pytest.approx(sigma, rel=0.06)
    phi = np.arctan2(ak.flatten(seen.py).to_numpy(), ak.flatten(seen.px).to_numpy())
    assert phi.std() == pytest.approx(0.01 if code in (22, 130) else 0, rel=0.06)


def test_beyond_the_last_bin_nothing_is_seen():
    assert ak.sum(ak.num(smeared(shot(13, 100.0, 2.45, 50), Detector(), keyed(50)))) == 0
    assert ak.sum(ak.num(smeared(shot(211, 0.3, 0.0, 50), Detector(), keyed(50)))) == 0
    assert ak.sum(ak.num(smeared(shot(130, 80.0, 4.0, 50), Detector(), keyed(50)))) > 40


def test_a_perfect_detector_changes_nothing(tops):
    particles = final(tops)
    eta = np.arcsinh(particles.pz / np.hypot(particles.px, particles.py))
    seen = smeared(particles, PERFECT, keyed(len(particles)))
    expected = particles[abs(eta) <= 5]
    for name in ("px", "py", "pz", "energy"):
        np.testing.assert_allclose(ak.flatten(seen[name]), ak.flatten(expected[name]), rtol=1e-6, atol=1e-6)
    assert ak.all(seen.identified[abs(seen.pdg_id) == 13] == 13)


def test_an_event_draws_its_own_numbers(tops):
    """Whatever events are beside it."""
    particles = final(tops)
    together = smeared(particles, Detector(), keyed(60))
    apart = ak.concatenate([smeared(particles[i : i + 20], Detector(), keyed(20, i)) for i in (0, 20, 40)])
    assert ak.array_equal(together.px, apart.px)
    assert not ak.array_equal(together.px, smeared(particles, Detector(), keyed(60, 1)).px)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tracks": ()}, "detector.tracks must be bins of growing eta"),
        ({"ecal": (CalorimeterBin(2, 0, 0, 0), CalorimeterBin(1, 0, 0, 0))}, "bins of growing eta"),
        ({"muons": (TrackBin(2, -0.1, 0),)}, "constant must be in its range"),
        ({"muons": (TrackBin(2, 0.1, 0, 1.5),)}, "efficiency must be in its range"),
        ({"b_tag": 1.2}, "detector.b_tag is a share from 0 to 1"),
        ({"angle_rad": -1.0}, "detector.angle_rad must be 0 or more"),
    ],
)
def test_a_detector_that_cannot_be_is_one_sentence(values, message):
    with pytest.raises(UserError, match=message):
        Detector(**values)


# Objects ------------------------------------------------------------------------------------------------------------


def test_objects_are_those_of_a_loop(tops):
    """Leptons by their isolation, and missing momentum; a detector without flaws, so that truth is known."""
    leptons = Leptons(isolation=0.3)
    seen = reconstruct(tops, PERFECT, leptons, Clustering(), keyed(60))
    particles = smeared(final(tops), PERFECT, keyed(60)).to_list()
    kept = rejected = 0
    for event, made in zip(particles, seen.to_list(), strict=True):
        facts = [(math.hypot(p["px"], p["py"]), math.atan2(p["py"], p["px"]), p) for p in event]
        facts = [(pt, phi, math.asinh(p["pz"] / pt), p) for pt, phi, p in facts]
        limit = {11: 2.5, 13: 2.4}
        is_lepton = [
            abs(p["pdg_id"]) in limit and pt >= 10 and abs(eta) <= limit[abs(p["pdg_id"])] for pt, _, eta, p in facts
        ]
        expected = []
        for (pt, phi, eta, p), lepton in zip(facts, is_lepton, strict=True):
            if not lepton:
                continue
            around = 0.0
            for (other_pt, other_phi, other_eta, _), other in zip(facts, is_lepton, strict=True):
                dphi = (phi - other_phi + math.pi) % (2 * math.pi) - math.pi
                if not other and math.hypot(eta - other_eta, dphi) < 0.3:
                    around += other_pt
            if around / pt <= 0.3:
                expected.append((pt, abs(p["pdg_id"]), p["charge"], around / pt, p["prompt"]))
            kept, rejected = kept + (around / pt <= 0.3), rejected + (around / pt > 0.3)
        found = [o for o in made["objects"] if o["kind"] != 1]
        assert [(o["kind"], o["charge"], o["prompt"]) for o in found] == [
            (kind, charge, prompt) for _, kind, charge, _, prompt in sorted(expected, reverse=True)
        ]
        np.testing.assert_allclose(
            [o["isolation"] for o in found], [e[3] for e in sorted(expected, reverse=True)], atol=1e-9
        )
        missing = math.hypot(sum(p["px"] for p in event), sum(p["py"] for p in event))
        assert made["missing_pt"] == pytest.approx(missing)
    assert kept > 10
    assert rejected > 10


def test_tags_follow_the_hadrons(tops):
    seen = reconstruct(tops, PERFECT, Leptons(), Clustering(), keyed(60))
    jets = seen.objects[seen.objects.kind == 1]
    assert ak.array_equal(jets.b_tag, jets.flavour == 5)
    for event, hadrons in zip(jets.to_list(), heavy_hadrons(tops).to_list(), strict=True):
        for jet in event:
            flavours = [0]
            for hadron in hadrons:
                pt = math.hypot(hadron["px"], hadron["py"])
                dphi = (math.atan2(hadron["py"], hadron["px"]) - jet["phi"] + math.pi) % (2 * math.pi) - math.pi
                if pt >= 5 and math.hypot(math.asinh(hadron["pz"] / pt) - jet["eta"], dphi) < 0.4:
                    flavours.append(hadron["flavour"])
            assert jet["flavour"] == max(flavours)
    assert 0.7 < ak.mean(ak.sum(jets.b_tag, axis=1)) / 2 <= 1.2
    coarse = dataclasses.replace(PERFECT, b_tag=0.5, light_tag=0.1)
    tagged = reconstruct(tops, coarse, Leptons(), Clustering(), keyed(60)).objects
    tagged = tagged[tagged.kind == 1]
    for flavour, share in ((5, 0.5), (0, 0.1)):
        chosen = ak.flatten(tagged.b_tag[tagged.flavour == flavour]).to_numpy()
        assert chosen.mean() == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / len(chosen)))


# Selection ----------------------------------------------------------------------------------------------------------

KINDS = st.sampled_from([11, 13, 1])
OBJECT = st.tuples(
    KINDS, st.floats(5, 100), st.floats(-2, 2), st.floats(-3, 3), st.sampled_from([-1, 1]), st.booleans()
)


def passes(objects, missing, cuts):
    groups = {
        "electrons": [o for o in objects if o[0] == 11],
        "muons": [o for o in objects if o[0] == 13],
        "leptons": [o for o in objects if o[0] != 1],
        "jets": [o for o in objects if o[0] == 1],
        "b_jets": [o for o in objects if o[0] == 1 and o[5]],
    }
    for name, group in groups.items():
        wanted = getattr(cuts, name)
        if not wanted.at_least <= len(group) <= wanted.at_most:
            return False
        hard = sorted((o[1] for o in group), reverse=True)
        if any(pt < least for pt, least in zip(hard, wanted.pt_gev, strict=False)):
            return False
    if cuts.charge is not None and abs(sum(o[4] for o in groups["leptons"])) != cuts.charge:
        return False
    pairs = [(a, b) for a, b in itertools.combinations(groups["muons"], 2) if a[4] != b[4]]
    masses = [math.sqrt(2 * a[1] * b[1] * (math.cosh(a[2] - b[2]) - math.cos(a[3] - b[3]))) for a, b in pairs]
    if cuts.muon_pair_gev is not None and (not masses or min(masses) < cuts.muon_pair_gev):
        return False
    return missing >= cuts.missing_pt_gev


@settings(max_examples=20)
@given(st.lists(st.tuples(st.lists(OBJECT, max_size=6), st.floats(0, 50)), min_size=1, max_size=30))
def test_a_selection_is_that_of_a_loop(events):
    names = ("kind", "pt", "eta", "phi", "charge", "b_tag")
    flat = [o for objects, _ in events for o in objects]
    columns = {name: np.array([o[i] for o in flat], dtype=float if 0 < i < 4 else int) for i, name in enumerate(names)}
    columns["b_tag"] = columns["b_tag"].astype(bool)
    counts = [len(objects) for objects, _ in events]
    seen = ak.zip(
        {"objects": ak.unflatten(ak.zip(columns), counts), "missing_pt": np.array([m for _, m in events])},
        depth_limit=1,
    )
    channels = {
        "pair": Cuts(muons=Wanted(2, 2, (20, 10)), charge=0, muon_pair_gev=12.0),
        "busy": Cuts(leptons=Wanted(1), jets=Wanted(1, pt_gev=(15,)), b_jets=Wanted(at_most=1), missing_pt_gev=10),
        "electrons": Cuts(electrons=Wanted(1, 2)),
    }
    found = Selection(channels).channel_of(seen)
    for number, (objects, missing) in zip(found, events, strict=True):
        passed = [i for i, cuts in enumerate(channels.values()) if passes(objects, missing, cuts)]
        assert number == (passed[0] if passed else -1)
    assert (Selection().channel_of(seen) == 0).all()


def test_pairs_of_a_z_have_its_mass():
    muons = ak.zip(
        {name: [[x, y]] for name, x, y in (("pt", 45.6, 45.6), ("eta", 0, 0), ("phi", 0, np.pi), ("charge", 1, -1))}
    )
    assert pair_masses(muons)[0, 0] == pytest.approx(91.2)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: Wanted(3, 2), "at_least 3 and at_most 2 of a selection allow no number"),
        (lambda: Wanted(1, pt_gev=(20, 10)), "for at most at_least .1. objects"),
        (lambda: Clustering(algorithm="antikt"), r"jets.algorithm is one of .* \(did you mean 'anti-kt'\?\)"),
        (lambda: Clustering(radius=0), "jets.radius must be more than 0"),
        (lambda: Leptons(isolation=0), "leptons.isolation must be more than 0"),
    ],
)
def test_what_cannot_be_selected_is_one_sentence(made, message):
    with pytest.raises(UserError, match=message):
        made()
