"""The posterior of an ambiguous fit: its own optimum and the others, against the templates' weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cres import schema
from cres.estimation.estimates import Estimated
from cres.estimation.fit.posterior import OTHERS, cholesky_factors, other_optima, with_fit
from cres.estimation.fit.seeded import Seed, with_network
from reconstruction.judging.measures.posterior import Mixture

ANGLES = torch.linspace(88.0, 90.0, 4000, dtype=torch.float64)
ENERGIES = 18_600.0 + 40.0 * (90.0 - ANGLES).square()
"""The energies that explain one carrier: a weaker field where the electron turns further out wants more energy."""


def weights_of(*peaks: tuple[float, float, float]) -> torch.Tensor:
    """Return weights of the templates: Gaussians of (share, middle, width) in the pitch angle."""
    density = sum(share / width * torch.exp(-0.5 * ((ANGLES - middle) / width) ** 2) for share, middle, width in peaks)
    return (density / density.sum())[None]


def mixture(weights: torch.Tensor, fitted: torch.Tensor, middle: float, width: float) -> Mixture:
    others = other_optima(weights, fitted, ENERGIES[None], ANGLES[None])
    fit = torch.tensor([[18_600.0 + 40.0 * (90.0 - middle) ** 2, middle]], dtype=torch.float64)
    slope = -80.0 * (90.0 - middle)
    # along the line of the carrier, and 0.02 eV across
    covariance = width**2 * torch.tensor([[[slope**2, slope], [slope, 1.0]]], dtype=torch.float64)
    covariance[0, 0, 0] += 0.02**2
    weight, mean, spread = with_fit(fit, covariance, (weights * fitted).sum(1), others)
    return Mixture(weight.numpy(), mean.numpy(), cholesky_factors(spread).numpy())


PEAKS = ((0.6, 88.7, 0.005), (0.25, 89.3, 0.01), (0.15, 88.4, 0.008))


def test_it_has_the_distribution_of_the_templates_at_every_optimum() -> None:
    weights = weights_of(*PEAKS)
    fitted = ((ANGLES - 88.7).abs() < 0.05)[None]
    found = mixture(weights, fitted, 88.7, 0.005)
    assert found.weights.shape == (1, 1 + OTHERS)
    assert found.weights.sum() == pytest.approx(1.0)
    below = weights[0].cumsum(0) - weights[0] / 2
    for angle in (88.38, 88.4, 88.42, 88.55, 88.7, 89.0, 89.28, 89.3, 89.32, 89.6):
        place = int(torch.searchsorted(ANGLES, torch.tensor(angle, dtype=torch.float64)))
        energy = 18_600.0 + 40.0 * (90.0 - angle) ** 2
        of_energy, of_angle = found.cdf(np.array([[energy, angle]]))[0]
        assert of_angle == pytest.approx(float(below[place]), abs=0.03)
        # a larger pitch angle is a smaller energy
        assert of_energy == pytest.approx(1 - float(below[place]), abs=0.03)


def test_pieces_are_the_moments_of_their_templates() -> None:
    weights = weights_of((0.5, 88.6, 0.2), (0.5, 89.5, 0.1))
    fitted = ((ANGLES - 89.5).abs() < 0.02)[None]
    weight, mean, covariance = other_optima(weights, fitted, ENERGIES[None], ANGLES[None], components=3)
    # pieces in the order of the energies, which fall with the pitch angle
    share = (weights * ~fitted)[0].numpy()[::-1]
    points = np.stack([ENERGIES.numpy(), ANGLES.numpy()], 1)[::-1]
    apart = np.diff(points, axis=0)
    before, after = np.concatenate([apart[:1], apart]), np.concatenate([apart, apart[-1:]])
    step = np.where(np.abs(before[:, :1]) < np.abs(after[:, :1]), before, after)
    piece = ((share.cumsum() - share / 2) / share.sum() * 3).astype(int)
    for k in range(3):
        own = share * (piece == k)
        middle = (own[:, None] * points).sum(0) / own.sum()
        slow = sum(
            w * (np.outer(p - middle, p - middle) + np.outer(s, s) / 12)
            for w, p, s in zip(own, points, step, strict=True)
        )
        np.testing.assert_allclose(weight[0, k], own.sum(), rtol=1e-12)
        np.testing.assert_allclose(mean[0, k], middle, rtol=1e-12)
        np.testing.assert_allclose(covariance[0, k], slow / own.sum(), rtol=1e-6)


def test_a_fit_without_rivals_is_one_gaussian() -> None:
    weights = weights_of((1.0, 88.7, 0.002))
    found = mixture(weights, torch.ones(1, 4000, dtype=torch.bool), 88.7, 0.002)
    assert found.weights[0].tolist() == [1.0] + [0.0] * OTHERS
    assert np.isfinite(found.choleskys).all()
    assert found.cdf(np.array([[18_600.0 + 40.0 * 1.3**2, 88.7]]))[0] == pytest.approx([0.5, 0.5])


def test_truths_drawn_from_the_templates_have_uniform_ranks_and_one_wide_gaussian_has_not() -> None:
    random = np.random.default_rng(5)
    weights = weights_of(*PEAKS)
    found = mixture(weights, ((ANGLES - 88.7).abs() < 0.05)[None], 88.7, 0.005)
    chosen = random.choice(len(ANGLES), size=2000, p=weights[0].numpy())
    step = float(ANGLES[1] - ANGLES[0])
    angle = ANGLES.numpy()[chosen] + step * random.uniform(-0.5, 0.5, 2000)
    truth = np.stack([18_600.0 + 40.0 * (90.0 - angle) ** 2, angle], 1)
    ranks = np.array([found.cdf(one[None])[0, 1] for one in truth])
    half_width = np.quantile(np.abs(angle - 88.7), 0.6827)
    single = Mixture(np.ones((1, 1)), np.array([[[18_667.6, 88.7]]]), np.diag([1.0, half_width])[None, None])
    of_one = np.array([single.cdf(one[None])[0, 1] for one in truth])
    distances = [np.abs(np.sort(u) - (np.arange(2000) + 0.5) / 2000).max() for u in (ranks, of_one)]
    assert distances[0] < 0.04 < 0.2 < distances[1]


def test_where_the_network_answers_its_error_bars_are_the_posterior() -> None:
    one = np.ones(2)
    seed = Seed(18_590.0 * one, 0.5 * one, one, 88.9 * one, 0.01 * one, one)
    columns = (np.full((2, 3), 1 / 3), np.zeros((2, 3, 2)), np.tile(np.eye(2), (2, 3, 1, 1)))
    values = {schema.ENERGY: 18_600.0 * one, schema.PITCH_ANGLE: 89.0 * one}
    extra = dict(zip(schema.POSTERIOR_COLUMNS[:3], columns, strict=True))
    found = with_network(Estimated(values, values, extra), seed, torch.tensor([True, False]))
    weight, mean, cholesky = (found.extra[name] for name in schema.POSTERIOR_COLUMNS[:3])
    assert weight.tolist() == [[1.0, 0.0, 0.0], [1 / 3] * 3]
    assert mean[0, 0].tolist() == [18_590.0, 88.9]
    assert cholesky[0, 0].tolist() == [[0.5, 0.0], [0.0, 0.01]]
    assert mean[1].tolist() == [[0.0, 0.0]] * 3


def test_a_covariance_without_an_inverse_ends_no_estimation() -> None:
    sound = torch.tensor([[4.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    line = torch.tensor([[4.0, 2.0], [2.0, 1.0]], dtype=torch.float64)
    saddle = torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=torch.float64)
    found = cholesky_factors(torch.stack([sound, line, saddle]))
    torch.testing.assert_close(found[0], torch.linalg.cholesky(sound))
    assert torch.isfinite(found).all()
    assert (torch.diagonal(found, dim1=1, dim2=2) > 0).all()
