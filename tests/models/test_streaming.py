"""The whole causal S4D model on a record that arrives in pieces."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from cres.errors import UserError
from reconstruction.models import S4DEncoder
from reconstruction.models.encoders.pooling import PoolingName


@pytest.mark.parametrize(("pooling", "prenorm"), [("mean", True), ("attention", False), ("last", True)])
@torch.no_grad()
def test_pieces_equal_the_whole(pooling: PoolingName, prenorm: bool) -> None:
    torch.manual_seed(2)
    encoder = S4DEncoder(
        2, 8, 8, 3, bidirectional=False, prenorm=prenorm, stride=2, downsample=(2, 1, 1), pooling=pooling
    ).eval()
    series = torch.randn(2, 330, 2)
    whole = encoder(series)
    for size in (32, 128, 328):
        torch.testing.assert_close(encoder.stream(series.split(size, dim=1)), whole, rtol=1e-5, atol=1e-5)


def test_unaligned_pieces_and_bidirectional_models_are_refused() -> None:
    encoder = S4DEncoder(2, 8, 8, 1, bidirectional=False, stride=4)
    series = torch.randn(1, 30, 2)
    assert encoder.stream([series]).shape == (1, 8)
    with pytest.raises(UserError, match="multiples of 4"):
        encoder.stream([series, series])
    with pytest.raises(UserError, match="at least one piece"):
        encoder.stream([])
    with pytest.raises(UserError, match="causal"):
        S4DEncoder(2, 8, 8, 1).stream([series])


def test_memory_does_not_grow_with_the_record() -> None:
    """A generator of pieces is consumed one at a time; nothing but the state is kept."""
    encoder = S4DEncoder(2, 8, 8, 1, bidirectional=False).eval()
    alive = 0
    most_alive = 0

    class Counted(torch.Tensor):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def pieces(count: int) -> Iterator[Tensor]:
        nonlocal alive, most_alive
        for _ in range(count):
            alive += 1
            most_alive = max(most_alive, alive)
            yield torch.randn(1, 64, 2).as_subclass(Counted)

    encoder.stream(pieces(20))
    assert most_alive <= 3
