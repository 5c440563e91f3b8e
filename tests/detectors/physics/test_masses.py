"""Masses of made-up particles and jets: which are taken, against what is known of them."""

from __future__ import annotations

import numpy as np
import pytest

from collider.detectors.learning.columns import ELECTRON, MUON_CODE, PHOTON
from collider.detectors.making.events import ORIGINS
from collider.detectors.physics.chain import RULES, FlowResults
from collider.detectors.physics.config import PhysicsConfig
from collider.detectors.physics.jets import Jets
from collider.detectors.physics.masses import TOP, W, made_of, three_jets, two_jets, two_of
from collider.detectors.physics.prompt import PromptParticles

CONFIG = PhysicsConfig()


def vectors(*rows):
    """E, px, py, pz of particles without mass, of (pT, φ, η)."""
    pt, phi, eta = np.array(rows, dtype=np.float64).T
    return np.stack([pt * np.cosh(eta), pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=1)


def mass(one, other):
    """√(2 pT₁ pT₂ (cosh Δη − cos Δφ)) of two without mass."""
    return np.sqrt(2 * one[0] * other[0] * (np.cosh(one[2] - other[2]) - np.cos(one[1] - other[1])))


def results(events, prompt=(), jets=(), origins=None):
    """Events of one process, of leptons and photons (event, kind, charge, pT, φ, η) and of jets (event, pT, φ, η)."""
    whose = np.array([row[0] for row in prompt], dtype=np.int64)
    kind, charge = (np.array([row[place] for row in prompt], dtype=np.int64) for place in (1, 2))
    vector = vectors(*(row[3:] for row in prompt)) if prompt else np.zeros((0, 4))
    of_jets = vectors(*(row[1:] for row in jets)) if jets else np.zeros((0, 4))
    made = Jets(np.array([row[0] for row in jets], dtype=np.int64), of_jets, np.zeros(len(jets)))
    there = np.zeros((events, len(ORIGINS)), dtype=bool) if origins is None else origins
    return FlowResults(
        ("one",),
        {"process": np.zeros(events, dtype=np.int64), "origins": there},
        {RULES: made},
        {RULES: PromptParticles(whose, kind, charge, vector)},
        {},
        {},
        {},
    )


def of(origin, events=1):
    return np.tile([code == origin for code in ORIGINS], (events, 1))


LEADING, SECOND, THIRD = (50.0, 0.1, 0.5), (40.0, 2.9, -0.4), (30.0, -1.2, 0.2)


@pytest.mark.parametrize(
    ("kind", "charges", "taken"),
    [
        (ELECTRON, (1, -1), True),
        (MUON_CODE, (-1, 1), True),
        (MUON_CODE, (1, 1), False),
        (ELECTRON, (0, 0), False),  # clusters that a network takes for electrons have no charge
        (PHOTON, (0, 0), True),
    ],
)
def test_pairs_are_the_two_hardest_of_a_kind_of_opposite_charge(kind, charges, taken):
    other = MUON_CODE if kind == ELECTRON else ELECTRON
    prompt = [(1, kind, charges[0], *LEADING), (1, other, 1, 45.0, 1.0, 1.0), (1, kind, charges[1], *SECOND),
              (1, kind, -charges[0], *THIRD), (2, kind, 1, *LEADING)]  # fmt: skip
    found = two_of(kind)(results(3, prompt), RULES, CONFIG)
    assert found.event.tolist() == ([1] if taken else [])
    np.testing.assert_allclose(found.mass_gev, [mass(LEADING, SECOND)] * taken)


def test_a_w_is_both_jets_of_events_with_two_jets_and_no_lepton():
    two, three = [LEADING, SECOND], [LEADING, SECOND, THIRD]
    jets = [(event, *jet) for event, own in enumerate((two, three, two, two)) for jet in own]
    measured = results(4, [(2, MUON_CODE, 1, *THIRD)], jets, of(W, 4))
    found = two_jets(measured, RULES, CONFIG)
    assert found.event.tolist() == [0, 3]
    np.testing.assert_allclose(found.mass_gev, mass(LEADING, SECOND))
    assert not len(two_jets(results(1, (), jets[:2], of(TOP)), RULES, CONFIG).event)


@pytest.mark.parametrize(("second", "taken"), [((60.0, 1.33, 0.0), True), ((60.0, 0.7, 0.0), False)])
def test_a_top_quark_is_the_three_jets_of_largest_common_pt_with_a_w_among_them(second, taken):
    near = [(65.0, 0.0, 0.0), second, (60.0, 0.35, 0.0)]
    jets = [(0, *jet) for jet in (near[0], second, near[2], (40.0, -2.6, 0.0))]
    found = three_jets(results(1, [(0, MUON_CODE, 1, *THIRD)], jets, of(TOP)), RULES, CONFIG)
    assert found.event.tolist() == ([0] if taken else [])
    pairs = [mass(near[one], near[other]) for one, other in ((0, 1), (0, 2), (1, 2))]
    np.testing.assert_allclose(found.mass_gev, [np.sqrt(np.square(pairs).sum())] * taken)
    assert not len(three_jets(results(1, (), jets, of(TOP)), RULES, CONFIG).event)  # no lepton


def test_processes_make_what_more_than_half_of_their_events_have():
    there = np.concatenate([of(W, 2), of(TOP, 2), of(W, 1)])
    assert made_of(results(5, origins=there), W).all()
    assert not made_of(results(5, origins=there), TOP).any()
