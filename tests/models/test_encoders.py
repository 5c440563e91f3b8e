"""The contract that every encoder keeps."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from cres.errors import UserError
from encoders import ENCODERS, Maker
from reconstruction.models import (
    set_trainable,
)
from reconstruction.models.encoders.base import check_series
from reconstruction.models.encoders.pooling import PoolingName

POOLINGS: list[PoolingName] = ["mean", "attention", "last"]


@pytest.fixture(params=ENCODERS)
def maker(request: pytest.FixtureRequest) -> Maker:
    torch.manual_seed(0)
    return ENCODERS[request.param]


@pytest.fixture(params=POOLINGS)
def pooling(request: pytest.FixtureRequest) -> PoolingName:
    return request.param


def test_padding_changes_nothing(maker: Maker, pooling: PoolingName) -> None:
    encoder = maker(2, pooling).double().eval()
    series = torch.randn(3, 40, 2, dtype=torch.float64)
    lengths = torch.tensor([40, 23, 1])
    together = encoder(series, lengths)
    polluted = series.clone()
    for row, length in enumerate(lengths.tolist()):
        polluted[row, length:] = 1e3
        alone = encoder(series[row : row + 1, :length])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(encoder(polluted, lengths), together, rtol=1e-12, atol=1e-12)
    more = nn.functional.pad(series, (0, 0, 0, 17))
    torch.testing.assert_close(encoder(more, lengths), together, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("length", [1, 2, 31])
def test_any_length(maker: Maker, length: int) -> None:
    encoder = maker(2, "last").eval()
    features = encoder(torch.randn(2, length, 2))
    assert features.shape == (2, encoder.output_width)
    assert features.isfinite().all()


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_any_channel_number(maker: Maker, channels: int) -> None:
    encoder = maker(channels, "mean")
    assert encoder.in_channels == channels
    assert encoder(torch.randn(2, 16, channels)).shape == (2, encoder.output_width)
    with pytest.raises(ValueError, match="expected"):
        encoder(torch.randn(2, 16, channels + 1))


def test_gradient_reaches_every_parameter(maker: Maker, pooling: PoolingName) -> None:
    encoder = maker(2, pooling).train()
    features = encoder(torch.randn(3, 48, 2))
    (features * torch.randn_like(features)).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_records_do_not_see_each_other(maker: Maker) -> None:
    encoder = maker(2, "attention").train()
    series = torch.randn(4, 24, 2, requires_grad=True)
    encoder(series)[1].pow(3).sum().backward()
    assert series.grad is not None
    # Batched FFTs may round records in pairs.
    assert series.grad[[0, 2, 3]].abs().max() < 1e-6 * series.grad[1].abs().max()


def test_float64(maker: Maker) -> None:
    encoder = maker(2, "attention").eval()
    series = torch.randn(2, 32, 2)
    single = encoder(series)
    double = encoder.double()(series.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)


def test_bfloat16_autocast(maker: Maker) -> None:
    encoder = maker(2, "attention").eval()
    series = torch.randn(2, 32, 2)
    exact = encoder(series)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = encoder(series)
        features.float().square().sum().backward()
    torch.testing.assert_close(features.float(), exact, rtol=0.1, atol=0.1)


@pytest.mark.filterwarnings("ignore:The tensor attributes self.lstm._flat_weights")
def test_export(maker: Maker) -> None:
    encoder = maker(2, "attention").eval()
    series = torch.randn(2, 32, 2)
    with torch.no_grad():
        exported = torch.export.export(encoder, (series,), strict=False).module()
        torch.testing.assert_close(exported(series), encoder(series))


def test_attention_is_returned(maker: Maker) -> None:
    encoder = maker(2, "attention")
    lengths = torch.tensor([24, 9])
    encoded = encoder.encode(torch.randn(2, 24, 2), lengths)
    assert encoded.attention is not None
    assert encoded.log_attention is not None
    torch.testing.assert_close(encoded.attention.sum(dim=1), torch.ones(2))
    assert encoded.attention[1, -(-9 // encoded.stride) :].abs().sum() == 0
    assert encoded.attention.shape[1] == -(-24 // encoded.stride)
    torch.testing.assert_close(encoded.log_attention.exp(), encoded.attention)
    assert maker(2, "mean").encode(torch.randn(2, 24, 2)).attention is None


def test_layers_can_be_frozen(maker: Maker) -> None:
    encoder = maker(2, "attention")
    everything = sum(parameter.numel() for parameter in encoder.parameters())
    counts = []
    for last in (0, 1, len(encoder.layers), None):
        set_trainable(encoder, last)
        counts.append(sum(parameter.numel() for parameter in encoder.parameters() if parameter.requires_grad))
    assert counts[0] == 0 < counts[1] <= counts[2] == counts[3] == everything
    with pytest.raises(UserError, match="layers"):
        set_trainable(encoder, 99)


def test_wrong_shapes_are_refused() -> None:
    series = torch.randn(2, 16, 2)
    check_series(series, torch.tensor([3, 16]), 2)
    with pytest.raises(ValueError, match="lengths"):
        check_series(series, torch.tensor([3]), 2)
    with pytest.raises(ValueError, match="no samples"):
        check_series(series[:, :0], None, 2)
    with pytest.raises(ValueError, match="expected"):
        check_series(series[..., 0], None, 2)


COMPILED = """
import torch
from reconstruction.models import S4DEncoder

torch.manual_seed(0)
encoder = S4DEncoder(2, 8, 8, 2, stride=2)
series = torch.randn(2, 64, 2)

def features_and_gradients():
    features = encoder(series)
    return [features, *torch.autograd.grad(features.square().sum(), list(encoder.parameters()))]

expected = features_and_gradients()
encoder.compile(backend="aot_eager")
for ours, theirs in zip(features_and_gradients(), expected, strict=True):
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
"""


@pytest.mark.slow
def test_compiled_s4d_gives_the_same_gradients() -> None:
    """`encoder.compile()` is all that a user needs; the graph is captured here, code generation is torch's.

    In a process of its own: torch cannot capture the checks of shapes that the tests put around every function.
    """
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
