"""Jets against central differences and against products done by hand."""

import numpy as np
import pytest

from cres.physics.fields import CoilField
from cres.physics.jets import Jet, places

FIELD = CoilField(0.9587, [(0.02, -0.08, 42.0), (0.02, 0.08, 42.0)], gradient_t_per_m=1e-3)
RADIUS, AXIAL = np.array([2e-3, 6e-3, 4e-3]), np.array([0.07, -0.03, 0.0])


def derivatives(function, radius, axial, step=2e-4):
    """Central differences of the fourth order: f_ρ, f_z, f_ρρ, f_ρz, f_zz."""
    weights = {1: np.array([1, -8, 0, 8, -1]) / 12, 2: np.array([-1, 16, -30, 16, -1]) / 12}
    grid = np.arange(-2, 3) * step
    values = np.array([[function(radius + r, axial + z) for z in grid] for r in grid])
    along_r = {n: np.tensordot(w, values[:, 2], 1) / step**n for n, w in weights.items()}
    along_z = {n: np.tensordot(w, values[2], 1) / step**n for n, w in weights.items()}
    mixed = np.einsum("i,j,ij...->...", weights[1], weights[1], values) / step**2
    return along_r[1], along_z[1], along_r[2], mixed, along_z[2]


@pytest.mark.parametrize("component", [0, 1, 2, 3])
def test_the_field_of_coils_against_differences(component: int) -> None:
    def function(radius, axial):
        return (*FIELD.beyond_background(radius, axial), FIELD.excess_t(radius, axial))[component]

    jet = function(*places(RADIUS, AXIAL))
    np.testing.assert_allclose(jet.value, function(RADIUS, AXIAL), rtol=1e-12)
    for exact, difference in zip(jet.first + jet.second, derivatives(function, RADIUS, AXIAL), strict=True):
        np.testing.assert_allclose(exact, difference, rtol=1e-5, atol=1e-6 * np.abs(difference).max())


def test_arithmetic_of_a_rational_function() -> None:
    x, y = np.array([0.7]), np.array([-1.3])

    def function(a, b):
        return 3 - (a * b - 2.0) / (1 + a**2) + 1 / (b * b) - -a / 4

    jet: Jet = function(*places(x, y))
    for exact, difference in zip(jet.first + jet.second, derivatives(function, x, y, 1e-3), strict=True):
        np.testing.assert_allclose(exact, difference, rtol=1e-8)


def test_the_polynomial_is_that_of_the_second_order() -> None:
    jet = FIELD.excess_t(*places(RADIUS, AXIAL))
    step = 1e-4
    error = np.abs(jet.at(step, -step) - FIELD.excess_t(RADIUS + step, AXIAL - step))
    half = np.abs(jet.at(step / 2, -step / 2) - FIELD.excess_t(RADIUS + step / 2, AXIAL - step / 2))
    np.testing.assert_allclose(error / half, 8, rtol=0.1)  # what is left is of the third order
