"""What the tests check of every call: types everywhere, sizes where arrays are annotated."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from jaxtyping import Float
from run_time_types import annotates_arrays
from torch import Tensor, nn

from reconstruction.errors import nearest
from reconstruction.models import optimizer_groups
from reconstruction.random.keyed import KeyedRandom

Alias = Float[Tensor, "batch target"]


def of_arrays(series: Float[Tensor, "batch time"], count: int) -> Tensor: ...


def of_an_alias(count: int, targets: list[Alias] | None = None) -> None: ...


def of_what_comes_later(given: Later) -> None: ...


def of_numbers(count: int, values: np.ndarray, names: dict[str, float]) -> torch.Tensor: ...


class Later:
    """Not there when the decorator looks."""


def test_every_call_is_checked():
    with pytest.raises(TypeError, match="name=3"):
        nearest(3, [])
    with pytest.raises(TypeError, match="weight_decay"):
        optimizer_groups(nn.Linear(1, 1), 0.1, "much", 0.1)
    with pytest.raises(TypeError, match="event_id"):
        KeyedRandom(0, 0, torch.zeros(3, 3, dtype=torch.int64))


@pytest.mark.parametrize(
    ("function", "arrays"),
    [(of_arrays, True), (of_an_alias, True), (of_numbers, False)],
)
def test_sizes_are_looked_for_where_they_can_be(function, arrays):
    assert annotates_arrays(function) == arrays


def test_a_name_that_has_no_meaning_yet_may_be_an_arrays(monkeypatch):
    assert not annotates_arrays(of_what_comes_later)
    monkeypatch.delitem(globals(), "Later")
    assert annotates_arrays(of_what_comes_later)
