"""Gluckstern's formula and the information of the layers, each against the other where both hold."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from collider.detectors.tracking import Tracker, TrackerLayer
from collider.detectors.tracking.bounds import bound, gluckstern, layers_crossed
from collider.detectors.tracking.perigee import Q_OVER_PT

LEVER = 1000.0


def even(layers: int, thickness_x0: float) -> Tracker:
    radii = np.linspace(50.0, 50.0 + LEVER, layers)
    return Tracker(tuple(TrackerLayer(float(r), 5000.0, 50.0, 50.0, thickness_x0) for r in radii))


def relative_error(tracker: Tracker, pt: float, cot: float = 0.0) -> float:
    parameters = np.array([[1 / pt, 0.3, cot, 0.0, 0.0]])
    found = bound(parameters, tracker, layers_crossed(parameters, tracker))
    return float(np.sqrt(found[0, Q_OVER_PT, Q_OVER_PT]) * pt)


@pytest.mark.parametrize("layers", [5, 10, 40])
@pytest.mark.parametrize("cot", [0.0, 1.2])
def test_without_matter_the_information_is_glucksterns_formula(layers, cot) -> None:
    """Straight enough to be a parabola, which the formula is of: then they agree exactly."""
    expected = gluckstern(200.0, layers, LEVER, 0.05, 0.0, 3.8, cot)
    assert expected[1] == 0
    assert relative_error(even(layers, 0.0), 200.0, cot) == pytest.approx(float(expected[0]), rel=1e-3)


def test_glucksterns_formula_by_numbers() -> None:
    """Golden: PDG (2024), section 35.12: δk = (ε/L²) √(720/(N + 4)) for many points; 50 µm, 1 m, 3.8 T, 100 GeV."""
    expected = 100 / (0.299792458 * 3.8) * 50e-6 * np.sqrt(720 / (100 + 4))
    assert float(gluckstern(100.0, 100, LEVER, 0.05, 0.0, 3.8)[0]) == pytest.approx(expected, rel=2e-3)


def test_scattering_keeps_the_bound_near_and_below_the_formula() -> None:
    """The formula weighs all hits alike, the information as is best: it is the less, by a third at most."""
    layers, thickness = 20, 0.01
    scattered = float(gluckstern(1.0, layers, LEVER, 0.001, layers * thickness, 3.8)[1])
    sharp = dataclasses.replace(even(layers, thickness))
    found = relative_error(
        Tracker(tuple(dataclasses.replace(layer, rphi_um=1.0, z_um=1.0) for layer in sharp.layers)), 1.0
    )
    assert 0.65 * scattered < found < scattered


def test_matter_and_lost_hits_cost_information() -> None:
    tracker, parameters = Tracker(), np.array([[0.3, 0.1, 0.5, 0.0, 0.0]])
    all_hits = np.ones((1, 10), dtype=bool)
    some = all_hits.copy()
    some[0, 9] = False
    whole, less = (np.diagonal(bound(parameters, tracker, hit)[0]) for hit in (all_hits, some))
    assert (less >= whole * (1 - 1e-12)).all()
    assert less[0] > 1.2 * whole[0]
    assert np.isnan(bound(parameters, tracker, all_hits & (np.arange(10) < 2))).all()
