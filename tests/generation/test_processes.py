"""Processes: typed, and what Pythia makes of them: masses, W* below threshold, cross sections."""

from __future__ import annotations

import numpy as np
import pytest
from collisions import needed

from collider.generation import Decay, EventGenerator, Process, Resonance, keyed_seed
from collider.generation.wheels import wheel
from reconstruction.errors import UserError

ak = needed("awkward")
pytestmark = pytest.mark.usefixtures("wheels")
TOPS = ("Top:gg2ttbar", "Top:qqbar2ttbar")


def charged_higgs(charged_gev=100.0, neutral_gev=95.0, **more):
    return Process(
        "signal",
        TOPS,
        resonances={
            "H+": Resonance(charged_gev, 0.01, decays=(Decay(("A", "W")),)),
            "A": Resonance(neutral_gev, 0.01, decays=(Decay(("mu", "-mu")),)),
            "W": Resonance(lowest_mass_gev=0.1),
            "t": Resonance(added_decays=(Decay(("H+", "b"), 0.5),), only_particle=("H+",), only_antiparticle=("W",)),
        },
        conjugate=True,
        underlying_event=False,
        settings={"Higgs:useBSM": "on", "PartonLevel:ISR": "off", "HadronLevel:all": "off"},
        **more,
    )


@pytest.fixture(scope="module")
def signal():
    generator = EventGenerator(charged_higgs(), seed=5)
    return [generator.batch(100), generator.batch(100)]


def test_masses_are_those_that_were_asked_for(signal):
    for events in signal:
        particles = events.particles
        for code, mass in ((37, 100.0), (36, 95.0)):
            masses = ak.flatten(particles.mass[abs(particles.pdg_id) == code]).to_numpy()
            assert len(masses) >= 100
            assert abs(np.median(masses) - mass) < 0.01  # a width of 10 MeV
            assert np.abs(masses - mass).max() < 2
        tops = particles.mass[abs(particles.pdg_id) == 6]
        assert abs(np.median(ak.flatten(tops).to_numpy()) - 172.5) < 1.5


def test_signs_take_turns(signal):
    first, second = (events.particles.pdg_id for events in signal)
    assert [bool(ak.any(ids == code)) for ids in (first, second) for code in (37, -37)] == [True, False, False, True]
    for ids in (first, second):
        assert ak.all(ak.any(abs(ids) == 37, axis=1))


def test_a_w_below_threshold_takes_what_is_left(signal):
    """5 GeV of 100 − 95, and the decay's products balance."""
    for events in signal:
        particles = events.particles
        of_higgs = (abs(particles.pdg_id) == 24) & (abs(particles.pdg_id[particles.mother]) == 37)
        masses = ak.flatten(particles.mass[of_higgs]).to_numpy()
        assert len(masses) == 100
        assert masses.max() < 5.1
        assert masses.min() > 0.1
        parents = particles[particles.mother[of_higgs]]
        assert ak.all(abs(parents.mass - 100) < 2)


def test_without_the_share_that_stands_the_channel_closes(signal):
    """What meMode = 0, Pythia's own, does below m(A) + m(W): no event, and no word."""
    pythia = wheel("pythia8mc").Pythia("", False)
    commands = [c.replace(" 100 36 24", " 0 36 24") for c in charged_higgs().commands()]
    assert commands != charged_higgs().commands()
    for command in ("Print:quiet = on", *commands):
        assert pythia.readString(command)
    pythia.init()
    ids = pythia.nextBatch(20).prt.id
    assert not ak.any(abs(ids) == 36)


def test_the_seed_decides_the_events(signal):
    again = EventGenerator(charged_higgs(), seed=5).batch(100)
    assert ak.array_equal(again.particles.px, signal[0].particles.px)
    other = EventGenerator(charged_higgs(), seed=6).batch(100)
    assert not ak.array_equal(other.particles.px, signal[0].particles.px)
    assert keyed_seed(1, "a", 0) != keyed_seed(1, "a", 1000) != keyed_seed(1, "b", 0)
    assert all(1 <= keyed_seed(seed, "x") <= 900_000_000 for seed in range(100))


# Cross sections -----------------------------------------------------------------------------------------------------

HARD = {"PartonLevel:all": "off", "HadronLevel:all": "off"}


def cross_section_pb(subprocesses, energy_gev=13000.0, resonances=None, settings=None):
    process = Process(
        "hard", subprocesses, energy_gev=energy_gev, resonances=resonances or {}, settings=HARD | (settings or {})
    )
    generator = EventGenerator(process, seed=2)
    for _ in range(4):
        generator.batch(500)
    return generator.cross_section_pb


def test_ratios_of_cross_sections():
    # NNLO+NNLL, LHC Top Working Group: 832 pb at 13 TeV and 253 pb at 8 TeV; leading order has nearly the same ratio
    assert cross_section_pb(TOPS) / cross_section_pb(TOPS, 8000.0) == pytest.approx(832 / 253, rel=0.1)
    z = {"settings": {"WeakZ0:gmZmode": "2"}}
    of = lambda word: cross_section_pb(("WeakSingleBoson:ffbar2gmZ",), resonances={"Z": Resonance(only=(word,))}, **z)  # noqa: E731
    muons = of("mu")
    assert of("e") / muons == pytest.approx(1, abs=0.06)  # the same couplings
    # Review of Particle Physics 2024: invisible (three neutrinos) 20.00 %, one kind of charged lepton 3.366 %
    assert of("nu_e") / muons == pytest.approx(20.0 / 3 / 3.366, rel=0.08)


def test_a_cross_section_may_be_given():
    assert EventGenerator(charged_higgs(cross_section_pb=3.5), 1).cross_section_pb == 3.5


# What cannot be -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: Process("two words", TOPS), "the name of a process is made of letters"),
        (lambda: Process("tops"), "wants either subprocesses"),
        (lambda: Process("tops", TOPS, lhe_file="x.lhe"), "wants either subprocesses"),
        (lambda: Process("tops", TOPS, energy_gev=-1), "energy_gev of process tops must be 10 or more"),
        (lambda: Process("tops", TOPS, cross_section_pb=0.0), "must be more than 0"),
        (lambda: Process("tops", TOPS, conjugate=True), "none of its particles has only_particle"),
        (lambda: Process("tops", TOPS, resonances={"tt": Resonance()}), "there is no particle 'tt'"),
        (lambda: Process("tops", TOPS, resonances={"t": Resonance(), "6": Resonance()}), "stands twice"),
        (lambda: charged_higgs(95.0, 100.0), "particle 37 of 95 GeV cannot decay to A W, of 100.1 GeV or more"),
        (lambda: Resonance(mass_gev=-3), "mass_gev of a particle must be more than 0"),
        (lambda: Resonance(only=("mu",), only_particle=("e",), only_antiparticle=("e",)), "chosen by `only`, or by"),
        (lambda: Resonance(only_particle=("e",)), "only_particle with only_antiparticle"),
        (lambda: Decay(("mu",)), "from 2 to 8 products"),
        (lambda: Decay(("mu", "-muu")), "there is no particle 'muu'"),
        (lambda: Decay(("mu", "-mu"), share=0), "share of a decay must be more than 0"),
        (lambda: EventGenerator(Process("tops", ("Top:gg2tt",)), 1), "does not know `Top:gg2tt = on` .process tops."),
        (
            lambda: EventGenerator(Process("tops", TOPS, settings={"Nothing:x": "1"}), 1),
            "does not know `Nothing:x = 1`",
        ),
        (lambda: EventGenerator(Process("l", lhe_file="no.lhe"), 1), "no.lhe of process l cannot be read"),
        (lambda: EventGenerator(Process("tops", TOPS, energy_gev=100.0), 1), "cannot begin with process tops"),
    ],
)
def test_what_cannot_be_is_one_sentence(made, message, capfd):
    with pytest.raises(UserError, match=message) as raised:
        made()
    assert "\n" not in str(raised.value)


def test_a_missing_library_names_the_extra():
    with pytest.raises(UserError, match=r"collisions need the package no_such_wheel.*'cres\[collider\]'"):
        wheel("no_such_wheel")
