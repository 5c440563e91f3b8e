"""Gradients that are written out, against those that autograd makes of the plain formulae, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from reconstruction.models.affine import Affine
from reconstruction.models.locator import location_loss
from reconstruction.models.predictive.mixture import GaussianMixture


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(5, 3), (2, 4, 3)])
def test_an_affine_layer_is_a_linear_one(shape: tuple[int, ...], bias: bool) -> None:
    ours = Affine(3, 2, bias=bias).double()
    theirs = nn.Linear(3, 2, bias=bias).double()
    theirs.load_state_dict(ours.state_dict())
    weights = random(*shape[:-1], 2, seed=1)
    found = []
    for layer in (ours, theirs):
        values = random(*shape).requires_grad_()
        out = layer(values)
        (out * weights).sum().backward()
        found.append([out, values.grad, *(parameter.grad for parameter in layer.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_a_frozen_affine_layer_still_passes_gradients_on() -> None:
    layer = Affine(3, 2).requires_grad_(False)
    values = torch.randn(4, 3, requires_grad=True)
    layer(values).sum().backward()
    assert values.grad is not None
    assert layer.weight.grad is None


def test_an_affine_layer_takes_part_in_autocast() -> None:
    layer = Affine(3, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(4, 3)).dtype == torch.bfloat16


def mixture(components: int, targets: int) -> list[Tensor]:
    lower = torch.tril(random(4, components, targets, targets, seed=2), -1)
    choleskys = lower + torch.diag_embed(0.3 + random(4, components, targets, seed=3).exp())
    return [
        random(4, components, seed=4).log_softmax(1),
        random(4, components, targets, seed=5),
        choleskys,
        random(4, targets, seed=6),
    ]


def plain_log_density(log_weights: Tensor, locations: Tensor, choleskys: Tensor, value: Tensor) -> Tensor:
    """Each component's density from its covariance."""
    covariance = choleskys @ choleskys.mT
    offset = (value.unsqueeze(1) - locations).unsqueeze(-1)
    square = (offset.mT @ torch.linalg.inv(covariance) @ offset)[..., 0, 0]
    size = value.shape[-1] * math.log(2 * math.pi) + torch.logdet(covariance)
    return torch.logsumexp(log_weights - 0.5 * (square + size), dim=1)


@pytest.mark.parametrize(("components", "targets"), [(1, 1), (2, 2), (3, 3)])
def test_the_density_of_a_mixture_and_its_gradient(components: int, targets: int) -> None:
    found = []
    for density in (lambda *parts: GaussianMixture(*parts[:3]).log_prob(parts[3]), plain_log_density):
        parts = [part.requires_grad_() for part in mixture(components, targets)]
        value = density(*parts)
        (value * random(4, seed=7)).sum().backward()
        found.append([value, *(part.grad for part in parts)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other if one.ndim < 4 else torch.tril(other), rtol=1e-9, atol=1e-9)


def plain_location_loss(log_attention: Tensor, position: Tensor, wanted: Tensor, reach: int) -> Tensor:
    last = log_attention.shape[1] - 1
    held = wanted.clamp(0, last)
    lower = held.floor().clamp(max=last - 1)
    pick = torch.stack((lower, lower + 1), dim=1).long()
    below, above = log_attention.gather(1, pick).unbind(dim=1)
    there = (log_attention.argmax(dim=1) - held).abs() <= reach
    huber = there * nn.functional.huber_loss(position, held, delta=0.3, reduction="none")
    return (3 * huber - torch.lerp(below, above, held - lower)).masked_fill(held != wanted, 0)


@pytest.mark.parametrize("reach", [0, 2, 8])
def test_the_loss_of_a_place_and_its_gradient(reach: int) -> None:
    wanted = torch.tensor([3.4, 40.0, -2.0, 7.0, 0.0, 5.75], dtype=torch.float64)
    found = []
    for loss in (location_loss, plain_location_loss):
        attention = random(6, 8).log_softmax(1).requires_grad_()
        position = (wanted + random(6, seed=8)).detach().requires_grad_()
        value = loss(attention, position, wanted, reach)
        (value * random(6, seed=9)).sum().backward()
        found.append([value, attention.grad, position.grad])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
