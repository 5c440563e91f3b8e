"""The five numbers of a track: there and back, against helices in space, and derivatives by differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collider.detectors.helix import FIELD_T, GEV_PER_T_MM, Helices
from collider.detectors.tracking.perigee import crossing, helices_of, momentum_of, perigee_of

RADIUS = 520.0
parameters = st.builds(
    lambda *numbers: np.array([numbers]),
    st.floats(0.01, 1.2).flatmap(lambda size: st.sampled_from([size, -size])),
    st.floats(-3.1, 3.1),
    st.floats(-4, 4),
    st.floats(-20, 20),
    st.floats(-200, 200),
)


def through(place, momentum, charge):
    """The five numbers of a helix by its place, momentum and charge anywhere on it."""
    pt = np.hypot(momentum[0], momentum[1])
    phi = np.arctan2(momentum[1], momentum[0])
    return perigee_of([place], [phi], [momentum[2] / pt], [charge / pt])


@given(parameters, st.floats(-1, 2))
@settings(max_examples=80, deadline=None)
def test_the_five_numbers_are_the_same_all_along_a_helix(numbers, turn) -> None:
    helix = helices_of(numbers)
    length = turn / np.abs(helix.turn_per_mm) if turn > 0 else turn * np.array([100.0])
    momentum = helix.direction_after(length)[0] * momentum_of(numbers)[0]
    again = through(helix.position_mm(length)[0], momentum, np.sign(numbers[0, 0]))
    np.testing.assert_allclose(again[0], numbers[0], atol=1e-6 * (1 + abs(numbers[0, 2])))


@given(parameters)
@settings(max_examples=80, deadline=None)
def test_a_layer_is_crossed_where_the_helix_in_space_crosses_it(numbers) -> None:
    found, space = crossing(numbers, RADIUS), helices_of(numbers).at_radius(RADIUS)
    assert found.reached[0] == space.reached[0]
    if not found.reached[0]:
        return
    x, y, z = space.position_mm[0]
    np.testing.assert_allclose(found.measured[0], [RADIUS * np.arctan2(y, x), z], atol=1e-5)
    assert found.cosine[0] == pytest.approx((space.direction[0, :2] @ [x, y]) / RADIUS, abs=1e-6)


STEPS = np.array([1e-5, 1e-6, 1e-5, 1e-3, 1e-2])
TRACKS = np.array(
    [
        [0.8, 0.3, 0.7, 2.0, 5.0],
        [-1.5, -2.0, -1.2, -8.0, 40.0],
        [0.02, 1.0, 2.2, 0.3, -30.0],
        [-0.001, 2.5, -0.4, 0.01, 10.0],
        [1e-7, -0.5, 0.1, 4.0, -3.0],
    ]
)


def test_derivatives_of_what_is_measured() -> None:
    jacobian = crossing(TRACKS, RADIUS).jacobian
    for number, step in enumerate(STEPS):
        shift = np.zeros(5)
        shift[number] = step
        slope = (crossing(TRACKS + shift, RADIUS).measured - crossing(TRACKS - shift, RADIUS).measured) / (2 * step)
        np.testing.assert_allclose(jacobian[:, :, number], slope, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("plane", [0, 1])
def test_scattering_changes_the_five_numbers_as_a_kick_in_space_does(plane) -> None:
    """A kick in a layer leaves place and momentum; the way behind it belongs to other numbers."""
    kick = 1e-5
    found = crossing(TRACKS, RADIUS)
    helices = helices_of(TRACKS)
    space = helices.at_radius(RADIUS)
    for track, numbers in enumerate(TRACKS):
        direction = space.direction[track]
        around = np.array([-direction[1], direction[0], 0]) / np.hypot(*direction[:2])
        axis = (around, np.cross(direction, around))[plane]
        ends = []
        for sign in (1, -1):
            kicked = np.cos(kick) * direction + sign * np.sin(kick) * axis
            momentum = kicked * momentum_of(numbers)
            ends.append(through(space.position_mm[track], momentum, np.sign(numbers[0]))[0])
        np.testing.assert_allclose(
            found.scattering[track, :, plane], (ends[0] - ends[1]) / (2 * kick), rtol=1e-5, atol=1e-4
        )


def test_what_turns_back_before_a_layer_does_not_reach_it() -> None:
    turned = 1 / (GEV_PER_T_MM * FIELD_T * RADIUS / 2)
    found = crossing(
        np.array([[turned * 1.01, 0, 0, 0, 0], [turned * 0.99, 0, 0, 0, 0], [0.1, 0, 0, 600.0, 0]]), RADIUS
    )
    assert found.reached.tolist() == [False, True, False]
    assert np.isfinite(found.jacobian).all()


def test_the_mirror_image_is_of_the_other_charge() -> None:
    mirror = np.array([-1.0, -1, 1, -1, 1])
    there, mirrored = crossing(TRACKS, RADIUS), crossing(TRACKS * mirror, RADIUS)
    np.testing.assert_allclose(mirrored.measured, there.measured * [-1, 1], atol=1e-9)
    np.testing.assert_allclose(
        Helices.of([(1, 2, 3)], [(0, 0, 0)], [1]).turn_per_mm, -Helices.of([(1, -2, 3)], [(0, 0, 0)], [-1]).turn_per_mm
    )
