"""What is judged: tables of predictions, and runs that are asked for what no table holds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from collider.jets.learning.data import CHOSEN, JetDataModule
from collider.jets.learning.module import JetModule
from collider.jets.system import SYSTEM
from reconstruction.errors import UserError
from reconstruction.judging.tables.find import PREDICTIONS, read_table
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.training.runs.loading import load_module


@dataclass(frozen=True)
class JetRun:
    """A training on jets: its best network, and the jets that it was trained, validated and tested on."""

    folder: Path
    module: JetModule

    @property
    def estimator(self) -> str:
        """Its name."""
        return str(self.module.card.get("name", self.folder.name))

    @cached_property
    def data(self) -> JetDataModule:
        """The files, the split and the jets of it that its checkpoint names."""
        facts = self.module.card["data"]
        return JetDataModule(
            list(facts["files"]),
            **facts.get(CHOSEN, {}),
            targets=self.module.targets,
            particles=int(facts["particles"]),
            fractions=tuple(facts["split"]["fractions"]),
            split=facts["split"]["by"],
            split_seed=int(facts["split"]["seed"]),
        )


Source: TypeAlias = PredictionTable | JetRun


def open_run(folder: Path) -> JetRun:
    """Return a run. Raises UserError for a folder without a checkpoint, or of another system."""
    module = load_module(folder / "checkpoints" / "best.ckpt")
    if not isinstance(module, JetModule):
        raise UserError(f"{folder} is a run of {module.system_name}, not of {SYSTEM.name}")
    return JetRun(folder, module)


def read_sources(path: Path) -> list[Source]:
    """Return what is judged of a path: a table, that of a run, and the run itself for heads that are in no table.

    Raises UserError for what is neither, and for a run of targets that was not tested.
    """
    if not (path / "checkpoints").is_dir():
        return [read_table(path)]
    run = open_run(path)
    found: list[Source] = [run] if run.module.tasks else []
    if not run.module.regresses:
        return found
    if not (path / PREDICTIONS).exists():
        raise UserError(f"{path} was not tested: `python cli.py test --run={path}` writes its {PREDICTIONS}")
    return [read_table(path / PREDICTIONS), *found]
