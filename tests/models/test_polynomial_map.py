"""The polynomial map against functions it must find, and outliers it must not follow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.polynomial import chebyshev

from cres.errors import UserError
from reconstruction.models.polynomial_map import PolynomialMap


def smooth(x: torch.Tensor) -> torch.Tensor:
    """Two smooth targets of two coordinates on very different scales."""
    carrier, line = x[:, 0] / 1e6, x[:, 1]
    return torch.stack((carrier + line.pow(3) / 50 + 0.1 * carrier * line, torch.exp(-line / 3)), dim=1)


def coordinates(rows: int, seed: int = 0, margin: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    unit = margin + (1 - 2 * margin) * torch.rand(rows, 2, dtype=torch.float64, generator=generator)
    return unit * torch.tensor([8e6, 5.0]) + torch.tensor([-70e6, 0.1])


def fitted(values_of: torch.Tensor, rows: int = 2000) -> PolynomialMap:
    polynomial = PolynomialMap((1, 9), 2)
    polynomial.fit(coordinates(rows), values_of)
    return polynomial


def test_a_smooth_function_is_found() -> None:
    polynomial = fitted(smooth(coordinates(2000)))
    fresh = coordinates(500, seed=1, margin=0.01)
    torch.testing.assert_close(polynomial(fresh), smooth(fresh), rtol=1e-6, atol=1e-5)


def test_equals_numpys_chebyshev_series() -> None:
    polynomial = fitted(smooth(coordinates(2000)))
    fresh = coordinates(50, seed=2)
    low, high = polynomial.low.numpy(), polynomial.high.numpy()
    u = np.clip(2 * (fresh.numpy() - low) / (high - low) - 1, -1, 1)
    table = polynomial.coefficients.numpy().reshape(2, 10, 2)
    for target in range(2):
        twin = chebyshev.chebval2d(u[:, 0], u[:, 1], table[:, :, target])
        np.testing.assert_allclose(polynomial(fresh)[:, target].numpy(), twin, rtol=1e-10, atol=1e-9)


def test_outliers_are_left_out() -> None:
    values = smooth(coordinates(2000))
    values[::20] += 100.0
    polynomial = PolynomialMap((1, 9), 2)
    spread = polynomial.fit(coordinates(2000), values)
    assert spread.max() < 1e-4
    fresh = coordinates(300, seed=3, margin=0.01)
    torch.testing.assert_close(polynomial(fresh), smooth(fresh), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("rows", [500, 20_000])
def test_coordinates_that_lie_anywhere_do_not_move_the_map(rows: int) -> None:
    """In 4 % of the rows noise passed for the carrier: such coordinates reach far beyond the others, with a lever."""
    generator = torch.Generator().manual_seed(7)
    known = torch.cat((coordinates(rows), torch.randn(rows, 1, dtype=torch.float64, generator=generator)), dim=1)
    values = smooth(known[:, :2]) + 0.3 * known[:, 2:].square() + 0.01 * known[:, :1].div(1e7).pow(3)
    values += 0.003 * torch.randn(rows, 2, dtype=torch.float64, generator=generator)
    known[::25, 0] = -80e6 + 35e6 * torch.rand(len(known[::25]), dtype=torch.float64, generator=generator)
    polynomial = PolynomialMap((2, 9, 2), 2)
    spread = polynomial.fit(known, values)
    assert (spread < 0.0033).all()
    fresh = torch.cat((coordinates(300, seed=3, margin=0.03), torch.zeros(300, 1, dtype=torch.float64)), dim=1)
    wanted = smooth(fresh[:, :2]) + 0.01 * fresh[:, :1].div(1e7).pow(3)
    assert (polynomial(fresh) - wanted).square().mean().sqrt() < 0.003


def test_the_fit_goes_on_until_it_stands() -> None:
    """Every sixth carrier is wrong, all of them at one end: eight rounds leave out more and more of these."""
    known = coordinates(20_000)
    generator = torch.Generator().manual_seed(8)
    values = smooth(known) + 1e-3 * torch.randn(20_000, 2, dtype=torch.float64, generator=generator)
    known[::6, 0] = -70e6 + 2e6 * torch.rand(len(known[::6]), dtype=torch.float64, generator=generator)
    polynomial = PolynomialMap((1, 9), 2)
    spread = polynomial.fit(known, values)
    assert (spread < 1.1e-3).all()
    fresh = coordinates(500, seed=1, margin=0.01)
    assert (polynomial(fresh) - smooth(fresh)).abs().max() < 1e-3


def test_the_spread_is_that_of_the_noise() -> None:
    noise = torch.randn(5000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    spread = PolynomialMap((1, 9), 2).fit(
        coordinates(5000), smooth(coordinates(5000)) + noise * torch.tensor([0.5, 0.1])
    )
    torch.testing.assert_close(spread, torch.tensor([0.5, 0.1], dtype=torch.float64), rtol=0.05, atol=0)


def test_beyond_the_fitted_range_the_edge_is_held() -> None:
    polynomial = fitted(smooth(coordinates(2000)))
    edge = polynomial.high.unsqueeze(0)
    torch.testing.assert_close(polynomial(edge + 1e7), polynomial(edge))


def test_gradients_reach_the_coordinates() -> None:
    polynomial = fitted(smooth(coordinates(2000)))
    assert torch.autograd.gradcheck(polynomial, (coordinates(4, seed=4).requires_grad_(),), eps=1e-2, atol=1e-4)


@pytest.mark.parametrize("degrees", [(9, 2, 2), (1, 9), (0, 3), (4,)])
def test_written_slopes_are_those_of_autograd(degrees: tuple[int, ...]) -> None:
    """The twin goes through the basis that the fit uses, from the powers of x."""
    polynomial = PolynomialMap(degrees, 2)
    generator = torch.Generator().manual_seed(1)
    polynomial.coefficients.copy_(torch.randn(polynomial.coefficients.shape, generator=generator))
    polynomial.fitted = True
    places = 1.4 * torch.rand(50, len(degrees), dtype=torch.float64, generator=generator) - 0.2
    found = []
    for map_of in (polynomial, lambda x: polynomial._basis(x) @ polynomial.coefficients):
        x = places.clone().requires_grad_()
        values = map_of(x)
        (values * torch.arange(1.0, 101.0).reshape(50, 2)).sum().backward()
        found.append((values, x.grad))
    torch.testing.assert_close(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1])
    held = (places < 0) | (places > 1)
    assert held.any()
    assert (found[0][1][held] == 0).all()


def test_the_state_travels_in_the_checkpoint() -> None:
    polynomial, copy = fitted(smooth(coordinates(2000))), PolynomialMap((1, 9), 2)
    with pytest.raises(UserError, match="not fitted"):
        copy(coordinates(2))
    copy.load_state_dict(polynomial.state_dict())
    torch.testing.assert_close(copy(coordinates(5)), polynomial(coordinates(5)))


def test_a_small_set_gets_a_simple_map() -> None:
    polynomial = fitted(smooth(coordinates(12)), rows=12)
    assert (polynomial.coefficients != 0).any(dim=1).sum() == 3  # constant and slopes
    fresh = coordinates(100, seed=6)
    assert (polynomial(fresh) - smooth(fresh)).abs().mean() < smooth(fresh).std()


def test_three_settings_fix_a_parabola_between_them_and_no_more() -> None:
    """Of three walls a map of fourth order would do between them as it likes; of six it finds what is there."""

    def of(walls: list[float]) -> torch.Tensor:
        rows = torch.arange(600)
        return torch.stack((coordinates(600)[:, 1], torch.tensor(walls, dtype=torch.float64)[rows % len(walls)]), dim=1)

    def truth(x: torch.Tensor) -> torch.Tensor:
        return (x[:, :1] + 1) * (x[:, 1:] - 0.3).mul(10).square()

    between = of([0.33, 0.40])
    for walls in ([0.30, 0.36, 0.44], [0.30, 0.33, 0.36, 0.38, 0.41, 0.44]):
        polynomial = PolynomialMap((2, 4), 1)
        polynomial.fit(of(walls), truth(of(walls)))
        torch.testing.assert_close(polynomial(between), truth(between), rtol=1e-8, atol=1e-8)
        orders = polynomial.coefficients.reshape(3, 5).abs().amax(dim=0) > 1e-9
        assert orders.tolist() == [True, True, True, False, False]


def test_bad_input_is_refused() -> None:
    with pytest.raises(UserError, match="no training rows"):
        PolynomialMap((1, 9), 2).fit(coordinates(1)[:0], smooth(coordinates(1))[:0])
    values = smooth(coordinates(2000))
    values[3, 0] = torch.nan
    with pytest.raises(UserError, match="finite"):
        fitted(values)
    with pytest.raises(UserError, match="order"):
        PolynomialMap((), 1)
