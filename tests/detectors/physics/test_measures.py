"""Figures of physics against twins, and against samples whose errors are known."""

from __future__ import annotations

import numpy as np
import pytest

from collider.detectors.learning.columns import CHARGED_HADRON, CLASSES, ELECTRON
from collider.detectors.physics.chain import RULES, TRUTH, FlowResults
from collider.detectors.physics.measures import ETA_EDGES, PT_EDGES_GEV, efficiencies, identification, missing_figures
from collider.detectors.physics.measures import spread as spread_of


def results(**tables):
    """Results of which some tables are known."""
    given = {"events": {"process": np.zeros(0, dtype=np.int64)}, "jets": {RULES: None, TRUTH: None}, "prompt": {},
             "large": {}, "heads": {}, "particles": {}}  # fmt: skip
    return FlowResults(("one", "two"), **(given | tables))


def half_of(figure):
    return (figure.high - figure.low) / 2


def test_what_stands_ten_times_in_an_event_is_known_no_better(random):
    values = random.normal(1.0, 0.1, 400)
    once = spread_of(values, np.arange(400), 200)
    often = spread_of(np.repeat(values, 10), np.repeat(np.arange(400), 10), 200)
    for name in ("median", "relative"):
        assert half_of(often[name]) == pytest.approx(half_of(once[name]), rel=0.1)


def test_identification_is_the_mean_of_the_classes_and_its_interval_that_of_events(random):
    event = np.repeat(np.arange(300), 4)
    true = np.tile([ELECTRON, CHARGED_HADRON, CHARGED_HADRON, CHARGED_HADRON], 300)
    wrong = np.repeat(random.uniform(size=300) < 0.2, 4) & (true == CHARGED_HADRON)  # all hadrons of an event, or none
    heads = {"event": event, "true": true, RULES: np.where(wrong, ELECTRON, true), "p_gev": np.full(1200, 20.0),
             "eta": np.zeros(1200), "probabilities": np.full((1200, len(CLASSES)), np.nan)}  # fmt: skip
    found = identification(results(heads=heads), 300)[RULES]
    share = 1 - wrong[1::4].mean()
    assert found.efficiency["charged_hadron"].value == pytest.approx(share)
    assert found.macro.value == pytest.approx((1 + share) / 2)
    assert half_of(found.efficiency["charged_hadron"]) == pytest.approx(np.sqrt(share * (1 - share) / 300), rel=0.2)


def test_missing_momentum_is_against_the_neutrinos(random):
    process = np.repeat([0, 1], [30, 5])
    neutrinos, found = random.normal(0, 30, (35, 2)), random.normal(0, 30, (35, 2))
    events = {"process": process, "missing": neutrinos, RULES: found, TRUTH: neutrinos}
    figures = missing_figures(results(events=events), 10)
    assert set(figures) == {"all", "one"}  # of the other process there are too few
    low, high = np.quantile((found - neutrinos).ravel(), [0.158655, 0.841345])
    assert figures["all"][RULES].value == pytest.approx((high - low) / 2, rel=1e-4)
    assert figures["all"][TRUTH].value == 0


def test_efficiencies_count_particles_by_pt_and_eta(random):
    """The twin looks at one particle after the other."""
    size = 500
    particles = {"kind": random.choice([ELECTRON, CHARGED_HADRON], size), "charge": np.ones(size, dtype=np.int64),
                 "pt_gev": np.exp(random.uniform(-1, 6, size)), "eta": random.uniform(-3, 3, size),
                 "track": random.uniform(size=size) < 0.8}  # fmt: skip
    particles[RULES] = random.choice([ELECTRON, CHARGED_HADRON, -1], size)
    found = efficiencies(results(particles=particles))["electrons"][RULES]
    total, passed = np.zeros((2, len(PT_EDGES_GEV) - 1, len(ETA_EDGES) - 1), dtype=int)
    for i in range(size):
        pt, eta = particles["pt_gev"][i], abs(particles["eta"][i])
        inside = PT_EDGES_GEV[0] <= pt < PT_EDGES_GEV[-1] and eta < ETA_EDGES[-1]
        if particles["kind"][i] == ELECTRON and inside:
            place = np.searchsorted(PT_EDGES_GEV, pt, "right") - 1, np.searchsorted(ETA_EDGES, eta, "right") - 1
            total[place] += 1
            passed[place] += particles[RULES][i] == ELECTRON
    np.testing.assert_array_equal(found.total, total)
    np.testing.assert_array_equal(found.passed, passed)
