"""A command line before it is parsed: its order, and the run's own configuration where none is given."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from reconstruction.errors import UserError
from reconstruction.paths import expanded
from reconstruction.system import DEFAULT
from reconstruction.yaml_files import read_yaml


def configs_first(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with the configuration files before the options, which override them wherever they stand."""
    configs: list[str] = []
    options: list[str] = []
    rest = iter(arguments)
    for text in rest:
        if text in ("-c", "--config"):
            configs += [text, *(value for value in [next(rest, None)] if value is not None)]
        else:
            (configs if text.startswith(("-c=", "--config=")) else options).append(text)
    return configs + options


def config_files(arguments: Sequence[str]) -> list[Path]:
    """Return the configuration files that arguments name."""
    texts = itertools.pairwise([*arguments, ""])
    named = [after if text in ("-c", "--config") else text.partition("=")[2] for text, after in texts if _names(text)]
    return [Path(text) for text in named]


def system_named(arguments: Sequence[str]) -> str:
    """Return the system that an option names, or else the last of the configuration files that names one."""
    given = [after for text, after in itertools.pairwise([*arguments, ""]) if text == "--system"]
    given += [text.partition("=")[2] for text in arguments if text.startswith("--system=")]
    if given:
        return given[-1]
    contents = [read_yaml(path) for path in config_files(arguments)]
    named = [one["system"] for one in contents if isinstance(one, dict) and one.get("system")]
    return str(named[-1]) if named else DEFAULT


def _names(text: str) -> bool:
    return text in ("-c", "--config") or text.startswith(("-c=", "--config="))


def with_expanded_paths(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with `~` and `$HOME` at the beginning of their values replaced: no shell does it there."""
    pairs = (text.partition("=") for text in arguments)
    return [
        f"{name}={expanded(value)}" if name.startswith("-") and value.startswith(("~", "$")) else expanded_word(text)
        for text, (name, _, value) in zip(arguments, pairs, strict=True)
    ]


def expanded_word(text: str) -> str:
    """Return a word of its own with `~` replaced, where it begins with it."""
    return expanded(text) if text.startswith(("~", "$")) else text


def with_run_config(command: str, arguments: list[str]) -> list[str]:
    """Return the arguments of a command on a run, with the run's own configuration where none is given."""
    overridden = [text for text in arguments if text.startswith("--model.")]
    if overridden and command != "fit":
        raise UserError(f"{command} takes the model from the checkpoint, so {overridden[0]} would change nothing")
    if any(text in ("-h", "-c") or text.startswith(("--help", "--config", "-c=")) for text in arguments):
        return arguments
    folder = _named_run(arguments)
    if folder is None:
        how = f"{command} --resume" if command == "fit" else command
        raise UserError(f"name the run: `python cli.py {how} --run=runs/s4d`{_runs(Path('runs'))}")
    if not (folder / "config.yaml").exists():
        missing = "it has no config.yaml" if folder.is_dir() else "there is no such folder"
        raise UserError(f"{folder} is no run, {missing}: name one that was trained{_runs(folder.parent)}")
    return ["-c", str(folder / "config.yaml"), *arguments]


def _runs(folder: Path) -> str:
    """Return the names of the newest runs in a folder, in brackets; nothing where there are none."""
    found = sorted(folder.glob("*/config.yaml"), key=lambda path: path.stat().st_mtime, reverse=True)
    return f" (there are {', '.join(str(path.parent) for path in found[:5])})" if found else ""


def _named_run(arguments: list[str]) -> Path | None:
    options = dict(itertools.pairwise([*arguments, ""]))
    options |= dict(text.split("=", 1) for text in arguments if "=" in text)
    if "--run" in options:
        return Path(options["--run"])
    if options.get("--ckpt_path", "best") not in ("best", "last"):
        return Path(options["--ckpt_path"]).parent.parent
    return None
