"""The command line: `python cli.py {fit,validate,test,predict,export} -c CONFIG [--any.option=value]`.

LightningCLI parses, one parser a command. `fit` makes a model from the configuration; the other commands take the
model from a checkpoint, which alone knows how it was built, and refuse options that would contradict it. Model, data
and trainer are made here; what a command does with them is elsewhere: `fit_command`, `reconstruction`, `export`.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from jsonargparse import ArgumentError
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import SIGTERMException

from reconstruction.errors import EXIT_USER_ERROR, UserError, nearest, one_line
from reconstruction.output import lasting_output
from reconstruction.progress import waiting
from reconstruction.system import System, attribute_of, class_of, find_system
from reconstruction.training.command_line.arguments import (
    config_files,
    configs_first,
    system_named,
    with_expanded_paths,
    with_run_config,
)
from reconstruction.training.command_line.explain import explain
from reconstruction.training.command_line.failures import OTHER_PROCESS, sentence
from reconstruction.training.command_line.hardware import require_exact, require_nodes, usable_accelerator
from reconstruction.training.command_line.help import help_text, known, topic_of, usage
from reconstruction.training.command_line.options import (
    COMMANDS,
    OVERVIEW,
    TRAINER_DEFAULTS,
    add_checkpoint_core,
    add_options,
)
from reconstruction.training.command_line.settled import settle
from reconstruction.training.command_line.study import Pruned
from reconstruction.training.learning.checkpoints import BEST, LAST, AtomicCheckpointIO
from reconstruction.training.learning.loss_watch import NonFiniteLoss
from reconstruction.training.runs.calibrating import FitCalibration
from reconstruction.training.runs.commands import Reconstruction, validate
from reconstruction.training.runs.ensembles import calibrate_as_trained
from reconstruction.training.runs.fit_command import FitCommand
from reconstruction.training.runs.fitting import FitScalers
from reconstruction.training.runs.interruption import EndedEarly, Interrupted, StopOnSignal, end_children, ending_early
from reconstruction.training.runs.loading import load_ensemble, plain_types
from reconstruction.training.runs.processes import let_go_of_gradients
from reconstruction.training.runs.runs import RunRecord, default_folder, require_writable
from reconstruction.training.runs.starts import Trial, refuse_impossible
from reconstruction.training.watching.loggers import make_loggers
from reconstruction.training.watching.progress import EpochLines, ProgressLines, TrainingBar
from reconstruction.training.watching.quiet import leave_out_library_messages
from reconstruction.yaml_files import require_yaml

_PARSERS: dict[tuple[str, str], tuple[System, LightningArgumentParser]] = {}
"""By command and system: to make one takes longer than to read with it, and reading leaves nothing in it."""


class CommandLine(LightningCLI):
    """One command of the system that its configuration names, parsed, and the trainer, the data and the model made."""

    def __init__(self, command: str, arguments: Sequence[str]) -> None:
        self.command = command
        self.system = find_system(system_named(arguments))
        self.trial: Trial | None = None
        self.arguments = configs_first(arguments)
        super().__init__(
            class_of(self.system.module),
            class_of(self.system.data),
            save_config_callback=None,
            trainer_defaults=dict(TRAINER_DEFAULTS),
            seed_everything_default=0,
            parser_kwargs={
                "prog": f"cli.py {command}",
                "description": COMMANDS[command],
                "usage": usage(command),
                "exit_on_error": False,
                "allow_abbrev": False,
            },
            args=self.arguments,
            run=False,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )

    # Parsing -----------------------------------------------------------------------------------------------------

    def setup_parser(self, *how: Any) -> None:
        """Make the parser, or take the one that was made before: stages and sweeps run many commands in one process."""
        system, parser = _PARSERS.get((self.command, self.system.name), (None, None))
        if parser is None or system is not self.system:
            super().setup_parser(*how)
            _PARSERS[self.command, self.system.name] = (self.system, self.parser)
        else:
            self.parser = parser

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add trainer, model and data; only a training reads the model's section of a configuration file."""
        if self.command == "fit":
            super().add_core_arguments_to_parser(parser)
        else:
            add_checkpoint_core(parser, self.system)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of the command."""
        add_options(parser, self.command, self.system)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, or print the help that is asked for; mistakes become one sentence that names the nearest key."""
        topic = topic_of(args)
        if topic is not None and known(topic, self.command):
            print(help_text(parser, self.command, topic), end="")
            sys.exit(0)
        for path in config_files(args):
            require_yaml(path)
        try:
            self.config = parser.parse_args(args)
        except (ArgumentError, TypeError, ValueError, KeyError) as error:
            raise UserError(explain(str(error), parser, args)) from error
        settle(self.config, self.system.ranges)

    # Making ------------------------------------------------------------------------------------------------------

    def before_instantiate_classes(self) -> None:
        """Settle the run's folder and what depends on it."""
        files = [Path(str(path)) for path in self.config.get("config") or []]
        named = any(text == "--run" or text.startswith("--run=") for text in self.arguments)
        self.run_folder = Path(self.config.run) if named else default_folder(files, self.config.run)
        self.config.run = str(self.run_folder)
        self.config.trainer.default_root_dir = str(self.run_folder)
        require_exact(self.config.trainer.precision)
        require_nodes(self.config.trainer.num_nodes)
        if self.command == "fit":
            refuse_impossible(self.config)
            self.trial = Trial.of(self.config)
            if self.trial is None:
                require_writable(self.run_folder)
            else:
                self.config.trainer.default_root_dir = str(self.trial.folder)
        else:
            wanted = self.config.ckpt_path
            self.checkpoints = [self._checkpoint_file(one) for one in ([wanted] if isinstance(wanted, str) else wanted)]

    def _checkpoint_file(self, wanted: str) -> Path:
        named = {"best": BEST, "last": LAST}
        if wanted not in named:
            return Path(wanted)
        path = self.run_folder / "checkpoints" / named[wanted]
        # a training that was never validated has no best
        return path if path.exists() or not path.with_name(LAST).exists() else path.with_name(LAST)

    def instantiate_classes(self) -> None:
        """Make data and model: from the configuration to train, from the checkpoint for everything else."""
        try:
            self.config_init = self.parser.instantiate(self.config)
        except ValueError as error:
            # what the data say when a linked fact is asked of them arrives wrapped by the parser
            if isinstance(error.__cause__, UserError):
                raise error.__cause__ from None
            raise UserError(f"the configuration cannot be made: {one_line(error)}") from error
        except (TypeError, AssertionError, MisconfigurationException) as error:
            raise UserError(f"the configuration cannot be made: {one_line(error)}") from error
        self.datamodule = self.config_init["data"]
        if self.command == "fit":
            self.model = self.config_init["model"]
        else:
            self.model = load_ensemble(self.checkpoints)
            self._require_the_models_system()
            self._require_the_models_targets()
            self.datamodule.split_as(self.model.card.get("data", {}))
        self.datamodule.settings = self.model.settings
        if self.trial is not None:
            self.datamodule.overfit = bool(self.trial.overfit)
        self.trainer = self.instantiate_trainer(**self._trainer_parts())

    def _require_the_models_system(self) -> None:
        """Raise UserError where data of one system meet a model of another."""
        if self.model.system.name != self.system.name:
            raise UserError(
                f"the checkpoint is a model of the system {self.model.system.name}, and the configuration is one of "
                f"{self.system.name}: give --system={self.model.system.name} and its data"
            )

    def _require_the_models_targets(self) -> None:
        """Raise UserError where the data are read for other targets than the model's, which a checkpoint fixes."""
        ours, asked = tuple(self.model.card["model"]["targets"]), self.datamodule.targets
        if asked != ours:
            raise UserError(
                f"data.targets is [{', '.join(asked)}], but the model regresses [{', '.join(ours)}]: leave it out, or "
                "train another model for it"
            )

    def _trainer_parts(self) -> dict[str, Any]:
        plugins: list[Any] = [AtomicCheckpointIO()]
        if SLURMEnvironment.detect():
            plugins.append(SLURMEnvironment(auto_requeue=False))
        # the saved configuration keeps what was asked for: it may go on elsewhere
        accelerator = usable_accelerator(self.config.trainer.accelerator)
        parts: dict[str, Any] = {"plugins": plugins, "logger": False, "accelerator": accelerator}
        if self.command == "fit":
            stored = plain_types(self.parser, self.config)
            folder = Path(self.config.trainer.default_root_dir)
            chosen = self.config_init["trainer"]["logger"]
            parts["logger"] = make_loggers(folder, self.config.wandb_project, stored, chosen, self.trial is None)
            parts |= self.trial.limits() if self.trial is not None else {}
        return parts

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Make the trainer with the callbacks that every run has."""
        if self.command == "fit":
            record: list[pl.Callback] = [RunRecord(), FitCalibration()] if self.trial is None else []
            self.trainer_defaults["callbacks"] = [FitScalers(), EpochLines(), *self._bar(TrainingBar), *record]
        else:
            self.trainer_defaults["callbacks"] = self._bar(RichProgressBar)
        try:
            return super().instantiate_trainer(**kwargs)
        except (MisconfigurationException, ValueError, TypeError, ImportError, RuntimeError, OSError) as error:
            raise UserError(f"the trainer cannot be made: {one_line(error)}") from error

    def _bar(self, on_a_terminal: Callable[[], ProgressBar]) -> list[pl.Callback]:
        """Return what shows how far it is: a bar that a terminal draws, or lines in a log."""
        if self.config.trainer.enable_progress_bar is False:
            return []
        return [on_a_terminal() if sys.stderr.isatty() else ProgressLines()]

    # Commands ----------------------------------------------------------------------------------------------------

    def execute(self) -> None:
        """Run the command."""
        if self.command != "fit" and len(self.checkpoints) > 1:
            calibrate_as_trained(self.model.to(self.trainer.strategy.root_device), self.datamodule)
        commands: dict[str, Callable[[], None]] = {
            "fit": self._fit,
            "validate": self._validate,
            "test": self._test,
            "predict": self._predict,
            "export": self._export,
        }
        commands[self.command]()

    def _fit(self) -> None:
        command = FitCommand(self.model, self.datamodule, self.trainer, self.run_folder, self.trial is not None)
        if self.config.find_lr:
            command.find_rate()
        elif self.config.find_batch_size:
            command.find_batch_size()
        else:
            command.train(self.parser, self.config)

    def _validate(self) -> None:
        validate(self.model, self.datamodule, self.trainer)

    def _test(self) -> None:
        self._reconstruction().test()

    def _predict(self) -> None:
        self._reconstruction().predict(self.config.noise_scale)

    def _reconstruction(self) -> Reconstruction:
        kind: type[Reconstruction] = class_of(self.system.reconstruction)
        place = self.config.predictions
        parts = (self.model, self.datamodule, self.trainer, self.checkpoints, self.run_folder, place)
        return kind(*parts, **kind.chosen(self.config))

    def _export(self) -> None:
        if self.system.export is None:
            raise UserError(
                f"models of the system {self.system.name} cannot be exported yet: it has no function for it"
            )
        attribute_of(self.system.export)(
            self.model, self.checkpoints, self.config.output or self.run_folder / "model.pt2"
        )


def main(arguments: Sequence[str]) -> int:
    """Run a command line; returns the exit code. Raises UserError for a user's mistakes."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(OVERVIEW)
        return 0
    command, *rest = with_expanded_paths(arguments)
    if command not in COMMANDS:
        raise UserError(f"there is no command {command!r}{nearest(command, COMMANDS)}; choose {', '.join(COMMANDS)}")
    leave_out_library_messages()
    if command != "fit" or "--resume" in rest:
        rest = with_run_config(command, rest)
    with lasting_output() if command == "fit" else contextlib.nullcontext():
        return _run(command, rest)


def _run(command: str, arguments: Sequence[str]) -> int:
    cli: CommandLine | None = None
    try:
        # not while the rest is put away: a process that another one ends then would tell a traceback of it
        with ending_early():
            with waiting("reading the configuration, opening the data"):
                cli = CommandLine(command, arguments)
            cli.execute()
    except Interrupted as stop:
        rank_zero_only(print)(stop, file=sys.stderr)
        return stop.exit_code
    except Pruned as pruned:
        rank_zero_only(print)(pruned, file=sys.stderr)
        return 0
    except (EndedEarly, KeyboardInterrupt, SystemExit) as end:
        return _ended_early(command, cli, end)
    except Exception as error:
        if cli is not None:
            end_children(cli.trainer)
        said = sentence(error)
        if said is None:
            raise
        rank = int(getattr(rank_zero_only, "rank", 0) or 0)
        if (said == OTHER_PROCESS and rank > 1) or (isinstance(error, NonFiniteLoss) and rank > 0):
            return EXIT_USER_ERROR  # not all processes need say it; of a loss all of them know
        if said == str(error) and isinstance(error, UserError):
            raise
        raise UserError(said) from error
    finally:
        let_go_of_gradients()
        if cli is not None and cli.trial is not None:
            cli.trial.forget()
    return 0


def _ended_early(command: str, cli: CommandLine | None, end: BaseException) -> int:
    """Say what ended a command before it had anything to save; returns the exit code, or raises what was no signal."""
    # what Lightning makes of signals that it heeds: it would end well, or as from an error
    if isinstance(end, SIGTERMException):
        end = EndedEarly(signal.SIGTERM)
    elif isinstance(end, KeyboardInterrupt) or isinstance(end.__context__, KeyboardInterrupt):
        end = EndedEarly(signal.SIGINT)
    if not isinstance(end, EndedEarly):
        raise end
    requeued = False
    if cli is not None:
        end_children(cli.trainer)
        stoppers = [one for one in cli.trainer.callbacks if isinstance(one, StopOnSignal)]  # type: ignore[attr-defined]
        on_time = end.signal_number == signal.SIGUSR1 and cli.trainer.is_global_zero
        requeued = on_time and any(one.queue_again() for one in stoppers)
    trained = cli is not None and command == "fit" and (cli.run_folder / "checkpoints" / LAST).exists()
    rank_zero_only(print)(end.sentence(command, requeued, trained), file=sys.stderr)
    return 0 if requeued else 128 + end.signal_number
