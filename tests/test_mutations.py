"""The list of mutations is true: every text that it breaks is in the program, once, and its tests are there."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_every_mutation_has_its_place_and_its_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    module = importlib.import_module("mutation_rows")
    assert len(module.MUTATIONS) > 30
    for one in module.MUTATIONS:
        assert (ROOT / "src" / one.package / one.file).read_text().count(one.old) == 1, one.name
        text = (ROOT / "tests" / one.tests).read_text()
        names = [
            word for word in one.words.replace("(", " ").replace(")", " ").split() if word not in ("or", "and", "not")
        ]
        assert not names or any(name in text for name in names), one.name
