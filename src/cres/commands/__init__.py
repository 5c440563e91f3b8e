"""The command `cres`: what `cli.py` and the scripts of a checkout do, from anywhere.

    cres simulate --events 4000        cres prep --input data/raw        cres fit -c s4d.yaml

Each command is a module with `command_line()`, its parser, and `main()`, which reads `sys.argv`.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Final

from cres import errors
from cres.commands.memory import with_malloc_settings
from cres.resources import training_config

TRAINING: Final = {
    "fit": "train a model",
    "validate": "print the metrics of the validation split",
    "test": "reconstruct the test split",
    "predict": "reconstruct any records",
    "export": "write a model that runs without this package",
}
OTHERS: Final = {
    "simulate": ("simulate", "simulate electrons"),
    "prep": ("data_prep", "pickles and egg files to HDF5; --check, --merge"),
    "estimate": ("estimate", "estimate electrons without a network; the Cramér–Rao bound"),
    "posterior": ("posterior", "weighted samples of a trained flow"),
    "evaluate": ("evaluate", "resolution and calibration of prediction tables"),
    "browse": ("browse", "a page to look at electrons one by one"),
    "endpoint": ("endpoint", "fit the tritium endpoint"),
    "sweep": ("sweep", "points and summaries of sweeps"),
    "stages": ("stages", "each apparatus alone, their average, all together"),
}


STEPS: Final = {
    "electrons": ("simulate", "prep"),
    "networks": ("fit", "test", "predict", "validate", "export", "sweep", "stages"),
    "results": ("estimate", "posterior", "evaluate", "browse", "endpoint"),
}
"""The commands in the order in which they are needed."""

EXAMPLES: Final = """\
from nothing to a table and a report:
  cres simulate --events 3000                      data/raw/*.pkl.gz
  cres prep                                        data/cres.hdf5
  cres fit -c s4d --trainer.max_epochs=6           runs/s4d/ (other models: conformer, lstm …)
  cres test --run=runs/s4d                         runs/s4d/predictions.hdf5
  cres evaluate runs/s4d/predictions.hdf5          runs/evaluation/report.html"""


def overview() -> str:
    """Return what `cres --help` prints."""
    told = {**TRAINING, **{name: text for name, (_, text) in OTHERS.items()}}
    parts = ["usage: cres COMMAND [options]; cres COMMAND --help lists them"]
    for step, names in STEPS.items():
        parts.append("\n".join([f"{step}:", *(f"  {name:<10}{told[name]}" for name in names)]))
    return "\n\n".join([*parts, EXAMPLES])


def main() -> int | None:
    """Run the command that `sys.argv` names. Raises UserError with the nearest one for a name that is none."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(overview())
        return 0
    command = sys.argv[1]
    if command == "--version":
        import cres

        print(f"cres {cres.__version__}")
        return 0
    from cres.progress import waiting

    if command in TRAINING:
        with waiting("loading torch and Lightning"):
            from reconstruction.training.command_line.cli import main as train

        return train([command, *map(with_shipped_config, sys.argv[2:], sys.argv[1:])])
    if command not in OTHERS:
        known = [*TRAINING, *OTHERS]
        raise errors.UserError(
            f"there is no command {command!r}{errors.nearest(command, known)}; there are {', '.join(known)}"
        )
    sys.argv = [f"cres {command}", *sys.argv[2:]]
    with waiting("loading"):
        module = import_module(f"cres.commands.{OTHERS[command][0]}")
    code: int | None = module.main()
    return code


def with_shipped_config(word: str, before: str) -> str:
    """Return a word of the command line; the name of a configuration of ours behind -c becomes its path."""
    return str(training_config(word)) if before in ("-c", "--config") else word


def run() -> None:
    """Run the command and exit: what `pip install` makes the program `cres` of."""
    if len(sys.argv) > 1 and sys.argv[1] in TRAINING:
        with_malloc_settings()
    errors.run(main)
