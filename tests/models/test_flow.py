"""A conditional flow: its density, its draws, and what is left of it as draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import Tensor

from cres.errors import UserError
from cres.transforms import FROZEN_EPOCH, KeyedRandom
from reconstruction.models import Calibration, DrawnDistribution, FlowHead, GaussianMixture, GaussianNLL, combine
from reconstruction.models.predictive.flow import Flow
from reconstruction.training.learning.metrics import LEVELS_OF_DRAWS, posterior_columns


def bent(targets: int = 2, batch: int = 3, transforms: int = 2) -> Flow:
    """A flow whose splines do something."""
    torch.manual_seed(3)
    head = FlowHead(4, targets, components=2, transforms=transforms, bins=5, draws=64).double()
    with torch.no_grad():
        for part in head.splines.parameters():
            part.normal_(std=0.1)
    head.requires_grad_(False)
    return head(torch.randn(batch, 4, dtype=torch.float64))


def test_a_new_flow_is_its_mixture() -> None:
    torch.manual_seed(0)
    said = FlowHead(4, 3)(torch.randn(6, 4), torch.randn(6, 3))
    value = torch.randn(6, 3)
    torch.testing.assert_close(said.log_prob(value), said.latent.log_prob(value), rtol=1e-5, atol=1e-5)
    assert isinstance(said.latent, GaussianMixture)


def test_the_density_integrates_to_one() -> None:
    """On a grid in float64, which knows nothing of determinants."""
    flow = bent().affine(torch.tensor([2.0, 0.5]).double(), torch.tensor([1.0, -3.0]).double())
    axes = [2.0 * torch.linspace(-8, 8, 121).double() + 1.0, 0.5 * torch.linspace(-8, 8, 121).double() - 3.0]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, 1)
    density = flow.log_density(grid.expand(3, -1, -1)).exp()
    area = float((axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0]))
    torch.testing.assert_close(density.sum(dim=1) * area, torch.ones(3).double(), rtol=2e-3, atol=0)


def test_draws_are_of_the_density() -> None:
    """E[box(x)/p(x)] over draws is the area of the box, whatever the density is."""
    flow = bent(batch=1)
    points = flow.at(torch.rand(1, 20_000, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    middle, half = points.median(dim=1).values, 0.5
    inside = ((points - middle.unsqueeze(1)).abs() < half).all(dim=-1)
    weights = inside * torch.exp(-flow.log_density(points))
    error = float(weights.std() / math.sqrt(20_000))
    assert float(weights.mean()) == pytest.approx((2 * half) ** 2, abs=4 * error)
    assert error < 0.1


def test_density_of_one_value_and_of_many() -> None:
    flow = bent(targets=3, batch=4)
    values = torch.randn(4, 5, 3).double()
    each = torch.stack([flow.log_prob(values[:, i]) for i in range(5)], dim=1)
    torch.testing.assert_close(flow.log_density(values), each)
    torch.testing.assert_close(flow.splines.inverse(flow.splines(values, flow.context)[0], flow.context), values)


def test_the_wider_share_bounds_the_weights() -> None:
    flow = bent()
    wide = flow.defended(0.1, 3.0)
    values = 3 * torch.randn(3, 50, 2).double()
    apart = wide.log_density(values) - flow.log_density(values)
    assert float(apart.min()) >= math.log(0.9) - 1e-9
    assert float(apart.max()) > 1
    assert flow.defended(0.0, 3.0) is flow


def test_the_same_event_gets_the_same_points() -> None:
    flow = bent(batch=4)
    random = KeyedRandom(5, FROZEN_EPOCH, torch.tensor([7, 1, 9, 4]))
    points = flow.at(random.uniform(10, 3, stream="posterior"))
    alone = flow._rows(slice(2, 3)).at(
        KeyedRandom(5, FROZEN_EPOCH, torch.tensor([9])).uniform(10, 3, stream="posterior")
    )
    torch.testing.assert_close(alone[0], points[2])
    assert bool(points.isfinite().all())
    assert bool(flow.at(torch.zeros(4, 2, 3)).isfinite().all())


def test_draws_are_read_as_their_quantiles_and_score() -> None:
    generator = np.random.default_rng(2)
    values = generator.normal(size=(3, 501, 2)) * [1.0, 4.0] + [0.0, 10.0]
    draws = DrawnDistribution(torch.from_numpy(values))
    np.testing.assert_allclose(draws.estimate, np.median(values, axis=1), rtol=1e-12)
    np.testing.assert_allclose(draws.quantile(0.9), np.quantile(values, 0.9, axis=1, method="hazen"), rtol=1e-9)
    truth = torch.tensor([[0.3, 8.0]] * 3).double()
    pairs = np.abs(values[:, :, None] - values[:, None]).mean(axis=(1, 2))
    brute = np.abs(values - truth.numpy()[:, None]).mean(axis=1) - pairs / 2
    np.testing.assert_allclose(draws.crps(truth), brute, rtol=1e-9)
    with pytest.raises(UserError, match="no density"):
        draws.log_prob(truth)
    with pytest.raises(UserError, match="as many draws"):
        combine([draws, DrawnDistribution(torch.zeros(3, 4, 2).double())])
    columns = posterior_columns(draws)
    assert columns["posterior_quantile"].shape == (3, 2, len(LEVELS_OF_DRAWS))
    assert list(LEVELS_OF_DRAWS) == sorted(LEVELS_OF_DRAWS)


def test_a_flow_that_is_too_sure_is_calibrated() -> None:
    torch.manual_seed(1)
    head = FlowHead(2, 1, components=1, draws=200).double().requires_grad_(False)
    said = head(torch.randn(3000, 2).double())
    truth = said.drawn.mean + 2 * said.drawn.std * torch.randn(3000, 1).double()
    calibration = Calibration(1)
    calibration.fit(said, truth, "likelihood")
    tempered = calibration(said)
    inside = (truth - tempered.estimate).abs() < tempered.error_bar
    assert float(inside.double().mean()) == pytest.approx(0.683, abs=0.02)
    raw = (truth - said.estimate).abs() < said.error_bar
    assert float(raw.double().mean()) < 0.45


@pytest.fixture(scope="module")
def two_roots() -> tuple[FlowHead, Tensor, Tensor]:
    """A flow that learned x from y = x² + noise, x normal: two roots, which no Gaussian between them describes."""
    torch.manual_seed(0)
    head = FlowHead(3, 1, components=2, transforms=1, draws=64, hidden_width=32, spline_width=32)
    optimiser = torch.optim.Adam(head.parameters(), lr=5e-3)
    for _ in range(250):
        x = torch.randn(128, 1)
        y = x.square() + 0.3 * torch.randn_like(x)
        optimiser.zero_grad()
        GaussianNLL()(head(_features(y)), x).mean().backward()
        optimiser.step()
    x = torch.randn(1500, 1, generator=torch.Generator().manual_seed(9))
    y = x.square() + 0.3 * torch.randn(1500, 1, generator=torch.Generator().manual_seed(10))
    return head.requires_grad_(False), x.double(), y.double()


def _features(y: Tensor) -> Tensor:
    return torch.cat((y, y.clamp(min=0).sqrt(), torch.ones_like(y)), dim=1).float()


def _log_target(x: Tensor, y: Tensor) -> Tensor:
    """ln of prior × likelihood of x (row, point) at y (row, 1)."""
    return (-0.5 * x.square() - 0.5 * ((y - x.square()) / 0.3).square()).double()


def test_it_learns_both_roots(two_roots: tuple[FlowHead, Tensor, Tensor]) -> None:
    head, _, _ = two_roots
    at = torch.tensor([[1.0], [2.25]])
    drawn = head(_features(at)).at(torch.rand(2, 4000, 2, generator=torch.Generator().manual_seed(0)))[..., 0]
    for points, root in zip(drawn, (1.0, 1.5), strict=True):
        right = points > 0
        assert 0.4 < float(right.double().mean()) < 0.6
        assert float(points[right].median()) == pytest.approx(root, abs=0.15)
        assert float((points.abs() < 0.4).double().mean()) < 0.05


@pytest.mark.parametrize(("wrong", "weighed", "flat"), [(False, True, True), (True, True, True), (True, False, False)])
def test_weights_make_the_ranks_of_the_truth_uniform(
    two_roots: tuple[FlowHead, Tensor, Tensor], wrong: bool, weighed: bool, flat: bool
) -> None:
    """P–P: the posterior probability below the truth is uniform, also of a proposal that is wrong on purpose."""
    head, truth, y = two_roots
    flow = head(_features(y)).defended(0.2, 3.0)
    if wrong:
        flow = flow.affine(torch.tensor([1.15]), torch.tensor([0.12]))
    points = flow.at(torch.rand(len(y), 400, 2, generator=torch.Generator().manual_seed(4)))
    log_weight = _log_target(points[..., 0], y) - flow.log_density(points.double()).double()
    weights = torch.softmax(log_weight if weighed else torch.zeros_like(log_weight), dim=1)
    below = ((points[..., 0] < truth) * weights).sum(dim=1).numpy()
    # a truth stands between the samples: ranks of 400 of them are as good as continuous
    assert bool(kstest(below, "uniform").pvalue > 1e-3) is flat


def test_weighed_samples_are_the_posterior_of_a_grid(two_roots: tuple[FlowHead, Tensor, Tensor]) -> None:
    head, _, _ = two_roots
    y = torch.tensor([[0.2], [1.0], [4.0]]).double()
    grid = torch.linspace(-5, 5, 20_001).double().expand(3, -1)
    exact = torch.softmax(_log_target(grid, y), dim=1)
    flow = head(_features(y)).defended(0.1, 3.0)
    points = flow.at(torch.rand(3, 20_000, 2, generator=torch.Generator().manual_seed(2)))
    x = points[..., 0].double()
    weights = torch.softmax(_log_target(x, y) - flow.log_density(points.double()).double(), dim=1)
    for function in (lambda v: (v > 0).double(), torch.square, torch.abs):
        wanted, found = (exact * function(grid)).sum(dim=1), (weights * function(x)).sum(dim=1)
        error = (weights * (function(x) - found.unsqueeze(1))).square().sum(dim=1).sqrt()
        assert bool(((found - wanted).abs() < 4 * error + 1e-9).all())
        assert bool((error < 0.1).all())
