"""Filters before the shower and before the detector: what is kept is what would be kept without, and is counted."""

from __future__ import annotations

import dataclasses
import itertools

import h5py
import numpy as np
import pytest
from collisions import needed

from collider.generation import (
    Cuts,
    EventFilter,
    EventGenerator,
    GeneratedLeptons,
    GenerationConfig,
    Process,
    Resonance,
    Selection,
    Wanted,
    convert,
    files_of,
    write_file,
)
from collider.generation.objects import _with_one_tag
from collider.generation.pdg import is_hadron
from reconstruction.errors import UserError

ak = needed("awkward")
pytestmark = pytest.mark.usefixtures("wheels")
QUICK = {"HadronLevel:all": "off", "PartonLevel:FSR": "off"}
Z = Process(
    "z",
    ("WeakSingleBoson:ffbar2gmZ",),
    resonances={"Z": Resonance(only=("e", "mu", "tau"))},
    underlying_event=False,
    settings={"WeakZ0:gmZmode": "2"} | QUICK,
)
MUONS = EventFilter(hard=(GeneratedLeptons(2, ("mu",), 8, 3.0),), final=(GeneratedLeptons(2, ("mu",), 15, 2.5),))
PAIR = Selection({"pair": Cuts(muons=Wanted(2, pt_gev=(20, 20)))})


def written(folder, process, events):
    config = GenerationConfig(process, selection=PAIR, most_objects=4)
    (file,) = files_of(config, events, folder)
    write_file(file)
    with h5py.File(file.path) as found:
        return {name: found[name][:] for name in found}, dict(found.attrs)


@pytest.fixture(scope="module")
def both(wheels, tmp_path_factory):
    plain = written(tmp_path_factory.mktemp("plain"), Z, 80)
    return plain, written(tmp_path_factory.mktemp("filtered"), dataclasses.replace(Z, filter=MUONS), 300)


def test_the_cross_section_is_that_without_a_filter(both):
    """Visible: some hundred events against some hundred, within four of their errors; Pythia's own, too."""
    sums = [(columns["weight_pb"].sum(), len(columns["weight_pb"])) for columns, _ in both]
    (plain, few), (filtered, many) = sums
    assert abs(plain / filtered - 1) < 4 * np.hypot(few**-0.5, many**-0.5)
    totals = [facts["cross_section_pb"] for _, facts in both]
    assert totals[0] == pytest.approx(totals[1], rel=0.1)


def test_the_distributions_are_those_without_a_filter(both):
    (plain, _), (filtered, _) = both
    for name in ("object_pt_gev", "object_eta"):
        one, other = (np.sort(columns[name][:, 1]) for columns in (plain, filtered))
        grid = np.concatenate([one, other])
        distance = np.abs(np.searchsorted(one, grid) / len(one) - np.searchsorted(other, grid) / len(other)).max()
        assert distance < 1.95 * np.sqrt(1 / len(one) + 1 / len(other))  # Kolmogorov–Smirnov at 0.1 %


def test_every_step_is_counted(both):
    (_, plain), (_, filtered) = both
    assert plain["generated"] == plain["passed_filter_hard"] == plain["passed_filter_final"]
    steps = [filtered[name] for name in ("generated", "passed_filter_hard", "passed_filter_final", "events")]
    assert steps == sorted(steps, reverse=True)
    assert steps[0] > 3 * steps[1]  # one of three pairs is of muons, and not all are within reach
    assert steps[3] > 0.6 * steps[2]


def test_weights_of_dropped_events_count_too(tmp_path):
    """A Les Houches file whose events are dropped or not, with weights of both signs."""
    head = '<LesHouchesEvents version="3.0">\n<init>\n2212 2212 6500 6500 0 0 0 0 -4 1\n1.0 0.1 1.0 1\n</init>\n'
    event = "<event>\n 4 1 {weight} 91.0 0.0078 0.118\n{quarks} {code} 1 1 2 0 0 45.6 0.0 0.0 45.6 0.0 0. 9.\n"
    event += " -{code} 1 1 2 0 0 -45.6 0.0 0.0 45.6 0.0 0. 9.\n</event>\n"
    quarks = " 2 -1 0 0 501 0 0.0 0.0 45.6 45.6 0.0 0. 9.\n -2 -1 0 0 0 501 0.0 0.0 -45.6 45.6 0.0 0. 9.\n"
    given = [(13, 1.0), (11, -1.0), (11, 3.0), (13, -1.0), (13, 2.0), (11, 1.0), (13, 1.0)]
    events = "".join(event.format(weight=weight, code=code, quarks=quarks) for code, weight in given)
    (tmp_path / "a.lhe").write_text(head + events + "</LesHouchesEvents>\n")
    process = Process("mine", lhe_file=str(tmp_path / "a.lhe"), filter=MUONS, underlying_event=False, settings=QUICK)
    made = EventGenerator(process, 1).batch(4)
    unit = made.weight[0]
    assert (made.weight / unit).to_list() == [1, -1, 2, 1]
    assert made.generated.to_list() == [1, 3, 1, 2]
    assert (made.generated_weight / unit).to_list() == pytest.approx([1, 1, 2, 2])


def slow(particles, one):
    """How many leptons there are, one particle after the other, its mothers walked through."""
    found = 0
    for particle in particles:
        if particle["status"] != 1 or abs(particle["pdg_id"]) not in one.codes:
            continue
        pt = np.hypot(particle["px"], particle["py"])
        of_hadron, mother = False, particle["mother"]
        while mother >= 0 and particles[mother]["mother"] >= 0:
            of_hadron |= is_hadron(particles[mother]["pdg_id"])
            mother = particles[mother]["mother"]
        right = {"any": True, "prompt": not of_hadron, "hadron": of_hadron}[one.origin]
        found += bool(right and pt >= one.pt_gev and abs(np.arcsinh(particle["pz"] / pt)) <= one.eta)
    return found


def test_leptons_are_those_of_a_loop(tops):
    events = tops[:12]
    records = events.particles[["status", "pdg_id", "mother", "px", "py", "pz"]].to_list()
    passed = []
    for origin, kinds, pt in itertools.product(("any", "prompt", "hadron"), (("e",), ("e", "mu")), (0.5, 5.0)):
        one = GeneratedLeptons(1, kinds, pt, 2.5, origin)
        found = EventFilter(final=(one,)).passed(events)
        assert found.tolist() == [slow(record, one) >= 1 for record in records]
        passed.append(found)
    assert np.array(passed).any()
    assert not np.array(passed).all()


def test_a_factor_multiplies_pythias_cross_section():
    hard = {"PartonLevel:all": "off"}
    made = [EventGenerator(dataclasses.replace(Z, k_factor=factor, settings=hard), 1) for factor in (1.0, 2.5)]
    for generator in made:
        generator.batch(50)
    assert made[1].cross_section_pb == pytest.approx(2.5 * made[0].cross_section_pb)


def test_a_filter_that_passes_nothing_ends(monkeypatch):
    monkeypatch.setattr("collider.generation.pythia.FUTILE_TRIES", 300)
    none = dataclasses.replace(Z, filter=EventFilter(hard=(GeneratedLeptons(5),)), settings={"PartonLevel:all": "off"})
    with pytest.raises(UserError, match=r"none of 300 events of process z passes its filter.hard"):
        EventGenerator(none, 1).batch(20)


# Tags as weights ----------------------------------------------------------------------------------------------------


def test_tags_that_must_be_there_are_drawn_as_often_as_they_are():
    """All patterns of three jets with one tag or more, against their probabilities."""
    p, events = np.array([0.7, 0.1, 0.3]), 40_000
    drawn = np.random.default_rng(3).random((events, 3))
    share, probability = _with_one_tag(ak.Array(np.tile(p, (events, 1))), ak.Array(drawn))
    tags = drawn < share.to_numpy()
    least = 1 - np.prod(1 - p)
    np.testing.assert_allclose(probability, least)
    for pattern in itertools.product((False, True), repeat=3):
        expected = np.prod(np.where(pattern, p, 1 - p)) / least if any(pattern) else 0.0
        found = (tags == np.array(pattern)).all(axis=1).mean()
        assert abs(found - expected) <= 4.5 * np.sqrt(expected / events)


def test_events_without_jets_weigh_nothing():
    share, probability = _with_one_tag(ak.Array([[], [0.0], [0.2]]), ak.Array([[], [0.3], [0.99]]))
    assert probability.tolist() == pytest.approx([0, 0, 0.2])
    assert [list(map(float, one)) for one in share] == [[], [0.0], pytest.approx([1.0])]


# What cannot be -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: GeneratedLeptons(0), "at_least of a filter must be from 1"),
        (lambda: GeneratedLeptons(kinds=("muu",)), "kinds of a filter are of e, mu, tau, not muu"),
        (lambda: GeneratedLeptons(kinds=()), "not none"),
        (lambda: GeneratedLeptons(origin="bottom"), "origin of a filter is one of any, prompt, hadron"),
        (lambda: GeneratedLeptons(pt_gev=-1), "pt_gev of a filter must be 0 or more"),
        (lambda: GeneratedLeptons(eta=0), "eta more than 0"),
        (lambda: EventFilter(hard=(GeneratedLeptons(origin="hadron"),)), "belongs to filter.final"),
        (lambda: EventFilter(final=(GeneratedLeptons(kinds=("tau",)),)), "when taus have decayed"),
        (lambda: dataclasses.replace(Z, k_factor=0.0), "k_factor of process z"),
        (lambda: dataclasses.replace(Z, k_factor=2.0, cross_section_pb=1.0), "no cross_section_pb beside it"),
        (lambda: GenerationConfig(Z, selection=PAIR, weigh_b_tags=True), "must ask for b_jets"),
    ],
)
def test_what_cannot_be_is_one_sentence(made, message):
    with pytest.raises(UserError, match=message) as raised:
        made()
    assert "\n" not in str(raised.value)


def test_events_of_others_have_no_step_before_the_shower(tmp_path):
    (tmp_path / "a.hepmc").write_text("none is read\n")
    with pytest.raises(UserError, match="holds events that are complete"):
        convert(GenerationConfig(dataclasses.replace(Z, filter=MUONS)), tmp_path / "a.hepmc", tmp_path / "a.hdf5")
