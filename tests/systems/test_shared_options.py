"""Options that all systems share are those of the core, with its defaults and its words."""

from __future__ import annotations

from typing import Any

import docstring_parser
import pytest
from lightning.pytorch.cli import LightningArgumentParser

from reconstruction.records.rows import RowsDataModule
from reconstruction.system import attribute_of, find_system
from reconstruction.training.learning.learner import Learner

SYSTEMS = (
    "cres",
    "collider.showers",
    "collider.jets",
    "collider.higgs",
    "collider.detectors",
    "collider.detectors.jet_energies",
)
TRAINING = (
    *("loss", "schedule", "compile_encoders", "compile_mode", "cuda_graph", "ema_decay"),
    *("calibration", "seed", "noise_seed"),
)
ROWS = ("observables", "workers", "start_method")


def words_of(made: type) -> dict[str, str]:
    assert made.__doc__ is not None
    told = docstring_parser.parse(made.__doc__).params
    return {one.arg_name: " ".join(str(one.description).split()) for one in told}


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize(("which", "core", "names"), [("module", Learner, TRAINING), ("data", RowsDataModule, ROWS)])
def test_shared_options_are_those_of_the_core(system: str, which: str, core: type, names: tuple[str, ...]) -> None:
    parser = LightningArgumentParser()
    made = attribute_of(getattr(find_system(system), which))
    parser.add_lightning_class_args(made, which)
    said: dict[str, Any] = {action.dest: action for action in parser._actions}
    words = words_of(core)
    for name in names:
        assert " ".join(said[f"{which}.{name}"].help.split()) == words[name]
        assert name not in words_of(made)
    assert not {"module.reconstructor", "module.corruption"} & set(said)


def test_a_system_offers_the_side_tasks_that_it_has() -> None:
    for system, names in (("cres", 4), ("collider.jets", 3), ("collider.showers", 0), ("collider.detectors", 0)):
        parser = LightningArgumentParser()
        parser.add_lightning_class_args(attribute_of(find_system(system).module), "model")
        known = {action.dest for action in parser._actions}
        assert (
            sum(f"model.{one}" in known for one in ("denoising", "masking", "super_resolution", "generation")) == names
        )
