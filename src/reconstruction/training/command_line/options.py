"""What a user can write: the commands, and the options of each beside those of model and data."""

from __future__ import annotations

import argparse
import functools
import operator
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from jsonargparse import ArgumentParser
from lightning.pytorch.cli import LightningArgumentParser

from reconstruction.records.rows import RowsDataModule
from reconstruction.system import DEFAULT, System, class_of
from reconstruction.training.command_line.study import StudyPoint
from reconstruction.training.learning.checkpoints import Checkpoints, EarlyStopping
from reconstruction.training.learning.tasks.denoising import FineTune
from reconstruction.training.runs.interruption import StopOnSignal
from reconstruction.training.watching.figures import Figures

COMMANDS = {
    "fit": "Train a model from a configuration.",
    "validate": "Print the metrics of a checkpoint on the validation split.",
    "test": "Reconstruct the test split with a checkpoint and write predictions.hdf5.",
    "predict": "Reconstruct every record of a file with a checkpoint and write predicted_DATA.hdf5.",
    "export": "Write a trained model, with its card, to one file that runs without this package: torch or ONNX.",
}

OVERVIEW = "\n".join(
    [
        "usage: python cli.py fit -c CONFIG [--section.option=value …]",
        "       python cli.py {validate,test,predict,export} --run=RUN [--section.option=value …]",
        "",
        *(f"  {name:10}{text}" for name, text in COMMANDS.items()),
        "",
        "examples:",
        "  python cli.py fit -c configs/s4d.yaml --trainer.max_epochs=20 --run=runs/short",
        "  python cli.py fit --run=runs/short --resume",
        "  python cli.py test --run=runs/short",
        "  python cli.py predict --run=runs/short --data.data=measured.hdf5 --noise_scale=0",
        "",
        "`python cli.py COMMAND --help` lists what people set, and where the rest is listed.",
    ]
)

TRAINER_DEFAULTS = {
    "max_epochs": 30,
    "accelerator": "auto",
    "gradient_clip_val": 1.0,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
    "log_every_n_steps": 10,
}


def add_checkpoint_core(parser: LightningArgumentParser, system: System) -> None:
    """Add trainer and data for a command on a checkpoint, which reads over the model's section of a file."""
    parser.add_lightning_class_args(pl.Trainer, "trainer")
    parser.set_defaults({f"trainer.{name}": value for name, value in TRAINER_DEFAULTS.items()})
    parser.add_argument("--model", type=dict | None, default=None, help=argparse.SUPPRESS)
    parser.add_lightning_class_args(class_of(system.data), "data")


def add_options(parser: LightningArgumentParser, command: str, system: System) -> None:
    """Add the run's own options, the callbacks' groups, and the links of facts that are written once."""
    parser.add_argument("--run", type=str | None, default=None, help="Folder of the run; default runs/CONFIG_NAME.")
    parser.add_argument(
        "--system", type=str, default=DEFAULT, help="What the data are of: cres, collider.showers, or one of your own."
    )
    _add_fit_options(parser, command, system)
    _add_callbacks(parser)
    if command != "fit":
        _add_checkpoint_options(parser, command, system)
    whole_numbers_first(parser)
    parser.link_arguments("seed_everything", "data.seed", compute_fn=int)
    if command == "fit":
        parser.link_arguments("seed_everything", "model.seed", compute_fn=int)
        parser.link_arguments("data.targets", "model.targets")
        for name in system.facts:
            parser.link_arguments("data", f"model.{name}", compute_fn=_fact(name), apply_on="instantiate")


def whole_numbers_first(parser: ArgumentParser) -> None:
    """Let options of whole numbers or numbers read 1 as the first: one batch, where 1.0 means all of them.

    `typing` takes Optional[Union[int, float]] and Optional[Union[float, int]] for equal and returns whichever a process
    made first, and the parser tries them in that order.
    """
    for action in parser._actions:
        kinds = list(typing.get_args(getattr(action, "_typehint", None)))
        if int in kinds and float in kinds and kinds.index(float) < kinds.index(int):
            first, second = kinds.index(float), kinds.index(int)
            kinds[first], kinds[second] = int, float
            action._typehint = functools.reduce(operator.or_, kinds)  # type: ignore[attr-defined]


def _add_fit_options(parser: LightningArgumentParser, command: str, system: System) -> None:
    """Add what a training reads; the other commands accept it, since they read the same configuration files."""
    rates = "Try learning rates for a few minutes, print the loss at each and a suggestion, and do not train."
    resume, project = "Go on from the run's last checkpoint.", "Project on Weights & Biases, if it is used."
    sizes = "Try batch sizes for some seconds each, print the rows a second of each, and do not train."
    if command != "fit":
        resume = project = rates = sizes = argparse.SUPPRESS
    parser.add_argument("--resume", action="store_true", help=resume)
    parser.add_argument("--find_lr", action="store_true", help=rates)
    parser.add_argument("--find_batch_size", action="store_true", help=sizes)
    parser.add_argument("--wandb_project", type=str, default="cres", help=project)
    if command == "fit":
        parser.add_lightning_class_args(class_of(system.curriculum), "curriculum")
    else:
        parser.add_argument("--curriculum", type=dict | None, default=None, help=argparse.SUPPRESS)


def _add_callbacks(parser: LightningArgumentParser) -> None:
    parser.add_lightning_class_args(Checkpoints, "checkpoint")
    parser.add_lightning_class_args(EarlyStopping, "early_stopping")
    parser.add_lightning_class_args(StopOnSignal, "interruption")
    parser.add_lightning_class_args(Figures, "figures")
    parser.add_lightning_class_args(FineTune, "fine_tune")
    parser.add_lightning_class_args(StudyPoint, "study")
    parser.set_defaults(
        {
            "early_stopping.monitor": "val/loss",
            "early_stopping.patience": 15,
            "early_stopping.check_on_train_epoch_end": False,
            "early_stopping.check_finite": False,
        }
    )


def _add_checkpoint_options(parser: LightningArgumentParser, command: str, system: System) -> None:
    help_text = "best, last, or a checkpoint file; a list of files is used as one ensemble."
    parser.add_argument("--ckpt_path", type=str | list[str], default="best", help=help_text)
    if command in ("test", "predict"):
        name = "predictions.hdf5" if command == "test" else "predicted_DATA.hdf5"
        help_text = f"Where to write the table; default {name} in the run's folder."
        parser.add_argument("--predictions", type=Path | None, default=None, help=help_text)
        class_of(system.reconstruction).add_options(parser)
    if command == "predict":
        help_text = "Noise to add, in units of the nominal; 0 for measured records, which carry their own."
        parser.add_argument("--noise_scale", type=float, default=1.0, help=help_text)
    if command == "export":
        help_text = "File to write: .pt2 for torch, .onnx for ONNX runtimes; default model.pt2 in the run's folder."
        parser.add_argument("--output", type=Path | None, default=None, help=help_text)


def _fact(name: str) -> Callable[[RowsDataModule], Any]:
    """Return what looks a fact up in the data, for a link to the model's argument of that name."""

    def fact(data: RowsDataModule) -> Any:
        return data.apparatus_facts()[name]

    return fact
