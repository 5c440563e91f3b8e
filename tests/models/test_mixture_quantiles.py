"""Quantiles of mixtures against bisection in float64, for mixtures as odd as hypothesis can think of."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reconstruction.levels import ENDS_68, ENDS_95
from reconstruction.models.predictive import mixture
from reconstruction.models.predictive.mixture import GaussianMixture

LEVELS = (0.5, *ENDS_68, *ENDS_95, 0.001, 0.9)


def share_below(value: float, weights: list[float], means: list[float], stds: list[float]) -> float:
    parts = zip(weights, means, stds, strict=True)
    return sum(weight * 0.5 * math.erfc((mean - value) / std / math.sqrt(2)) for weight, mean, std in parts)


def bisected(level: float, weights: list[float], means: list[float], stds: list[float]) -> float:
    """The plain bisection: as many halvings as float64 knows."""
    low = min(mean - 8 * std for mean, std in zip(means, stds, strict=True))
    high = max(mean + 8 * std for mean, std in zip(means, stds, strict=True))
    for _ in range(200):
        middle = 0.5 * (low + high)
        if share_below(middle, weights, means, stds) < level:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def one_target(weights: list[float], means: list[float], stds: list[float]) -> GaussianMixture:
    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64)[None, :, None]

    return GaussianMixture(column(weights)[..., 0].log(), column(means), column(stds)[..., None])


COMPONENTS = st.lists(
    st.tuples(st.floats(1e-6, 1), st.floats(-100, 100), st.floats(-6, 3).map(lambda power: 10.0**power)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=150, deadline=None)
@given(components=COMPONENTS)
def test_equal_to_bisection(components: list[tuple[float, float, float]]) -> None:
    """To 1e-6 of the standard deviation; where the density vanishes between modes, to 1e-9 in probability."""
    total = sum(weight for weight, _, _ in components)
    weights, means, stds = (
        [weight / total for weight, _, _ in components],
        [c[1] for c in components],
        [c[2] for c in components],
    )
    distribution = one_target(weights, means, stds)
    for level in LEVELS:
        found = float(distribution.quantile(level))
        wanted = bisected(level, weights, means, stds)
        near = abs(found - wanted) <= 1e-6 * float(distribution.std)
        assert near or share_below(found, weights, means, stds) == pytest.approx(level, abs=1e-9)


@pytest.mark.parametrize(
    ("weights", "means", "stds"),
    [
        ([1.0], [3.0], [2.0]),
        ([0.5, 0.5], [0.0, 0.0], [1.0, 1.0]),
        ([1 - 1e-12, 1e-12], [0.0, 1e6], [1e-6, 1e3]),
        ([0.3, 0.7], [-1e4, 1e4], [1e-6, 1e-6]),
        ([0.15, 0.85], [0.0, 40.0], [1.0, 1.0]),
        ([0.02, 0.98], [0.0, 0.0], [1e3, 1e-3]),
    ],
)
def test_extreme_and_degenerate_mixtures(weights: list[float], means: list[float], stds: list[float]) -> None:
    distribution = one_target(weights, means, stds)
    for level in LEVELS:
        wanted = bisected(level, weights, means, stds)
        assert float(distribution.quantile(level)) == pytest.approx(wanted, abs=1e-6 * float(distribution.std))


def test_a_component_without_weight_says_nothing() -> None:
    narrow = one_target([1.0], [3.0], [2.0])
    both = GaussianMixture(
        torch.tensor([[0.0, -torch.inf]], dtype=torch.float64),
        torch.tensor([[[3.0], [1e5]]], dtype=torch.float64),
        torch.tensor([[[[2.0]], [[1.0]]]], dtype=torch.float64),
    )
    torch.testing.assert_close(both.estimate, narrow.estimate)
    torch.testing.assert_close(both.error_bar, narrow.error_bar)


def test_many_electrons_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    means, stds = torch.randn(70, 3, 2, dtype=torch.float64), torch.rand(70, 3, 2, dtype=torch.float64) + 0.1
    log_weights = torch.randn(70, 3, dtype=torch.float64).log_softmax(1)

    def estimates() -> list[Tensor]:
        distribution = GaussianMixture(log_weights, means, torch.diag_embed(stds))
        return [distribution.estimate, distribution.error_bar, distribution.quantile(0.3)]

    at_once = estimates()
    monkeypatch.setattr(mixture, "_ROWS_AT_ONCE", 16)
    for piecewise, expected in zip(estimates(), at_once, strict=True):
        torch.testing.assert_close(piecewise, expected, rtol=0, atol=0)
    for row in range(0, 70, 10):
        parts = log_weights[row].exp().tolist(), means[row, :, 1].tolist(), stds[row, :, 1].tolist()
        assert at_once[0][row, 1].item() == pytest.approx(bisected(0.5, *parts), abs=1e-9)


def test_what_is_not_a_number_stays_none() -> None:
    assert not one_target([0.5, 0.5], [math.nan, 0.0], [1.0, 1.0]).estimate.isfinite().any()
