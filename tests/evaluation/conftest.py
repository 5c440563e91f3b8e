"""Synthetic tables with known resolution, tails and bias."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cres.evaluation import PredictionTable
from cres.evaluation.examples import example_table


@pytest.fixture(scope="session")
def draw_table() -> Callable[..., PredictionTable]:
    return example_table
