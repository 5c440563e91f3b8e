"""Which steps are captured, when, and what is left as it was: with a capture that only notes what it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reconstruction.models import replayed
from reconstruction.models.replayed import Replayed
from reconstruction.training.learning import captured_step
from reconstruction.training.learning.captured_step import CapturedObjective


class Captures:
    """What stands for torch.cuda.make_graphed_callables: its passes change statistics and random numbers, too."""

    def __init__(self) -> None:
        self.given: list[tuple[Tensor, ...]] = []
        self.replays = 0

    def __call__(self, loss: Callable[..., Tensor], given: tuple[Tensor, ...], **_: Any) -> Callable[..., Tensor]:
        self.given.append(given)
        loss(*given)

        def replay(*values: Tensor) -> Tensor:
            self.replays += 1
            return loss(*values)

        return replay


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> Captures:
    made = Captures()
    monkeypatch.setattr(replayed, "WITH_GRAPHS", "cpu")
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", made)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: torch.get_rng_state())
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: torch.set_rng_state(state))
    monkeypatch.setattr(replayed, "_new_random_state", lambda device: None)
    return made


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 1))


def objective_of(network: nn.Module) -> captured_step.Objective:
    def objective(batch: dict[str, Any]) -> Tensor:
        said: Tensor = network(batch["inputs"]["series"])
        return (said - batch["targets"]).square().mean()

    return objective


def batch(rows: int = 4) -> dict[str, Any]:
    return {"inputs": {"series": torch.randn(rows, 3)}, "targets": torch.ones(rows, 1), "observables": {}}


def test_a_layout_is_captured_when_it_comes_twice_in_a_row(captures: Captures, network: nn.Module) -> None:
    step = CapturedObjective(network, objective_of(network))
    for rows in (4, 4, 4, 3, 4, 4, 3, 4):  # the last batch of an epoch is a shorter one
        step(batch(rows))
    assert [given[0].shape[0] for given in captures.given] == [4]
    assert captures.replays == 5
    network.zero_grad()
    step(batch()).backward()
    assert all(weight.grad is not None for weight in network.parameters())
    step(batch(3))
    step(batch(3))
    assert [given[0].shape[0] for given in captures.given] == [4, 3]


def test_weights_elsewhere_are_captured_anew(captures: Captures, network: nn.Module) -> None:
    step = CapturedObjective(network, objective_of(network))
    for _ in range(3):
        step(batch())
    network[2].weight.data.mul_(2)
    step(batch())
    assert len(captures.given) == 1
    network[2].weight.data = network[2].weight.detach().clone()
    step(batch())
    step(batch())
    assert len(captures.given) == 2


def test_what_warms_up_changes_nothing(captures: Captures, network: nn.Module) -> None:
    """Random numbers and statistics go on as in a training without captures; so does each loss."""
    given = [batch() for _ in range(4)]

    def losses(step: Any) -> list[float]:
        torch.manual_seed(1)
        network[0].reset_running_stats()
        return [float(step(one).detach()) for one in given] + network[0].running_mean.tolist()

    replayed = losses(CapturedObjective(network, objective_of(network)))
    assert captures.given
    assert replayed == losses(objective_of(network))


def test_a_capture_that_fails_is_told_once(monkeypatch: pytest.MonkeyPatch, captures: Captures, network: Any) -> None:
    def fails(*_: Any, **__: Any) -> nn.Module:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", fails)
    step = CapturedObjective(network, objective_of(network))
    step(batch())
    with pytest.warns(UserWarning, match="operation not permitted when stream is capturing$"):
        step(batch())
    assert torch.isfinite(step(batch()))


def test_nothing_is_captured_on_a_processor(network: nn.Module) -> None:
    step = CapturedObjective(network, objective_of(network))
    for _ in range(3):
        step(batch()).backward()
    assert network[2].weight.grad is not None


def test_a_prediction_that_cannot_be_captured_is_made_all_the_same(
    monkeypatch: pytest.MonkeyPatch, captures: Captures, network: Any
) -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(Replayed, "_capture", fails)
    said = Replayed(lambda values: (network.eval()(values),), network)
    values = torch.randn(4, 3)
    with pytest.warns(UserWarning, match="predictions are not replayed as a CUDA graph"):
        first = said(values)
    assert torch.equal(first[0], said(values)[0])
