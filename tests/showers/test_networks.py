"""The encoders of showers keep the contract of the core's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from collider.showers.networks import GraphEncoder, LayerTransformerEncoder, VolumeEncoder
from collider.showers.networks.graph import nearest
from reconstruction.errors import UserError
from reconstruction.models import Encoder, set_trainable
from reconstruction.models.encoders.pooling import PoolingName

SECTORS, RINGS = 4, 3
Maker = Callable[[PoolingName], Encoder]


def layers_of(batch: int, positions: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(batch, positions, SECTORS * RINGS, dtype=dtype)


def cells_of(batch: int, positions: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Cells with two features, four a layer, each shower with places of its own."""
    place = torch.randn(batch, positions, 3, dtype=dtype)
    place[..., 2] = (torch.arange(positions) // 4).to(dtype) / 3
    return torch.cat([torch.randn(batch, positions, 2, dtype=dtype), place], dim=-1)


ENCODERS = {
    "layers": (lambda pooling: LayerTransformerEncoder(SECTORS * RINGS, 8, 2, heads=2, pooling=pooling), layers_of),
    "volume": (lambda pooling: VolumeEncoder(SECTORS * RINGS, 4, 2, sectors=SECTORS, pooling=pooling), layers_of),
    "volume_squares": (
        lambda pooling: VolumeEncoder(SECTORS * RINGS, 4, 1, sectors=SECTORS, around=False, pooling=pooling),
        layers_of,
    ),
    "graph": (lambda pooling: GraphEncoder(5, 8, 2, neighbours=4, pooling=pooling), cells_of),
}
POOLINGS: list[PoolingName] = ["mean", "attention", "last"]


@pytest.fixture(params=ENCODERS)
def kind(request):
    torch.manual_seed(0)
    return ENCODERS[request.param]


@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_changes_nothing(kind, pooling):
    make, series_of = kind
    encoder = make(pooling).double().eval()
    series = series_of(3, 14, torch.float64)
    lengths = torch.tensor([14, 9, 1])
    together = encoder(series, lengths)
    polluted = series.clone()
    for row, length in enumerate(lengths.tolist()):
        polluted[row, length:] = 1e3
        alone = encoder(series[row : row + 1, :length])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(encoder(polluted, lengths), together, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("positions", [1, 2, 13])
def test_any_number_of_positions(kind, positions):
    make, series_of = kind
    encoder = make("last").eval()
    features = encoder(series_of(2, positions))
    assert features.shape == (2, encoder.output_width)
    assert features.isfinite().all()


@pytest.mark.parametrize("pooling", POOLINGS)
def test_gradient_reaches_every_parameter(kind, pooling):
    make, series_of = kind
    encoder = make(pooling).train()
    features = encoder(series_of(3, 12))
    (features * torch.randn_like(features)).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_showers_do_not_see_each_other(kind):
    make, series_of = kind
    series = series_of(4, 12).requires_grad_()
    make("attention").train()(series)[1].pow(3).sum().backward()
    assert series.grad is not None
    assert series.grad[1].abs().max() > 0
    assert series.grad[[0, 2, 3]].abs().max() == 0


def test_float64_and_bfloat16(kind):
    make, series_of = kind
    encoder, series = make("attention").eval(), series_of(2, 12)
    single = encoder(series)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(encoder(series).float(), single, rtol=0.1, atol=0.1)
    double = encoder.double()(series.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)


def test_layers_can_be_frozen(kind):
    encoder = kind[0]("mean")
    counts = []
    for last in (0, 1, None):
        set_trainable(encoder, last)
        counts.append(sum(parameter.numel() for parameter in encoder.parameters() if parameter.requires_grad))
    assert counts[0] == 0 < counts[1] < counts[2] == sum(parameter.numel() for parameter in encoder.parameters())


def test_the_volume_is_the_same_from_all_sides():
    """A calorimeter that is turned by a sector gives the same features; one of squares that is shifted does not."""
    torch.manual_seed(0)
    series = layers_of(2, 6, torch.float64)
    turned = series.unflatten(2, (SECTORS, RINGS)).roll(1, dims=2).flatten(2)
    round_about = VolumeEncoder(SECTORS * RINGS, 4, 2, sectors=SECTORS).double()
    torch.testing.assert_close(round_about(turned), round_about(series), rtol=1e-10, atol=1e-10)
    squares = VolumeEncoder(SECTORS * RINGS, 4, 2, sectors=SECTORS, around=False).double()
    assert not torch.allclose(squares(turned), squares(series), rtol=1e-3)


def test_neighbours_are_the_nearest_of_both_kinds():
    """The slow way: sort by distance, cell by cell."""
    torch.manual_seed(1)
    places = cells_of(2, 16)[..., 2:]
    valid = torch.arange(16) < torch.tensor([[16], [10]])
    indices, heard = nearest(places, valid, 3)
    for shower in range(2):
        points, there = places[shower].numpy(), np.flatnonzero(valid[shower].numpy())
        for cell in there:
            wanted = []
            for same in (True, False):
                others = [j for j in there if j != cell and (points[j, 2] == points[cell, 2]) == same]
                wanted += sorted(others, key=lambda j: np.sum((points[j] - points[cell]) ** 2))[:3]
            assert set(indices[shower, cell][heard[shower, cell]].tolist()) == set(wanted)


def test_one_graph_serves_a_batch_of_one_calorimeter():
    torch.manual_seed(2)
    encoder = GraphEncoder(5, 8, 2, neighbours=4).double()
    series = cells_of(3, 12, torch.float64)
    series[..., 2:] = series[:1, :, 2:]
    alike = encoder(series)
    torch.testing.assert_close(encoder(series, torch.full((3,), 12)), alike, rtol=1e-10, atol=1e-10)


def test_impossible_networks_are_refused():
    with pytest.raises(UserError, match="sectors that divide the cells of a layer"):
        VolumeEncoder(12, sectors=5)
    with pytest.raises(UserError, match="the last three their place"):
        GraphEncoder(3)
    with pytest.raises(UserError, match="even number of neighbours"):
        GraphEncoder(4, neighbours=3)
    with pytest.raises(UserError, match="multiple of twice its heads"):
        LayerTransformerEncoder(12, 20, heads=4)
