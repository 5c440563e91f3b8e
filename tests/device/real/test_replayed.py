"""CUDA graphs on a real device: what is replayed says, and learns, what is launched piece by piece."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from reconstruction.models import GaussianNLL, S4DEncoder
from reconstruction.models.precision import exact_convolutions
from reconstruction.models.replayed import Replayed
from reconstruction.records.batch import Batch
from reconstruction.training.learning.captured_step import CapturedObjective

pytestmark = pytest.mark.gpu


@pytest.fixture
def card(kind: str) -> torch.device:
    if kind != "cuda":
        pytest.skip("only CUDA has graphs")
    return torch.device("cuda:0")


class Network(nn.Module):
    """An encoder with dropout, a norm with statistics and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = S4DEncoder(2, 8, 8, 2, dropout=0.2)
        self.norm = nn.BatchNorm1d(8)
        self.head = nn.Linear(8, 1)

    def forward(self, series: Tensor) -> Tensor:
        """Return (batch, 1)."""
        said: Tensor = self.head(self.norm(self.encoder.encode(series).features))
        return said


def made(rows: int, seed: int, card: torch.device) -> Batch:
    random = torch.Generator().manual_seed(seed)
    series = torch.randn(rows, 64, 2, generator=random)
    return {
        "inputs": {"series": series.to(card)},
        "masks": {},
        "observables": {},
        "targets": series.mean(dim=(1, 2)).unsqueeze(1).to(card),
        "event_id": torch.arange(rows, device=card),
    }


def learn(replays: bool, card: torch.device) -> tuple[list[float], dict[str, Tensor]]:
    """Take ten steps, of which the sixth is of fewer rows."""
    torch.manual_seed(0)
    network = Network().to(card)
    # the bias before the norm changes nothing: AdamW would make steps of 0.01 of what rounding leaves of its gradient
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2, eps=1e-3)

    def objective(batch: Batch) -> Tensor:
        return (network(batch["inputs"]["series"]) - batch["targets"]).square().mean()

    step = CapturedObjective(network, objective) if replays else objective
    losses = []
    for number in range(10):
        torch.manual_seed(number)
        optimiser.zero_grad()
        loss = step(made(5 if number == 5 else 16, number, card))
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses, {name: value.detach().cpu() for name, value in network.state_dict().items()}


@pytest.mark.filterwarnings("error:the steps are not replayed")
def test_a_replayed_training_is_the_launched_one(card: torch.device) -> None:
    losses, weights = learn(False, card)
    replayed_losses, replayed_weights = learn(True, card)
    torch.testing.assert_close(torch.tensor(replayed_losses), torch.tensor(losses), rtol=1e-4, atol=1e-5)
    for name, value in weights.items():
        torch.testing.assert_close(replayed_weights[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_what_the_host_looks_at_goes_on_without_a_graph(card: torch.device) -> None:
    network = nn.Sequential(nn.Dropout(0.5), nn.Linear(1, 1)).to(card)

    def objective(batch: Batch) -> Tensor:
        loss: Tensor = network(batch["targets"]).square().mean()
        assert float(loss.detach()) >= 0
        return loss

    step = CapturedObjective(network, objective)
    batch = {"inputs": {}, "targets": torch.ones(3, 1, device=card)}
    step(batch).backward()
    with pytest.warns(UserWarning, match="not replayed as a CUDA graph"):
        step(batch).backward()
    before = network[1].bias.grad.clone()
    step(batch).backward()
    assert not torch.equal(network[1].bias.grad, before)


def test_replayed_predictions_follow_weights_and_shapes(card: torch.device) -> None:
    network = Network().to(card).eval()
    said = Replayed(lambda series: (network(series),), network)
    for rows in (1, 4, 1):
        series = made(rows, rows, card)["inputs"]["series"]
        with torch.no_grad(), exact_convolutions():
            torch.testing.assert_close(said(series)[0], network(series), rtol=1e-4, atol=1e-5)
        with torch.no_grad():
            for weight in network.parameters():
                weight.mul_(1.1)
    elsewhere = copy.deepcopy(network)
    for name, weight in elsewhere.named_parameters():
        network.get_parameter(name).data = weight.detach() * 2
    with torch.no_grad(), exact_convolutions():
        torch.testing.assert_close(said(series)[0], network(series), rtol=1e-4, atol=1e-5)


def test_the_loss_of_a_distribution_can_be_captured(card: torch.device) -> None:
    from reconstruction.models import MixtureHead

    head = MixtureHead(8, 2, components=2, covariance="full").to(card)
    loss = GaussianNLL()

    def objective(batch: Batch) -> Tensor:
        value: Tensor = loss(head(batch["inputs"]["features"]), batch["targets"]).mean()
        return value

    step = CapturedObjective(head, objective)
    batch = {"inputs": {"features": torch.randn(6, 8, device=card)}, "targets": torch.randn(6, 2, device=card)}
    found = []
    for _ in range(3):
        head.zero_grad()
        value = step(batch)
        value.backward()
        found.append((value.detach(), *(weight.grad.clone() for weight in head.parameters())))
    for first, last in zip(found[0], found[-1], strict=True):
        torch.testing.assert_close(torch.as_tensor(last), torch.as_tensor(first), rtol=1e-4, atol=1e-5)
