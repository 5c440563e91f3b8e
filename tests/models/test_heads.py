"""Heads, predictive distributions, losses and calibration."""

from __future__ import annotations

import math

import pytest
import torch
from torch import distributions as td
from torch import nn

from cres.errors import UserError
from reconstruction.models import (
    CRPS,
    MSE,
    DrawnDistribution,
    FlowHead,
    Gaussian,
    GaussianHead,
    GaussianMixture,
    GaussianNLL,
    Head,
    Huber,
    Loss,
    MixtureHead,
    Pinball,
    Point,
    PointHead,
    PredictiveDistribution,
    QuantileHead,
    Quantiles,
    combine,
)

HEADS: dict[str, tuple[type[Head], dict[str, object]]] = {
    "point": (PointHead, {}),
    "gaussian": (GaussianHead, {}),
    "gaussian_full": (GaussianHead, {"covariance": "full"}),
    "mixture": (MixtureHead, {"components": 2}),
    "mixture_diagonal": (MixtureHead, {"covariance": "diagonal"}),
    "quantiles": (QuantileHead, {}),
    "flow": (FlowHead, {"components": 2, "draws": 64}),
}


def predict(
    name: str, targets: int = 2, batch: int = 5, dtype: torch.dtype = torch.float64, anchor: float | None = None
) -> PredictiveDistribution:
    torch.manual_seed(1)
    kind, options = HEADS[name]
    head = kind(7, targets, **options).to(dtype).requires_grad_(False)  # type: ignore[arg-type]
    guess = None if anchor is None else torch.full((batch, targets), anchor, dtype=dtype)
    return head(torch.randn(batch, 7, dtype=dtype), guess)


@pytest.fixture(params=HEADS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("targets", [1, 2, 3])
def test_shapes(name: str, targets: int) -> None:
    distribution = predict(name, targets)
    assert distribution.mean.shape == distribution.std.shape == (5, targets)
    assert distribution.covariance.shape == (5, targets, targets)
    assert distribution.sample(4).shape == (4, 5, targets)
    assert distribution.crps(distribution.mean).shape == (5, targets)


@pytest.mark.parametrize("name", ["gaussian", "gaussian_full", "mixture", "mixture_diagonal", "quantiles"])
def test_moments_are_those_of_the_samples(name: str) -> None:
    distribution = predict(name, batch=2)
    samples = distribution.sample(200_000)
    spread = samples.std(dim=0)
    torch.testing.assert_close(samples.mean(dim=0), distribution.mean, atol=0.02 * float(spread.max()), rtol=0)
    if name == "quantiles":
        levels = torch.tensor([0.158655, 0.841345], dtype=samples.dtype)
        low, high = torch.quantile(samples[:100_000], levels, dim=0)
        torch.testing.assert_close(0.5 * (high - low), distribution.std, rtol=0.02, atol=0)
    else:
        torch.testing.assert_close(spread, distribution.std, rtol=0.02, atol=0)
        for electron in range(2):
            torch.testing.assert_close(
                samples[:, electron].T.cov(), distribution.covariance[electron], rtol=0.03, atol=0.03
            )


@pytest.mark.parametrize("name", ["gaussian", "gaussian_full", "mixture", "quantiles", "point"])
def test_crps_is_that_of_the_samples(name: str) -> None:
    distribution = predict(name, batch=2)
    value = distribution.mean + 0.7
    samples = distribution.sample(40_000)
    first, second = samples[:20_000], samples[20_000:]
    expected = (samples - value).abs().mean(dim=0) - 0.5 * (first - second).abs().mean(dim=0)
    torch.testing.assert_close(distribution.crps(value), expected, rtol=0.05, atol=0.02)


def test_log_prob_equals_torch() -> None:
    value = torch.randn(5, 2, dtype=torch.float64)
    gaussian = predict("gaussian_full")
    assert isinstance(gaussian, Gaussian)
    reference = td.MultivariateNormal(gaussian.mean, gaussian.covariance)
    torch.testing.assert_close(gaussian.log_prob(value), reference.log_prob(value))
    mixture = predict("mixture")
    assert isinstance(mixture, GaussianMixture)
    components = td.MultivariateNormal(mixture.locations, scale_tril=mixture.choleskys)
    reference = td.MixtureSameFamily(td.Categorical(logits=mixture.log_weights), components)
    torch.testing.assert_close(mixture.log_prob(value), reference.log_prob(value))


def test_affine(name: str) -> None:
    distribution = predict(name)
    scale, shift = torch.tensor([58.0, 0.5], dtype=torch.float64), torch.tensor([18_600.0, 89.0], dtype=torch.float64)
    moved = distribution.affine(scale, shift)
    torch.testing.assert_close(moved.mean, distribution.mean * scale + shift)
    if name != "point":
        torch.testing.assert_close(moved.std, distribution.std * scale)
        torch.testing.assert_close(
            moved.covariance, distribution.covariance * scale[:, None] * scale, rtol=1e-9, atol=1e-9
        )
    if name not in ("point", "quantiles"):
        value = torch.randn(5, 2, dtype=torch.float64)
        torch.testing.assert_close(
            moved.log_prob(value * scale + shift), distribution.log_prob(value) - scale.log().sum()
        )


def test_affine_gives_float64_for_physical_units() -> None:
    moved = predict("gaussian", dtype=torch.float32).affine(torch.ones(2).double(), torch.full((2,), 18_600.0).double())
    assert moved.mean.dtype == moved.std.dtype == torch.float64


def test_temper_keeps_the_place_and_scales_the_std(name: str) -> None:
    distribution = predict(name)
    each = torch.rand(distribution.mean.shape).double() + 0.5
    for temperature in (torch.tensor(2.0).double(), torch.tensor([0.5, 3.0]).double(), each):
        tempered = distribution.temper(temperature)
        if isinstance(tempered, Quantiles | DrawnDistribution):  # its estimate is the median, wherever its mean lies
            assert not torch.allclose(distribution.mean, distribution.estimate)
            torch.testing.assert_close(tempered.estimate, distribution.estimate)
        else:
            torch.testing.assert_close(tempered.mean, distribution.mean)
        if isinstance(distribution, GaussianMixture):
            assert isinstance(tempered, GaussianMixture)
            torch.testing.assert_close(tempered.locations, distribution.locations)
            widths = torch.linalg.vector_norm(distribution.choleskys, dim=-1)
            factor = temperature.unsqueeze(1) if temperature.ndim == 2 else temperature
            torch.testing.assert_close(torch.linalg.vector_norm(tempered.choleskys, dim=-1), widths * factor)
        elif name != "point":
            torch.testing.assert_close(tempered.std, distribution.std * temperature)


@pytest.mark.parametrize("name", ["gaussian", "gaussian_full", "mixture", "mixture_diagonal"])
def test_estimate_and_error_bar_are_median_and_half_the_central_interval(name: str) -> None:
    distribution = predict(name, batch=3)
    draws = distribution.sample(200_000)
    low, middle, high = torch.quantile(draws, torch.tensor([0.158655, 0.5, 0.841345]).to(draws.dtype), dim=0)
    torch.testing.assert_close(distribution.estimate, middle, atol=0.02, rtol=0)
    torch.testing.assert_close(distribution.error_bar, (high - low) / 2, atol=0.02, rtol=0)
    variances = torch.diagonal(distribution.error_covariance, dim1=-2, dim2=-1)
    torch.testing.assert_close(variances, distribution.error_bar.square())


def test_the_density_of_each_target_integrates_to_its_distribution_function(name: str) -> None:
    distribution = predict(name, batch=1)
    grid = torch.linspace(-40, 40, 80_001, dtype=torch.float64)
    if name in ("point", "quantiles", "flow"):
        assert distribution.marginal_log_prob(distribution.mean).isnan().all()
        return
    middle = distribution.estimate.double()
    for target in range(2):
        values = middle.expand(len(grid), 2).clone()
        values[:, target] += grid
        spread = distribution.map(lambda part: part.double().expand(len(grid), *part.shape[1:]))
        density = spread.marginal_log_prob(values)[:, target].exp()
        assert torch.trapezoid(density, grid).item() == pytest.approx(1.0, abs=1e-4)
        assert torch.trapezoid(density[grid <= 0], grid[grid <= 0]).item() == pytest.approx(0.5, abs=1e-3)


def test_an_outlying_component_does_not_widen_the_error_bar() -> None:
    """92 % within 0.1 of 0 and 8 % far away: the standard deviation is ruled by the few, the error bar is not."""
    narrow = torch.eye(1).expand(1, 2, 1, 1) * 0.1
    mixture = GaussianMixture(torch.tensor([[0.92, 0.08]]).log(), torch.tensor([[[0.0], [50.0]]]), narrow)
    assert mixture.std.item() > 10
    assert mixture.error_bar.item() == pytest.approx(0.12, abs=0.03)


@pytest.mark.parametrize("name", ["point", "gaussian", "quantiles"])
def test_an_anchor_is_what_the_prediction_is_measured_from(name: str) -> None:
    plain, anchored = predict(name), predict(name, anchor=2.5)
    torch.testing.assert_close(anchored.estimate, plain.estimate + 2.5)


def test_only_the_first_component_is_tied_to_the_anchor() -> None:
    plain, anchored = predict("mixture"), predict("mixture", anchor=7.0)
    assert isinstance(plain, GaussianMixture)
    assert isinstance(anchored, GaussianMixture)
    torch.testing.assert_close(anchored.locations[:, 1:], plain.locations[:, 1:])
    widths = torch.diagonal(plain.choleskys, dim1=-2, dim2=-1)
    torch.testing.assert_close(anchored.locations[:, 0], 7.0 + plain.locations[:, 0] * widths[:, 0])


def test_quantiles_rise() -> None:
    distribution = predict("quantiles", batch=50)
    assert isinstance(distribution, Quantiles)
    assert (distribution.values.diff(dim=-1) >= 0).all()


def test_gaussian_crps_formula() -> None:
    """At the centre of a standard normal: (√2 − 1)/√π (Gneiting et al. 2005)."""
    gaussian = Gaussian(torch.zeros(1, 1).double(), torch.ones(1, 1, 1).double())
    expected = (math.sqrt(2) - 1) / math.sqrt(math.pi)
    assert float(gaussian.crps(torch.zeros(1, 1).double())) == pytest.approx(expected)


LOSSES: dict[str, Loss] = {
    "mse": MSE(),
    "weighted_mse": MSE([3.0, 1.0]),
    "huber": Huber(0.5),
    "nll": GaussianNLL(),
    "beta_nll": GaussianNLL(0.5),
    "crps": CRPS(),
    "pinball": Pinball(),
}
REFUSED = {
    ("point", "nll"), ("point", "beta_nll"), ("quantiles", "nll"), ("quantiles", "beta_nll"),
    ("mixture", "beta_nll"), ("mixture_diagonal", "beta_nll"), ("flow", "beta_nll"),
}  # fmt: skip


@pytest.mark.parametrize("loss_name", LOSSES)
def test_each_loss_with_each_head(name: str, loss_name: str) -> None:
    distribution, loss = predict(name), LOSSES[loss_name]
    targets = torch.randn(5, 2, dtype=torch.float64)
    if (name, loss_name) in REFUSED or (loss_name == "pinball" and name != "quantiles"):
        with pytest.raises(UserError):
            loss(distribution, targets)
        return
    assert loss(distribution, targets).shape == (5,)
    for wrong in (targets[:, 0], targets[:, :1], targets[:1], targets.unsqueeze(0)):
        with pytest.raises(Exception, match=r"shape|Type-check"):
            loss(distribution, wrong)


def test_wrong_shapes_are_refused_without_the_type_checker() -> None:
    """One target: a squeezed truth must not broadcast to batch × batch."""
    with pytest.raises(ValueError, match="must be equal"):
        predict("gaussian", targets=1).check(torch.zeros(5).double())


def test_losses_by_hand() -> None:
    estimate = Point(torch.tensor([[1.0, 2.0]]))
    truth = torch.tensor([[0.0, 4.0]])
    assert float(MSE()(estimate, truth)) == pytest.approx(2.5)
    assert float(MSE([3.0, 1.0])(estimate, truth)) == pytest.approx(7 / 4)
    assert float(Huber(0.5)(estimate, truth)) == pytest.approx((0.375 + 0.875) / 2)
    with pytest.raises(UserError, match="3 weights for 2 targets"):
        MSE([1.0, 1.0, 1.0])(estimate, truth)
    quantiles = Quantiles(torch.tensor([0.25, 0.75]), torch.tensor([[[0.0, 1.0]]]))
    assert float(Pinball()(quantiles, torch.tensor([[2.0]]))) == pytest.approx((0.25 * 2 + 0.75 * 1) / 2)


def test_beta_nll_weights_the_terms_without_gradient() -> None:
    log_std = torch.tensor([[0.3, -0.2]], dtype=torch.float64, requires_grad=True)
    gaussian = Gaussian(torch.zeros(1, 2).double(), torch.diag_embed(log_std.exp()))
    targets = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(GaussianNLL(0.5)(gaussian, targets).sum(), log_std)
    torch.testing.assert_close(gradient, (log_std.exp() * (1 - targets.square() / (2 * log_std).exp())).detach())


@pytest.mark.parametrize("name", ["point", "gaussian", "mixture", "quantiles", "flow"])
def test_ensemble_of_equal_members_is_the_member(name: str) -> None:
    member = predict(name)
    together = combine([member, member])
    torch.testing.assert_close(together.mean, member.mean)
    torch.testing.assert_close(together.std, member.std, equal_nan=True)


@pytest.mark.parametrize("name", ["gaussian_full", "mixture"])
def test_ensemble_has_the_moments_of_the_mixture(name: str) -> None:
    members = [predict(name, dtype=torch.float64) for _ in range(3)]
    together = combine(members)
    mean = torch.stack([member.mean for member in members]).mean(dim=0)
    apart = torch.stack([member.mean - mean for member in members])
    within = torch.stack([member.covariance for member in members]).mean(dim=0)
    torch.testing.assert_close(together.mean, mean)
    torch.testing.assert_close(together.covariance, within + torch.einsum("mbi,mbj->bij", apart, apart) / len(members))


def test_ensemble_counts_the_disagreement() -> None:
    members = [Gaussian(torch.full((1, 1), at), torch.ones(1, 1, 1)) for at in (-2.0, 2.0)]
    assert float(combine(members).std) == pytest.approx(math.sqrt(5))
    with pytest.raises(UserError, match="same head"):
        combine([members[0], Point(torch.zeros(1, 1))])


def test_gradient_reaches_every_parameter(name: str) -> None:
    kind, options = HEADS[name]
    head = kind(7, 2, **options)  # type: ignore[arg-type]
    distribution = head(torch.randn(64, 7))
    distribution.crps(torch.randn(64, 2)).sum().backward()
    for parameter_name, parameter in head.named_parameters():
        assert parameter.grad is not None
        if name in ("gaussian_full", "flow"):  # splines that are new do nothing: their last layer moves first
            continue
        assert parameter.grad.abs().max() > 0, parameter_name


def test_linear_path() -> None:
    """A target that is linear in the features is learned exactly by the direct path."""
    head = PointHead(3, 1)
    with torch.no_grad():
        for parameter in head.perceptron.parameters():
            parameter.zero_()
        head.linear.weight.copy_(torch.tensor([[2.0, 0.0, -1.0]]))
    torch.testing.assert_close(head(torch.tensor([[1.0, 5.0, 3.0]])).mean, torch.tensor([[-1.0]]))


def test_heads_stay_in_float32_under_autocast(name: str) -> None:
    kind, options = HEADS[name]
    head = kind(7, 2, **options)  # type: ignore[arg-type]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert head(torch.randn(3, 7, dtype=torch.bfloat16)).mean.dtype == torch.float32


def test_bad_settings_are_refused() -> None:
    for make in (
        lambda: PointHead(3, 0),
        lambda: QuantileHead(3, 1, levels=(0.5, 0.1)),
        lambda: FlowHead(3, 1, draws=3),
        lambda: FlowHead(3, 1, bins=1),
        lambda: FlowHead(3, 1, components=0),
        lambda: GaussianNLL(2.0),
        lambda: MSE([-1.0, 2.0]),
    ):
        with pytest.raises(UserError):
            make()
    with pytest.raises(Exception, match=r"expected|Type-check"):
        PointHead(3, 1)(torch.zeros(2, 4))


def test_learns_a_known_uncertainty() -> None:
    """Noise of 0.1 for feature 0 and 1.0 for feature 1 comes out of the Gaussian head."""
    torch.manual_seed(0)
    head = GaussianHead(2, 1, hidden_width=16)
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-2)
    which = torch.randint(0, 2, (1024,))
    features = nn.functional.one_hot(which, 2).float()
    targets = torch.where(which == 0, 0.1, 1.0).unsqueeze(1) * torch.randn(1024, 1)
    for _ in range(200):
        optimizer.zero_grad()
        GaussianNLL()(head(features), targets).mean().backward()
        optimizer.step()
    std = head(torch.eye(2)).std.squeeze(1)
    torch.testing.assert_close(std, torch.tensor([0.1, 1.0]), rtol=0.1, atol=0)
