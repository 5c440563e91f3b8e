"""A command line before it is parsed: its order, and the run's own configuration where none is given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cres.errors import UserError


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


def with_run_config(command: str, arguments: list[str]) -> list[str]:
    """Return the arguments of a command on a checkpoint, with the run's own configuration where none is given."""
    overridden = [text for text in arguments if text.startswith("--model.")]
    if overridden:
        raise UserError(f"{command} takes the model from the checkpoint, so {overridden[0]} would change nothing")
    if any(text in ("-h", "--help", "-c") or text.startswith("--config") for text in arguments):
        return arguments
    folder = _named_run(arguments)
    if folder is None or not (folder / "config.yaml").exists():
        raise UserError(f"name the run: `python cli.py {command} -c configs/s4d.yaml` or --run=runs/s4d")
    return ["-c", str(folder / "config.yaml"), *arguments]


def _named_run(arguments: list[str]) -> Path | None:
    options = dict(zip(arguments, [*arguments[1:], ""], strict=True))
    options |= dict(text.split("=", 1) for text in arguments if "=" in text)
    if "--run" in options:
        return Path(options["--run"])
    if options.get("--ckpt_path", "best") not in ("best", "last"):
        return Path(options["--ckpt_path"]).parent.parent
    return None
