"""Fusion of views, and the groups of the optimiser."""

from __future__ import annotations

import copy
from typing import Literal

import pytest
import torch

from cres.errors import UserError
from reconstruction.models import Fusion, GaussianHead, S4DEncoder, optimizer_groups
from reconstruction.models.encoders.s4d_layer import Dynamics


def two_views(mode: Literal["gated", "concatenate"]) -> Fusion:
    return Fusion({"time": S4DEncoder(2, 8, 4, 1), "spectrum": S4DEncoder(3, 6, 4, 1)}, mode)


@pytest.mark.parametrize(("mode", "width"), [("gated", 8), ("concatenate", 14)])
def test_fusion(mode: Literal["gated", "concatenate"], width: int) -> None:
    fusion = two_views(mode).double()
    views = {"time": torch.randn(4, 30, 2).double(), "spectrum": torch.randn(4, 20, 3).double()}
    features = fusion(views)
    assert features.shape == (4, width)
    assert fusion.output_width == width
    lengths = {"time": torch.tensor([30, 30, 30, 9])}
    padded = fusion(views, lengths)
    torch.testing.assert_close(padded[:3], features[:3])
    alone = {"time": views["time"][3:, :9], "spectrum": views["spectrum"][3:]}
    torch.testing.assert_close(padded[3:], fusion(alone))
    (features * torch.randn_like(features)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in fusion.parameters())


def test_missing_views_are_named() -> None:
    with pytest.raises(UserError, match="spectrum"):
        two_views("gated")({"time": torch.randn(1, 8, 2)})
    with pytest.raises(UserError, match="at least one"):
        Fusion({})


def test_groups_hold_every_parameter_once() -> None:
    model = torch.nn.ModuleDict({"encoder": S4DEncoder(2, 8, 4, 2, pooling="attention"), "head": GaussianHead(8, 2)})
    for module in (model, copy.deepcopy(model)):
        groups = {group["name"]: group for group in optimizer_groups(module, 1e-3, 0.05, 1e-4)}
        collected = [parameter for group in groups.values() for parameter in group["params"]]
        assert len(collected) == len({id(one) for one in collected}) == len(list(module.parameters()))
        dynamics = [part for part in module.modules() if isinstance(part, Dynamics)]
        assert {id(p) for p in groups["ssm"]["params"]} == {id(p) for part in dynamics for p in part.parameters()}
        assert (groups["ssm"]["lr"], groups["ssm"]["weight_decay"]) == (1e-4, 0.0)
        assert (groups["plain"]["lr"], groups["plain"]["weight_decay"]) == (1e-3, 0.0)
        assert (groups["decayed"]["lr"], groups["decayed"]["weight_decay"]) == (1e-3, 0.05)
        assert all(parameter.ndim < 2 for parameter in groups["plain"]["params"])


def test_frozen_parameters_are_left_out() -> None:
    head = GaussianHead(8, 2).requires_grad_(False)
    assert optimizer_groups(head, 1e-3, 0.05, 1e-4) == []
