"""Trainings on labels: which are made, with how much time, and that each leaves its table behind."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import pytest

from collider.jets.judging.labels import PRETRAINED, SCRATCH, LabelResult, read_results
from reconstruction.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def benchmark(monkeypatch):
    """The benchmark, as a module."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("jets")


def asked(*labels, **changed):
    given = {"labels": list(labels), "only": [], "seeds": 1, "steps": 600, "epochs": 10, "at": 100}
    return argparse.Namespace(**given | changed)


def test_each_training_is_made_once_and_leaves_a_table(benchmark, jets, tmp_path, monkeypatch):
    made = []

    def trained(start, count, seed, *_):
        if len(made) == 3:
            raise UserError("a training was stopped")
        made.append((start, count, seed))
        value = 0.1 * len(made)
        return LabelResult(start, count, seed, {"accuracy": value, "auc": value, "macro_f1": value})

    monkeypatch.setattr(benchmark, "of_labels", trained)
    with pytest.raises(UserError, match="stopped"):
        benchmark.labels_against(jets, tmp_path, asked(100, benchmark.ALL))
    assert made == [(SCRATCH, 100, 0), (PRETRAINED, 100, 0), (SCRATCH, 810, 0)]
    table = (tmp_path / "labels.md").read_text()
    assert "| 810 | from scratch | 0.300" in table
    assert "By accuracy, pre-training is worth a factor of" in table
    made.clear()
    benchmark.labels_against(jets, tmp_path, asked(100, benchmark.ALL, only=[SCRATCH]))
    assert made == []
    benchmark.labels_against(jets, tmp_path, asked(100, benchmark.ALL))
    assert made == [(PRETRAINED, 810, 0)]
    assert len(read_results(tmp_path / "labels.jsonl")) == 4
    with pytest.raises(UserError, match=r"--labels names 451, but the jets of .* have labels for 450"):
        benchmark.labels_against(jets, tmp_path, asked(100, 451))


@pytest.mark.parametrize(("count", "epochs"), [(100, 300), (1000, 46), (10_000, 10)])
def test_many_labels_are_given_their_epochs(benchmark, tmp_path, monkeypatch, count, epochs):
    """600 steps are five epochs of 8 000 jets, too few for a curve that a pre-training is measured by."""
    lines = []
    monkeypatch.setattr(benchmark, "command", lambda words: lines.append(words) or 1)
    with pytest.raises(UserError, match="a training was stopped"):
        benchmark.of_labels(SCRATCH, count, 0, count, Path("jets"), tmp_path, asked(count))
    assert f"--trainer.max_epochs={epochs}" in lines[0]
    assert f"--data.training_jets={count - count // 5}" in lines[0]


def test_all_labels_are_a_word(benchmark):
    assert [benchmark.labels(text) for text in ("all", "100")] == [benchmark.ALL, 100]
