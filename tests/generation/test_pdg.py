"""What PDG codes say, against Pythia's table of particles, and the history of events."""

from __future__ import annotations

import numpy as np
import pytest
from collisions import needed

from collider.generation import EventGenerator, Process, balance, final, heavy_hadrons, pdg
from reconstruction.errors import UserError

ak = needed("awkward")
pytestmark = pytest.mark.usefixtures("wheels")
SEEN = (11, 12, 13, 14, 15, 16, 21, 22, 23, 24, 25, 35, 36, 37, 111, 113, 130, 211, 213, 221, 310, 311, 313, 321, 323)
SEEN += (331, 333, 411, 413, 421, 423, 431, 433, 443, 511, 513, 521, 523, 531, 541, 553, 1114, 2112, 2114, 2212, 2214)
SEEN += (2224, 3112, 3122, 3212, 3222, 3312, 3322, 3334, 4122, 4132, 4232, 4332, 5112, 5122, 5132, 5222, 5232, 10311)
SEEN += (20213, 100443, 1000010020, 1000020040)


@pytest.fixture(scope="module")
def table():
    return EventGenerator(Process("z", ("WeakSingleBoson:ffbar2gmZ",), underlying_event=False), 1)._pythia.particleData


def test_charges_are_those_of_pythias_table(table):
    for code in SEEN:
        for sign in (1, -1) if table.hasAnti(code) else (1,):
            assert 3 * pdg.charge_of(sign * code) == table.chargeType(sign * code), sign * code


def test_hadrons_and_their_quarks_are_those_of_pythias_table(table):
    for code in SEEN:
        if code < 1_000_000_000:
            assert pdg.is_hadron(code) == table.isHadron(code), code
            assert pdg.has_quark(code, 5) == (table.isHadron(code) and 5 in pdg.quarks_of(code))
    assert not pdg.is_hadron(2203)  # a diquark
    assert [pdg.has_quark(code, 4) for code in (421, 541, 443, 521, 4)] == [True, True, True, False, False]
    assert [pdg.is_visible(code) for code in (-12, 16, 22, -211)] == [False, False, True, True]


def test_names_of_particles():
    assert [pdg.code_of(word) for word in ("H+", "mu", "511")] == [37, 13, 511]
    with pytest.raises(UserError, match=r"there is no particle 'muu' \(did you mean 'mu'\?\)"):
        pdg.code_of("muu")
    with pytest.raises(UserError, match="give the positive PDG code"):
        pdg.code_of("-13")


def test_functions_of_codes_are_those_of_each():
    codes = np.array([[211, -211, 22], [13, -13, 2212]])
    np.testing.assert_array_equal(pdg.mapped(pdg.charge_of, codes), [[1, -1, 0], [-1, 1, 1]])
    assert pdg.mapped(pdg.is_hadron, []).shape == (0,)


# History ------------------------------------------------------------------------------------------------------------


def ancestors(event, place):
    while event[place]["mother"] >= 0:
        place = event[place]["mother"]
        yield event[place]


def test_prompt_leptons_have_no_hadron_before_them(tops):
    """Against a walk up from each lepton."""
    found = {True: 0, False: 0}
    particles = final(tops, visible=False)
    for event, made in zip(tops.particles.to_list(), particles.to_list(), strict=True):
        places = [place for place, particle in enumerate(event) if particle["status"] == 1]
        for place, particle in zip(places, made, strict=True):
            if abs(particle["pdg_id"]) in (11, 13, 22):
                before = [a for a in ancestors(event, place) if a["mother"] >= 0]  # a beam proton is before all
                expected = not any(pdg.is_hadron(a["pdg_id"]) for a in before)
                assert particle["prompt"] == expected
                found[expected] += abs(particle["pdg_id"]) != 22
    assert found[True] > 20
    assert found[False] > 20


def test_heavy_hadrons_decay_to_none_of_their_kind(tops):
    """Against a walk down; each of two b quarks makes a hadron."""
    heavy = heavy_hadrons(tops)
    for event, found in zip(tops.particles.to_list(), heavy.to_list(), strict=True):
        expected = []
        for place, particle in enumerate(event):
            for flavour in (5, 4):
                if particle["mother"] >= 0 and pdg.has_quark(particle["pdg_id"], flavour):
                    children = [p for p in event if p["mother"] == place]
                    if not any(pdg.has_quark(p["pdg_id"], flavour) for p in children):
                        expected.append((particle["pdg_id"], flavour))
                    break
        assert [(p["pdg_id"], p["flavour"]) for p in found] == expected
    assert ak.all(ak.sum(heavy.flavour == 5, axis=1) >= 2)


def test_momentum_and_charge_are_conserved(tops):
    four, charge = balance(tops)
    assert np.abs(four).max() < 1e-4  # GeV, of 13 000
    assert (charge == 0).all()
    lost = ak.with_field(tops, tops.particles[:, :-1], "particles")
    assert np.abs(balance(lost)[0]).max() > 1e-3
