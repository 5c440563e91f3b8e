"""Run the stages of a plan, one after another; what is finished is not done again."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reconstruction.errors import UserError
from reconstruction.files import write_whole
from reconstruction.records.rows import RowsDataModule
from reconstruction.training.command_line.cli import CommandLine, main
from reconstruction.training.learning.averaging import AVERAGE as MOVING_AVERAGE
from reconstruction.training.learning.averaging import evaluation_weights
from reconstruction.training.learning.checkpoints import BEST, LAST, read_checkpoint, write_atomically
from reconstruction.training.learning.learner import CARD
from reconstruction.training.learning.rows_met import also_trained_on
from reconstruction.training.runs.calibrating import CALIBRATION
from reconstruction.training.runs.fitting import fit_scalers
from reconstruction.training.runs.loading import load_module, model_card
from reconstruction.training.stages.line import learned_names, look_at, loss_of, mean_of
from reconstruction.training.stages.plan import AVERAGE, EACH, START, Plan, PlannedStage, as_options
from reconstruction.training.watching.quiet import leave_out_library_messages

FINISHED = "finished.json"
"""File of a training's folder: it is over, with its loss on all apparatus and the processor time of its last go: what
went before an interruption is not counted."""
SUMMARY = "stages.json"


@dataclass
class Stages:
    """A plan, the folder that its runs go to, and options of the command line that every training has."""

    plan: Plan
    folder: Path
    others: Sequence[str] = ()
    task: tuple[int, int] = (0, 1)
    """Of a stage with a training for each apparatus: this process does number i, i + N, … of them."""
    _opened: CommandLine | None = field(default=None, repr=False)

    def run(self, only: str | None = None) -> int:
        """Run all stages, or one of them; returns the exit code.

        One stage alone wants what it begins with to be there. Raises UserError for a stage that is none, and for a task
        of what is not shared out.
        """
        if only is not None and only not in self.plan.stages:
            raise UserError(f"there is no stage {only!r}; there are {', '.join(self.plan.stages)}")
        if self.task != (0, 1) and (only is None or self.plan.stages[only].kind != EACH):
            raise UserError(f"--task shares out the trainings of one stage of kind {EACH}: name it with --stage")
        self.make_start()
        for name, stage in self.plan.stages.items():
            if only in (None, name):
                code = self._run(name, stage)
                if code:
                    return code
        self.write_summary()
        return 0

    def _run(self, name: str, stage: PlannedStage) -> int:
        if stage.kind == AVERAGE:
            self._average(name, stage)
            return 0
        if stage.kind == EACH:
            number, tasks = self.task
            for place, files in list(enumerate(self.apparatus()))[number::tasks]:
                code = self._train(name, self.folder / name / f"{place:03d}", stage, files, stage.from_ or START)
                if code:
                    return code
            return 0
        return self._train(name, self.folder / name, stage, (), stage.from_)

    # The common beginning ----------------------------------------------------------------------------------------

    @property
    def start(self) -> Path:
        """The checkpoint of the common initialisation."""
        return self.folder / START / "checkpoints" / BEST

    def opened(self) -> CommandLine:
        """Return model, data and trainer of the base configuration, made once."""
        if self._opened is None:
            leave_out_library_messages()
            self._opened = CommandLine("fit", [*self._arguments(), f"--run={self.folder / START}"])
            self._opened.datamodule.setup("fit")
        return self._opened

    def _arguments(self) -> list[str]:
        return ["-c", str(self.plan.base), *as_options(self.plan.options), *self.others]

    def make_start(self) -> None:
        """Write the network that the others begin with: untrained, but with all scales fitted on all apparatus."""
        if self.start.exists():
            return
        made = self.opened()
        module, data = made.model, made.datamodule
        module.card = model_card(made.parser, made.config, data, self.plan.name)
        fit_scalers(module, data)
        write_atomically(_checkpoint(module.state_dict(), module.card), self.start)

    def apparatus(self) -> list[tuple[str, ...]]:
        """Return the names of the files of each apparatus. Raises UserError for a file that holds several."""
        return apparatus_of(self.opened().datamodule)

    # A training --------------------------------------------------------------------------------------------------

    def _train(self, name: str, folder: Path, stage: PlannedStage, files: Sequence[str], source: str) -> int:
        if (folder / FINISHED).exists():
            print(f"{folder}: finished before")
            return 0
        arguments = [*self._arguments(), *as_options(stage.options), f"--run={folder}"]
        if files:
            arguments += [f"--data.only={json.dumps(list(files))}"]
        if source:
            begin = self.start if source == START else self.folder / source / "checkpoints" / BEST
            if not begin.exists():
                raise UserError(f"the stage {name} begins with {begin}, which is not there: run {source} first")
            arguments += [f"--fine_tune.checkpoint={begin}", "--fine_tune.whole=true"]
        if (folder / "checkpoints" / LAST).exists():
            arguments += ["--resume"]
        print(f"{folder}: {name}" + (f" of {', '.join(files)}" if files else ""))
        began = _processor_s()
        code = main(["fit", *arguments])
        if code:
            return code
        spent = _processor_s() - began
        _write(folder / FINISHED, {"processor_s": spent, "loss": self.loss_on_all(folder / "checkpoints" / BEST)})
        return 0

    @property
    def device(self) -> torch.device:
        """Where losses are looked at."""
        device: torch.device = self.opened().trainer.strategy.root_device
        return device

    def loss_on_all(self, checkpoint: Path) -> float:
        """Return the loss of a checkpoint on the validation rows of all apparatus."""
        module = load_module(checkpoint).to(self.device)
        return loss_of(module, module.state_dict(), self.opened().datamodule.val_dataloader())

    # The average -------------------------------------------------------------------------------------------------

    def _average(self, name: str, stage: PlannedStage) -> None:
        folder = self.folder / name
        if (folder / FINISHED).exists():
            print(f"{folder}: finished before")
            return
        paths = [self.folder / stage.from_ / f"{place:03d}" for place in range(len(self.apparatus()))]
        unfinished = [path for path in paths if not (path / FINISHED).exists()]
        if unfinished:
            raise UserError(f"the stage {name} averages {len(paths)} networks, and {unfinished[0]} is not finished")
        began = _processor_s()
        checkpoints = [read_checkpoint(path / "checkpoints" / BEST) for path in paths]
        start = read_checkpoint(self.start)
        card: dict[str, Any] = dict(start[CARD])
        for checkpoint in checkpoints:
            also_trained_on(card, checkpoint[CARD])
        module = load_module(self.start).to(self.device)
        states = [_uncalibrated(evaluation_weights(one), start["state_dict"]) for one in checkpoints]
        mean = mean_of(states, learned_names(module))
        found = look_at(module, states, mean, self.opened().datamodule.val_dataloader(), stage.lines, stage.points)
        write_atomically(_checkpoint(mean, card), folder / "checkpoints" / BEST)
        print(f"{folder}: {found.sentence}")
        spent = _processor_s() - began
        _write(folder / FINISHED, {"processor_s": spent, "loss": found.average, "averaging": found.plain})

    # What came of it ---------------------------------------------------------------------------------------------

    def write_summary(self) -> None:
        """Write and print the loss and the processor time of each stage that is finished.

        The loss of several networks is their median: one that went astray would decide a mean alone.
        """
        summary: dict[str, Any] = {}
        for name, stage in self.plan.stages.items():
            folder = self.folder / name
            places = sorted(folder.glob(f"*/{FINISHED}")) if stage.kind == EACH else [folder / FINISHED]
            parts = [json.loads(place.read_text()) for place in places if place.exists()]
            if parts:
                losses = [part["loss"] for part in parts]
                summary[name] = {
                    "kind": stage.kind,
                    "loss": float(np.median(losses)),
                    "processor_s": sum(part["processor_s"] for part in parts),
                    "trainings": len(parts),
                }
        _write(self.folder / SUMMARY, summary)
        print(f"{'stage':14} {'trainings':>9} {'processor s':>12}  loss on all apparatus (median of several)")
        for name, one in summary.items():
            print(f"{name:14} {one['trainings']:9d} {one['processor_s']:12.0f}  {one['loss']:.4g}")


def apparatus_of(data: RowsDataModule) -> list[tuple[str, ...]]:
    """Return the names of the files of each apparatus, by the settings that the model is told, without any each alone.

    Files of every apparatus, such as backgrounds, are with each.

    Raises UserError for a file that holds several apparatus.
    """
    records = data.records
    group = data.groups_of(np.arange(len(records)))
    names = [file.path.name for file in records.files]
    if len(set(names)) < len(names):
        names = [str(file.path) for file in records.files]
    shared = data.files_of_every_apparatus()
    by_group: dict[int, list[str]] = {}
    for place, file in enumerate(records.files):
        if place in shared:
            continue
        held = np.unique(group[records.starts[place] : records.starts[place + 1]])
        if len(held) > 1:
            raise UserError(
                f"{file.path} holds {len(held)} apparatus: a training for each of them wants files of one apparatus"
            )
        by_group.setdefault(int(held[0]), []).append(names[place])
    every = [names[place] for place in shared]
    return [(*files, *every) for _, files in sorted(by_group.items())]


def _checkpoint(state: Any, card: dict[str, Any]) -> dict[str, Any]:
    average = {"in_use": False, "other": {}}
    return {"state_dict": dict(state), CARD: {"format": 1, **card}, MOVING_AVERAGE: average}


def _uncalibrated(state: dict[str, Tensor], start: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights with the error bars as the network states them: those of one apparatus hold for no other."""
    return state | {name: value for name, value in start.items() if name.startswith(CALIBRATION)}


def _processor_s() -> float:
    """Return the processor time of this process and of those it started that are over, such as readers of data."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(content, indent=1) + "\n").encode())
