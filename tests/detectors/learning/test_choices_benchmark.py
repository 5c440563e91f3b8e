"""How choices of the loss are compared: by what a candidate is."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from collider.detectors.learning.columns import CLASSES, IDENTITY

ROOT = Path(__file__).parents[3]


class Table:
    """Momenta of 40 candidates of each of the first two kinds; those of the second are five times as far off."""

    def __init__(self) -> None:
        kinds = list(CLASSES.values())[:2]
        self.identity = np.repeat([*kinds, -1], [40, 40, 3])
        self.away = np.tile(np.linspace(-1, 1, 41)[np.arange(41) != 20], 3)[:83] * np.repeat([1, 5, 100], [40, 40, 3])

    def truth(self, name):
        return np.full(83, 2.0)

    def residual(self, name):
        return self.away

    def std(self, name):
        return np.full(83, 2.5)

    def column(self, name):
        assert name == f"true_{IDENTITY}"
        return self.identity


def test_candidates_are_judged_by_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    found = importlib.import_module("detectors_choices").resolutions(Table())
    first, second = list(CLASSES)[:2]
    assert set(found) == {name for kind in ("all", first, second) for name in (kind, f"coverage, {kind}")}
    assert found[second] == pytest.approx(5 * found[first])
    assert found[first] == pytest.approx(0.68 / 2, abs=0.03)
    assert (found[f"coverage, {first}"], found[f"coverage, {second}"]) == (1.0, 0.5)
    assert found["coverage, all"] == 0.75
