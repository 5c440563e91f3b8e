"""What a file of stages says: trainings of one configuration, one after another, and what each begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconstruction.configuration import build
from reconstruction.errors import UserError, nearest
from reconstruction.sweeps import as_text
from reconstruction.yaml_files import read_yaml

EACH, AVERAGE, TRAIN = KINDS = ("each", "average", "train")
START = "start"
"""What a stage can begin with besides the stages before it: the common initialisation, with everything fitted."""


@dataclass(frozen=True)
class PlannedStage:
    """One stage.

    kind: each (a training for every apparatus, all from one initialisation), average (the mean of the weights of such
    a stage), or train (all apparatus together). from_: the stage that a training begins with, start for the common
    initialisation, nothing for a beginning of its own; of an average what it is made of. options: of `cli.py fit`, by
    their dotted keys. lines: of an average, how many pairs of networks the loss is looked at between; points: where on
    such a line.
    """

    kind: str
    from_: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    lines: int = 3
    points: int = 5


@dataclass(frozen=True)
class Plan:
    """A file of stages: the configuration that all are trainings of, options that all have, and the stages in order."""

    name: str
    base: Path
    options: Mapping[str, Any]
    stages: Mapping[str, PlannedStage]


@dataclass(frozen=True)
class _File:
    base: str
    stages: dict[str, dict[str, Any]]
    name: str = ""
    options: dict[str, Any] = field(default_factory=dict)


def read_plan(path: Path) -> Plan:
    """Read a file of stages. Raises UserError for one that is none, with what is wrong in it."""
    content = build(_File, read_yaml(path), f"the stages in {path}")
    base = path.parent / content.base
    if not base.is_file():
        raise UserError(f"{path}: the configuration {base} does not exist (base is looked for beside this file)")
    stages: dict[str, PlannedStage] = {}
    for name, given in content.stages.items():
        where = f"the stage {name} in {path}"
        known = {("from_" if key == "from" else key): value for key, value in given.items()}
        stages[name] = build(PlannedStage, known, where)
        _require_sound(stages[name], where, {one: stage.kind for one, stage in stages.items() if one != name})
    if not stages:
        raise UserError(f"{path} has no stages: give it some, each with a kind ({', '.join(KINDS)})")
    return Plan(content.name or path.stem, base, content.options, stages)


def _require_sound(stage: PlannedStage, where: str, before: Mapping[str, str]) -> None:
    if stage.kind not in KINDS:
        raise UserError(
            f"{where} is of the kind {stage.kind!r}{nearest(stage.kind, KINDS)}: there are {', '.join(KINDS)}"
        )
    source = stage.from_
    if stage.kind == AVERAGE:
        if before.get(source) != EACH:
            raise UserError(f"{where} averages networks of a stage before it of the kind each: name it with `from`")
        return
    if source and source != START and before.get(source) not in (AVERAGE, TRAIN):
        raise UserError(
            f"{where} begins with {source!r}, which is neither {START} nor a stage before it that leaves one network "
            f"({AVERAGE}, {TRAIN})"
        )


def as_options(options: Mapping[str, Any]) -> list[str]:
    """Return options as a command line takes them."""
    return [f"--{key}={as_text(value)}" for key, value in options.items()]
