"""Large jets: what they hold, their substructure in each flow, ensembles that are judged on events new to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from collider.detectors.physics.chain import RULES, TRUTH, FlowResults
from collider.detectors.physics.config import PhysicsConfig, Tagging
from collider.detectors.physics.flow import FlowParticles, made
from collider.detectors.physics.jets import clustered
from collider.detectors.physics.pictures import soft_drop_picture
from collider.detectors.physics.tagging import ensemble
from collider.detectors.physics.tagging.ensemble import drawn, parts_of, voted
from collider.detectors.physics.tagging.figures import MASS_ALONE, tagging_figures
from collider.detectors.physics.tagging.large import OTHER, QUANTITIES, TOP, W, kinds_of, large_jets, substructure
from collider.detectors.physics.tagging.section import tagging_in_words, tagging_section, tagging_summary
from reconstruction.errors import UserError

CUTS = Tagging()


def sprayed(
    random: np.random.Generator, events: int, masses=(80.4,), pt_gev: float = 400.0
) -> tuple[FlowParticles, np.ndarray]:
    """One jet in each event, of decays into two prongs of pions, and the decay that each particle is of."""
    event, momentum, decay = [], [], []
    for number in range(events):
        for place, mass in enumerate(masses):
            # two massless prongs of equal pT at an angle: m² = 2 p² (1 − cos a), beside each other in φ at η = 0
            half = np.arcsin(mass / pt_gev)
            for side in (-1, 1):
                for share in (0.5, 0.3, 0.2):
                    phi = side * half + random.normal(0, 0.005)
                    event.append(number)
                    momentum.append(share * pt_gev / 2 * np.array([np.cos(phi), np.sin(phi), 0.0]))
                    decay.append(place)
    charge = np.tile([1, 0, -1], len(event) // 3)
    kind = np.where(charge == 0, 130, 211)
    return made(np.array(event), kind, charge, np.array(momentum), np.arange(len(event))), np.array(decay)


def test_two_prongs_are_seen_as_two(random):
    """A decay into two prongs of three particles each: its mass, soft-drop mass, τ2/τ1, particles and charged share."""
    flow, _ = sprayed(random, 4)
    jets, jet, row = clustered(flow, 4, CUTS.jets)
    assert len(jets) == 4
    found = dict(zip(QUANTITIES, substructure(flow, jets, jet, row, np.arange(4), 1.0).T, strict=True))
    np.testing.assert_allclose(found["mass_gev"], 80.4, rtol=0.05)
    np.testing.assert_allclose(found["soft_drop_mass_gev"], found["mass_gev"], rtol=0.02)
    assert (found["tau2_over_tau1"] < 0.2).all()
    assert (found["particles"] == 6).all()
    np.testing.assert_allclose(found["charged_share"], 0.7, rtol=1e-6)
    some = substructure(flow, jets, jet, row, np.array([2, 0]), 1.0)
    np.testing.assert_allclose(some[:, 0], found["mass_gev"][[2, 0]])
    assert substructure(flow, jets, jet, row, np.zeros(0, int), 1.0).shape == (0, len(QUANTITIES))


@pytest.mark.parametrize(
    ("origins", "masses", "kind"),
    [((W,), (80.4,), W), ((0,), (80.4,), OTHER), ((W,), (40.0,), OTHER), ((W, TOP), (80.4, 120.0), TOP),
     ((TOP, 0), (80.4, 120.0), OTHER)],
)  # fmt: skip
def test_what_a_jet_holds_is_said_by_its_particles(random, origins, masses, kind):
    """A whole W; the same particles of none; a W of which half is elsewhere; a W and the rest of a top; no W."""
    flow, decay = sprayed(random, 3, masses)
    jets, jet, row = clustered(flow, 3, CUTS.jets)
    assert kinds_of(flow, np.array(origins)[decay], jets, jet, row, CUTS).tolist() == [kind] * 3


def test_large_jets_of_a_flow_are_those_of_the_true_particles(shot_part, chain, random):
    """The hardest electron is no large jet; a flow without a jet has no numbers."""
    flow, _ = sprayed(random, 4)
    part = replace(shot_part, columns={name: values[:4] for name, values in shot_part.columns.items()})
    table = replace(part["particles"], columns={"origin": np.full(len(flow), W)}, offsets=np.arange(5) * 6)
    part = replace(part, tables={**part.tables, "particles": table})
    half = flow.kept(flow.event < 2)
    found = large_jets(part, {RULES: half, TRUTH: flow}, TRUTH, CUTS)
    assert found["event"].tolist() == [0, 1, 2, 3]
    assert found["kind"].tolist() == [W] * 4
    np.testing.assert_allclose(found[RULES][:2], found[TRUTH][:2])
    assert np.isnan(found[RULES][2:]).all()
    first = flow.source % 6 == 0
    harder = flow.momentum_gev * np.where(first, 20, 1)[:, None]
    alone = made(flow.event, np.where(first, 11, flow.kind), flow.charge, harder, flow.source)
    assert not len(large_jets(part, {RULES: half, TRUTH: alone}, TRUTH, CUTS)["event"])


def test_no_event_is_on_both_sides(random, monkeypatch):
    event = random.integers(0, 60, 150)
    part = parts_of(event, 4, 0)
    assert {len(set(part[event == one])) for one in set(event)} == {1}
    assert len(set(part)) == 4
    sides = []
    fit = ensemble._member

    def member(seen, truth, event, trained, judged, *more):
        sides.append((set(event[trained]), set(event[judged])))
        return fit(seen, truth, event, trained, judged, *more)

    monkeypatch.setattr(ensemble, "_member", member)
    voted(random.standard_normal((150, 2)), random.integers(0, 2, 150), event, 1, 4)
    assert len(sides) == 4
    assert not any(trained & judged for trained, judged in sides)
    assert set.union(*(judged for _, judged in sides)) == set(event)
    weight = drawn(event, random)
    assert {len(set(weight[event == one])) for one in set(event)} == {1}
    assert 0 in weight


def results(seen: np.ndarray, kind: np.ndarray, event: np.ndarray) -> FlowResults:
    """Results of large jets alone."""
    large = {"event": event, "kind": kind, "pt_gev": np.full(len(kind), 300.0), RULES: seen, TRUTH: seen}
    return FlowResults(
        ("w",), {"process": np.zeros(int(event.max()) + 1)}, {RULES: None, TRUTH: None}, {}, large, {}, {}
    )


def test_fewer_events_than_parts_are_judged_each_by_the_others(random):
    event, kind = np.repeat(np.arange(6), 20), np.tile([0, 1], 60)
    said = voted(kind[:, None] + 0.01 * random.standard_normal((120, 1)), kind, event, 1, 10)
    assert len(np.unique(said.part)) == 6
    assert (said.members[0].argmax(axis=1) == kind).all()


def test_what_cannot_be_told_is_not_told_and_what_can_is(random):
    """Numbers that say nothing have an area of a half, on events that are new to the trees."""
    kind = np.repeat([OTHER, W], [200, 100])
    event = random.integers(0, 150, 300)
    seen = random.standard_normal((300, len(QUANTITIES)))
    config = replace(PhysicsConfig(), tagging=Tagging(members=2, parts=2))
    found = tagging_figures(results(seen, kind, event), config, 20)
    assert found.judged == {"other": 200, "W": 100}
    assert abs(found.by[RULES].area["W"].value - 0.5) < 0.12
    seen[:, 0] += 3 * (kind == W)
    found = tagging_figures(results(seen, kind, event), config, 20)
    area = found.by[RULES].area["W"]
    assert 0.93 < area.low < area.value < area.high
    assert abs(found.by[MASS_ALONE].area["W"].value - 0.5) < 0.12
    share, low, high = found.by[RULES].others["W"]
    assert low < share < high < 0.1
    assert found.by[RULES].told.confusion().sum() == 300
    assert (found.by[RULES].alone["W"] < 1).all()
    assert "W rules 0.9" in tagging_in_words(found)[0]
    assert tagging_summary(found)["by"][RULES]["W"]["area_of_each_member"] == found.by[RULES].alone["W"].tolist()
    assert "W" in tagging_section(found).html
    assert len(soft_drop_picture(found.kinds, found.masses_gev[RULES], RULES).axes[0].patches) == 2


def test_a_rare_class_is_left_out_and_one_alone_is_not_judged(random):
    kind = np.repeat([OTHER, W, TOP], [60, 40, 5])
    seen = random.standard_normal((105, len(QUANTITIES)))
    seen[3] = np.nan
    config = replace(PhysicsConfig(), tagging=Tagging(members=1, parts=2))
    found = tagging_figures(results(seen, kind, np.arange(105)), config, 5)
    assert found.jets == {"other": 60, "W": 40, "t": 5}
    assert found.judged == {"other": 59, "W": 40}
    assert found.found[RULES] == pytest.approx(104 / 105)
    alone = tagging_figures(results(seen[:50], kind[:50], np.arange(50)), config, 5)
    assert not alone.by
    assert "too few of two classes" in tagging_in_words(alone)[0]
    assert "Too few" in tagging_section(alone).html


def test_cuts_that_mean_nothing_are_refused():
    for more in ({"parts": 1}, {"members": 0}, {"w_gev": -1.0}):
        with pytest.raises(UserError, match="tagging"):
            Tagging(**more)
