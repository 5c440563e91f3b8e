"""What `--help` prints: a command's own options first, and the rest by subject where it is asked for.

All of a command's options together fill many screens; `--help-trainer` and its siblings show one part of them each.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from jsonargparse import ArgumentParser

from reconstruction.training.command_line.wanted import NAMED, wanted

TOPICS: Final = {
    "data": ("data",),
    "model": ("model",),
    "training": ("curriculum", "checkpoint", "early_stopping", "interruption", "figures", "fine_tune", "study"),
    "trainer": ("trainer",),
}
"""Subject → sections of a configuration."""

ABOUT: Final = {
    "data": "the rows: files, splits, batches (--help-data)",
    "model": "views, encoders, head, loss, noise, learning rates (--help-model)",
    "training": "curriculum, checkpoints, early stopping, signals, figures, fine-tuning, sweeps (--help-training)",
    "trainer": "Lightning's trainer: length, devices, precision, loggers (--help-trainer)",
}

ALL: Final = "all"

FIRST: Final = {
    "fit": (
        "config", "run", "resume", "data.data", "data.targets", "data.batch_size", "data.stream", "trainer.max_epochs",
        "trainer.max_time", "model.optimiser.lr", "seed_everything", "early_stopping.patience", "fine_tune.checkpoint",
        "trainer.accelerator", "trainer.devices", "trainer.precision", "trainer.logger", "find_lr", "find_batch_size",
        "wandb_project",
    ),
    "validate": ("run", "ckpt_path", "config", "data.data", "data.batch_size", "trainer.accelerator"),
    "test": (
        "run", "ckpt_path", "predictions", "config", "data.data", "data.batch_size", "windows", "chunk",
        "trainer.accelerator",
    ),
    "predict": (
        "run", "data.data", "noise_scale", "predictions", "ckpt_path", "config", "data.batch_size", "data.band_hz",
        "windows", "chunk", "trainer.accelerator",
    ),
    "export": ("run", "output", "ckpt_path", "config"),
}  # fmt: skip
"""What people set, in the order in which they meet it."""

SAID_ANEW: Final = {
    "config": "A configuration (YAML); later ones and options win.",
    "seed_everything": "Seed of the weights, of the order, of the noise in training and of the split.",
    "data.data": "Prepared data: a file, a folder, a glob, or a list of these.",
    "early_stopping.patience": "Stop after so many validations without improvement.",
    "trainer.max_epochs": "How often all training data are seen.",
    "trainer.max_time": "Stop after so long, DD:HH:MM:SS.",
    "trainer.accelerator": "auto, cpu, gpu, mps.",
    "trainer.devices": "How many, or which.",
    "trainer.precision": "32-true, bf16-mixed or 16-mixed.",
    "trainer.logger": "A logger beside metrics.csv (TensorBoardLogger, MLFlowLogger), or false for metrics.csv alone.",
}
"""Options whose own help is long, or a library's."""

OF_A_RUN: Final = {
    "config": "Another configuration than the run's own.",
    "run": "Folder of the run, such as runs/s4d.",
    "data.data": "Other data than those of the training: a file, a folder, a glob, or a list of these.",
}
"""The same for commands on a run, which bring their configuration."""

_COLUMN = 26
_WIDEST = 120


def topic_of(arguments: Sequence[str]) -> str | None:
    """Return what help a command line asks for: "" for --help, a topic for --help-TOPIC; None for none."""
    for text in arguments:
        if text in ("-h", "--help"):
            return ""
        if text.startswith("--help-"):
            return text.removeprefix("--help-")
    return None


def known(topic: str, command: str) -> bool:
    """Whether there is such a help for a command."""
    return topic in ("", ALL, *_topics(command))


def help_text(parser: ArgumentParser, command: str, topic: str = "", width: int | None = None) -> str:
    """Return a command's own help, or with a topic that part of its options, in `width` columns (the terminal's)."""
    width = min(_WIDEST, shutil.get_terminal_size((80, 24)).columns if width is None else width)
    if topic:
        sections = [section for name in (_topics(command) if topic == ALL else [topic]) for section in TOPICS[name]]
        if topic == ALL:
            sections = ["", *sections]
        return "\n\n".join(_section(parser, command, section, width) for section in sections) + "\n"
    by_name = {action.dest: action for action in _shown(parser)}
    own = [by_name[name] for name in FIRST[command] if name in by_name]
    more = [f"  --help-{name:<10}{ABOUT[name].partition(' (')[0]}" for name in _topics(command)]
    parts = [
        f"usage: {usage(command)}",
        str(parser.description),
        *textwrap.wrap(_BRINGS, width) * (command != "fit"),
        "\n".join(_option(parser, command, action, width) for action in own),
        "more options, which a configuration file names without the dashes:\n"
        + "\n".join([*more, f"  --help-{ALL:<10}every option"]),
    ]
    return "\n\n".join(parts) + "\n"


_BRINGS: Final = "A run brings its configuration and its data along: --run is enough."


def usage(command: str) -> str:
    """Return how a command is written, with the name of the program that runs."""
    program = "cres" if Path(sys.argv[0]).name == "cres" else "python cli.py"
    needed = {"fit": "-c CONFIG", "predict": "--run=RUN --data.data=FILE"}.get(command, "--run=RUN")
    return f"{program} {command} {needed} [--section.option=value …]"


def _topics(command: str) -> list[str]:
    return list(TOPICS) if command == "fit" else ["data", "trainer"]


def _shown(parser: ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the options that have a help and a value, or are flags."""
    for action in parser._actions:
        hidden = (
            action.help == argparse.SUPPRESS or not action.option_strings or action.dest in ("help", "print_config")
        )
        if not hidden and not type(action).__name__.startswith(("_ActionConfigLoad", "ActionLink", "_ActionHelp")):
            yield action


def _section(parser: ArgumentParser, command: str, section: str, width: int) -> str:
    """Return all options of one section of a configuration; those without a section for ""."""
    inside = [
        action for action in _shown(parser) if (action.dest.partition(".")[0] if "." in action.dest else "") == section
    ]
    title = f"{section}:" if section else "of the command:"
    if section == "model":
        title += " --model.head.help=MixtureHead lists the options of a class, --print_config the whole configuration"
    return "\n".join([title, *(_option(parser, command, action, width) for action in inside)])


def _option(parser: ArgumentParser, command: str, action: argparse.Action, width: int) -> str:
    """Return an option with what it takes, what it does and its default, each said once."""
    # jsonargparse also writes --name+, which appends to a list
    strings = [text for text in action.option_strings if not text.endswith("+")]
    hint = getattr(action, "_typehint", None)
    name = f"  {', '.join(strings)}{'' if action.nargs == 0 else f' {_takes(hint)}'}"
    text = " ".join([_about(command, action), *_facts(parser, command, action, hint)]).strip()
    lines = textwrap.wrap(text, width - _COLUMN, break_on_hyphens=False) or [""]
    head = f"{name:<{_COLUMN}}{lines.pop(0)}" if len(name) < _COLUMN - 1 else name
    return "\n".join([head, *(f"{'':{_COLUMN}}{line}" for line in lines)])


_NAMES: Final = {
    "a whole number": "N",
    "a number": "X",
    "a text": "TEXT",
    "a path": "FILE",
    "true or false": "true|false",
    "a list": "LIST",
    NAMED: "MAPPING",
    "a class (class_path, with its init_args)": "CLASS",
}


def _takes(hint: Any) -> str:
    """Return what stands for an option's value: N for a whole number, the first of several kinds."""
    if hint is None:
        return "FILE"
    first = wanted(hint).removeprefix("null or ").split(" or ")[0]
    if "a whole number" in wanted(hint):
        return "N"
    kind = "true or false" if first == "true" else first
    return _NAMES.get(kind, "LIST" if kind.startswith("a list") else "VALUE")


def _about(command: str, action: argparse.Action) -> str:
    anew = SAID_ANEW if command == "fit" else SAID_ANEW | OF_A_RUN
    return " ".join((anew.get(action.dest) or action.help or "").split()).replace("``", "").replace("%%", "%")


def _facts(parser: ArgumentParser, command: str, action: argparse.Action, hint: Any) -> list[str]:
    """Return the choices and the default in brackets, unless the help says them."""
    default = parser.get_defaults().get(action.dest)
    kind = "" if hint is None else wanted(hint).removesuffix(" or null")
    facts = [kind] if kind.startswith("one of") and action.dest not in SAID_ANEW else []
    of_a_run = command != "fit" and action.dest.startswith("data.")  # the run's own
    if (
        default is not None
        and default is not False
        and not of_a_run
        and "default" not in _about(command, action).lower()
    ):
        facts.append(f"default {_plain(default)}")
    return [f"({'; '.join(facts)})"] if facts else []


def _plain(value: Any) -> str:
    path = value.get("class_path") if hasattr(value, "get") else None
    if path:
        return str(path).rpartition(".")[2]
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(str, value))}]"
    return "true" if value is True else str(value)
