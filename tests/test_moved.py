"""Modules keep answering to their former names: scripts, configurations and checkpoints of former versions load."""

from __future__ import annotations

import importlib
import pickle
import sys
from importlib.machinery import PathFinder

import pytest

from cres.estimation import LikelihoodEstimator, MatchedFilter
from cres.moved import MOVED
from reconstruction.moved import MovedModules


@pytest.mark.parametrize("old", sorted(MOVED))
def test_a_former_name_is_the_module_itself(old: str) -> None:
    module = importlib.import_module(old)
    present = importlib.import_module(MOVED[old])
    assert module is present
    assert module.__name__ == MOVED[old]
    assert module.__spec__ is not None
    assert module.__spec__.name == MOVED[old]


def test_names_of_former_modules_are_the_present_ones() -> None:
    old = importlib.import_module("cres.estimation.likelihood")
    assert old.LikelihoodEstimator is LikelihoodEstimator
    assert importlib.import_module("cres.estimation.search").MatchedFilter is MatchedFilter
    assert importlib.import_module("cres.estimation.methods").run.__module__ == "cres.estimation.methods.registry"


def test_a_class_pickled_under_a_former_name_loads() -> None:
    pickled = b"ccres.estimation.likelihood\nLikelihoodEstimator\n."
    assert pickle.loads(pickled) is LikelihoodEstimator


def test_no_former_name_hides_a_module_of_today() -> None:
    for old in MOVED:
        package = old.rpartition(".")[0]
        if package not in MOVED:  # one that moved as a whole has its modules where they are now
            found = PathFinder.find_spec(old, list(importlib.import_module(package).__path__))
            assert found is None or found.loader is None, old  # a folder of compiled files alone is nothing


def test_names_that_never_moved_are_left_to_others() -> None:
    assert MovedModules(MOVED).find_spec("cres.estimation.nothing") is None
    with pytest.raises(ModuleNotFoundError, match="nothing"):
        importlib.import_module("cres.estimation.nothing")
    assert sum(isinstance(finder, MovedModules) for finder in sys.meta_path) == 1
