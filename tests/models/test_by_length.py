"""Rows of like length go through an encoder together: nothing that is said of them changes."""

from __future__ import annotations

import pytest
import torch

from collider.jets.networks import DeepSetEncoder
from collider.showers.networks import LayerTransformerEncoder
from reconstruction.models.encoders.base import Encoder
from reconstruction.models.encoders.lstm import LSTMEncoder

ROWS, POSITIONS, CHANNELS = 150, 40, 5


def encoder_of(pooling: str, conditioned: bool = False) -> Encoder:
    torch.manual_seed(0)
    encoder = LayerTransformerEncoder(CHANNELS, 16, 2, heads=2, pooling=pooling).double()
    if conditioned:
        encoder.condition("film", 3)
        encoder = encoder.double()
        for parameter in encoder.modulations.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return encoder


def batch(rows: int = ROWS) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    lengths = torch.randint(1, 14, (rows,), generator=random)
    lengths[rows // 2] = POSITIONS - 3
    return torch.randn(rows, POSITIONS, CHANNELS, generator=random, dtype=torch.float64), lengths


@pytest.mark.parametrize("pooling", ["mean", "attention", "last"])
@pytest.mark.parametrize("conditioned", [False, True])
@pytest.mark.parametrize("rows", [1, 33, ROWS])
def test_nothing_changes_for_a_row(pooling, conditioned, rows):
    encoder, (series, lengths) = encoder_of(pooling, conditioned), batch(rows)
    context = torch.randn(rows, 3, dtype=torch.float64) if conditioned else None
    found = encoder.encode(series, lengths, context)
    weights = torch.randn_like(found.features)
    gradients = torch.autograd.grad((found.features * weights).sum(), list(encoder.parameters()), allow_unused=True)
    encoder.of_tokens = False  # all of the batch at once, as wide as it is
    expected = encoder.encode(series, lengths, context)
    others = torch.autograd.grad((expected.features * weights).sum(), list(encoder.parameters()), allow_unused=True)
    torch.testing.assert_close(found.features, expected.features, rtol=1e-11, atol=1e-12)
    for one, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)
    for name in ("attention", "log_attention"):
        one, other = getattr(found, name), getattr(expected, name)
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_padding_is_not_computed():
    encoder, (series, lengths) = encoder_of("mean"), batch()
    computed, sequence = [], encoder.sequence
    encoder.sequence = lambda given, *rest, **more: computed.append(given.shape) or sequence(given, *rest, **more)
    encoder.encode(series, lengths)
    assert sum(rows for rows, _, _ in computed) == ROWS
    assert sum(rows * positions for rows, positions, _ in computed) < ROWS * POSITIONS / 2
    computed.clear()
    encoder.encode(series)  # no row is said to be padded
    encoder.encode(series[:0], lengths[:0])
    assert computed == [series.shape, (0, POSITIONS, CHANNELS)]


def test_jets_are_tokens_and_records_are_not():
    assert DeepSetEncoder.of_tokens
    assert not LSTMEncoder.of_tokens
