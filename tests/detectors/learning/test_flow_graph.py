"""The graph of particle flow knows neither order nor padding, and is what a slow float64 twin computes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collider.detectors.networks import FlowGraphEncoder
from collider.detectors.networks.flow_graph import LEAST_APART, NEAR
from reconstruction.errors import UserError
from reconstruction.models import set_trainable

CHANNELS = 7
CONTEXT = 5


def objects_of(batch: int, count: int, seed: int = 0) -> torch.Tensor:
    """Objects with three features, η, φ, ln E, and one of three candidates that they belong to."""
    random = torch.Generator().manual_seed(seed)
    drawn = torch.randn(batch, count, 6, dtype=torch.float64, generator=random)
    owner = torch.randint(-1, 2, (batch, count, 1), generator=random).double()
    return torch.cat([drawn[..., :3], 0.3 * drawn[..., 3:4], drawn[..., 4:5].clamp(-3, 3), drawn[..., 5:], owner], -1)


def encoder_of(pooling="mean", by=None) -> FlowGraphEncoder:
    torch.manual_seed(0)
    made = FlowGraphEncoder(CHANNELS, 6, (8, 12), neighbours=3, depth=2, pooling=pooling)
    if by is not None:
        made.condition(by, CONTEXT)
    return made.double().eval()


@torch.no_grad()
def slow(encoder: FlowGraphEncoder, series: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    """Return the features candidate by candidate and edge by edge."""
    found = []
    for row, length in zip(series, lengths, strict=True):
        graph = row[:length, -4:].tolist()
        told = [[math.asinh(eta / NEAR), math.asinh(phi / NEAR), log] for eta, phi, log, _ in graph]
        values = [
            encoder.project(torch.cat([row[i, :-4], torch.tensor(told[i], dtype=torch.float64)])) for i in range(length)
        ]
        for block in encoder.blocks:
            new = []
            for i in range(length):
                others = sorted((j for j in range(length) if j != i), key=lambda j: distance(graph[i], graph[j]))
                edges = [edge(block, values, graph, i, j) for j in others[: encoder.neighbours]]
                new.append(torch.relu(block.shortcut(values[i]) + (sum(edges) / len(edges) if edges else 0.0)))
            values = new
        found.append(torch.stack(values).mean(0))
    return torch.stack(found)


def distance(one, other) -> float:
    """Return the straight way between two directions, with the chord in φ."""
    return math.hypot(one[0] - other[0], 2 * math.sin((one[1] - other[1]) / 2))


def edge(block, values, graph, i: int, j: int) -> torch.Tensor:
    """Return h of one edge: W (x_i, x_j − x_i) with W = (own + other, other), and what is known of the pair."""
    x = torch.cat([values[i], values[j] - values[i]])
    weight = torch.cat([block.own.weight + block.other.weight, block.other.weight], dim=1)
    known = [
        math.asinh((graph[j][0] - graph[i][0]) / NEAR),
        math.asinh(math.sin(graph[j][1] - graph[i][1]) / NEAR),
        math.log(math.hypot(distance(graph[i], graph[j]), LEAST_APART)),
        graph[j][2] - graph[i][2],
        float(graph[i][3] == graph[j][3]),
    ]
    said = weight @ x + block.own.bias + block.pair(torch.tensor(known, dtype=torch.float64))
    said = torch.relu(block.norms[0](said))
    for layer, norm in zip(block.further, list(block.norms)[1:], strict=True):
        said = torch.relu(norm(layer(said)))
    return said


def test_it_is_what_a_slow_twin_computes():
    encoder, series, lengths = encoder_of(), objects_of(3, 7), [7, 4, 1]
    torch.testing.assert_close(
        encoder(series, torch.tensor(lengths)), slow(encoder, series, lengths), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("by", [None, "film", "attention"])
@settings(max_examples=8)
@given(seed=st.integers(0, 1000))
def test_neither_order_nor_padding_changes_anything(by, seed):
    """Nor how candidates are counted: only who belongs to the same one."""
    encoder, series = encoder_of("attention", by=by), objects_of(3, 9, seed=seed)
    context = None if by is None else torch.randn(3, CONTEXT, dtype=torch.float64)
    lengths = torch.tensor([9, 5, 1])
    together = encoder(series, lengths, context)
    shuffled, polluted, renamed = series.clone(), series.clone(), series.clone()
    renamed[..., -1] = 7 - 3 * renamed[..., -1]
    for row, length in enumerate(lengths.tolist()):
        order = torch.randperm(length, generator=torch.Generator().manual_seed(seed))
        shuffled[row, :length] = series[row, order]
        polluted[row, length:] = 1e3
    for other in (shuffled, renamed):
        torch.testing.assert_close(encoder(other, lengths, context), together, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(encoder(polluted, lengths, context), together, rtol=1e-12, atol=1e-12)
    alone = encoder(series[1:2, :5], None, None if context is None else context[1:2])
    torch.testing.assert_close(together[1:2], alone, rtol=1e-9, atol=1e-9)


def test_who_belongs_together_is_heard():
    encoder, series = encoder_of(), objects_of(2, 6)
    other = series.clone()
    other[..., -1] = torch.arange(6)
    assert float((encoder(series) - encoder(other)).detach().abs().max()) > 1e-3


def test_there_is_no_seam_between_neighbours():
    """Everything turned by half a turn, to either side of ±π: edges are the same."""
    series = objects_of(1, 6)
    series[..., -3] *= 0.1
    turned = series.clone()
    turned[..., -3] = torch.remainder(series[..., -3] + 2 * math.pi, 2 * math.pi)
    encoder = encoder_of()
    with torch.no_grad():
        encoder.project.weight[:, -2] = 0  # what an object itself is told of φ
    torch.testing.assert_close(encoder(series), encoder(turned), rtol=1e-7, atol=1e-7)


def test_every_parameter_learns_and_layers_can_be_frozen():
    encoder, counts = encoder_of("attention", by="film").train(), []
    (encoder(objects_of(4, 6), None, torch.randn(4, CONTEXT).double()) * torch.randn(4, 12)).sum().backward()
    assert all(one.grad is not None and one.grad.abs().max() > 0 for one in encoder.parameters())
    for last in (0, 1, None):
        set_trainable(encoder, last)
        counts.append(sum(parameter.numel() for parameter in encoder.parameters() if parameter.requires_grad))
    assert counts[0] == 0 < counts[1] < counts[2]


@pytest.mark.parametrize("count", [1, 2, 13])
def test_any_number_of_objects_in_single_precision_too(count):
    encoder, series = encoder_of(), objects_of(2, count)
    double, single = encoder(series), encoder.float()(series.float())
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)


def test_what_cannot_be_meant_is_said():
    with pytest.raises(UserError, match="at least 4 channels"):
        FlowGraphEncoder(3)
    with pytest.raises(UserError, match="at least one neighbour"):
        FlowGraphEncoder(7, neighbours=0)
    with pytest.raises(UserError, match="widths of"):
        FlowGraphEncoder(7, widths=())
