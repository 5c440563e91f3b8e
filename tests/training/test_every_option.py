"""Every option of every command, with values that are wrong, of the wrong type, at the edge and absurd: one sentence.

The tests walk over the parsers, so that a new option is covered by being there.
"""

from __future__ import annotations

import inspect
import math
import shutil
import typing
from collections.abc import Mapping
from pathlib import Path

import pytest
from forked import run_forked
from jsonargparse import ArgumentParser

import cres.transforms
import reconstruction.models
import reconstruction.training.schedules
from collider.showers.learning.data import ShowerDataModule
from cres.data.module import CresDataModule
from cres.errors import UserError
from cres.ranges import RANGES as OF_RECORDS
from cres.transforms import RandomTransform
from reconstruction.models import Encoder, Head, Loss
from reconstruction.models.encoders.views import RecordView
from reconstruction.option_ranges import RANGES as OF_ALL
from reconstruction.option_ranges import out_of_range
from reconstruction.system import find_system
from reconstruction.training.command_line.arguments import with_expanded_paths
from reconstruction.training.command_line.cli import main
from reconstruction.training.command_line.options import whole_numbers_first
from reconstruction.training.command_line.settled import PLACES
from reconstruction.training.command_line.sweep_check import ParsedOnly
from reconstruction.training.command_line.wanted import lists_in, wanted
from reconstruction.training.schedules import Schedule

RANGES = OF_ALL | OF_RECORDS

ROOT = Path(__file__).parents[2]
NONSENSE = "no@such;thing"
KINDS = (Encoder, Head, Loss, RecordView, RandomTransform, Schedule)
COMMANDS = ["fit", "test", "predict", "validate", "export"]


@pytest.fixture(scope="module")
def lines(tiny, records):
    """One parsed command line a command, whose parser is used again."""
    words = {command: ["-c", str(tiny)] if command == "fit" else [] for command in COMMANDS}
    return {command: ParsedOnly(command, [*words[command], f"--data.data={records}"]) for command in COMMANDS}


def said(action) -> str:
    with pytest.raises(UserError) as error:
        action()
    message = str(error.value)
    assert message
    assert "\n" not in message
    assert "<class" not in message
    assert "typing." not in message
    return message


def options(line):
    """Return the options with a type that are given with a value: name → type."""
    actions = {action.dest: getattr(action, "_typehint", None) for action in line.parser._actions}
    return {name: hint for name, hint in actions.items() if hint is not None}


def takes_any_text(hint) -> bool:
    """Whether a type accepts every text: then it is no mistake of type, and read later."""
    kinds = wanted(hint)
    return "a text" in kinds or "a path" in kinds or "something else" in kinds


@pytest.mark.parametrize("command", COMMANDS)
def test_a_value_of_the_wrong_type_is_one_sentence_that_names_the_option(lines, command):
    line = lines[command]
    own = options(line)
    known = set() if command == "fit" else set(options(lines["fit"]))
    tried = 0
    for name, hint in own.items():
        if name in known or takes_any_text(hint) or name.endswith(".help"):
            continue
        # the first word that is read: what else a command needs is asked for behind it
        message = said(lambda words=[f"--{name}={NONSENSE}"]: line.parse_arguments(line.parser, words))
        assert name in message, message
        assert NONSENSE in message, message
        for part in lists_in(hint):
            assert f"--{name}='[" in message, (part, message)
        tried += 1
    assert tried >= (80 if command == "fit" else 1) or command in ("validate", "export")


@pytest.mark.parametrize("hint", [float | int | None, int | float | None, float | int | str])
def test_a_whole_number_is_read_as_one_whatever_order_of_types_typing_remembers(hint):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--batches", type=hint)
    whole_numbers_first(parser)
    assert repr(parser.parse_args(["--batches=1"]).batches) == "1"
    assert repr(parser.parse_args(["--batches=1.0"]).batches) == "1.0"


def test_limits_of_batches_are_whole_numbers_first(lines):
    hints = options(lines["fit"])
    both = [typing.get_args(hint) for hint in hints.values() if {int, float} <= set(typing.get_args(hint))]
    assert len(both) >= 6
    assert all(kinds.index(int) < kinds.index(float) for kinds in both)


def numeric(hint) -> bool:
    """Whether a type takes numbers."""
    if isinstance(origin := typing.get_origin(hint), type) and issubclass(origin, Mapping):
        return False
    return hint in (int, float) or any(numeric(part) for part in typing.get_args(hint))


def nested(name: str, value: object) -> dict:
    """Return a configuration with one value: a.b → {"a": {"b": value}}."""
    for word in reversed(name.split(".")):
        value = {word: value}
    return value


def edges(allowed):
    """Return numbers just outside of a range, and absurd ones; then those at its ends that are inside."""
    outside = [math.nan, math.inf, -math.inf]
    inside = []
    for end, step, excluded in ((allowed.low, -1, allowed.above), (allowed.high, 1, allowed.below)):
        if math.isfinite(end):
            outside.append(end if excluded else end + step * max(1, abs(end) / 1e6))
            inside += [] if excluded else [end]
    return outside, inside


def classes():
    """Return every class that a configuration can name."""
    for module in (reconstruction.models, cres.transforms, reconstruction.training.schedules):
        for thing in vars(module).values():
            if inspect.isclass(thing) and issubclass(thing, KINDS) and not inspect.isabstract(thing):
                yield thing


def test_numbers_outside_of_what_they_may_be_are_refused_in_every_option(lines):
    for name, hint in options(lines["fit"]).items() | options(lines["predict"]).items():
        if not numeric(hint) or name.startswith(("trainer.", "early_stopping.")):
            continue
        assert name.rpartition(".")[2] in RANGES, f"{name} has no range in option_ranges.py or cres/ranges.py"
    for name, allowed in RANGES.items():
        outside, inside = edges(allowed)
        for number in outside:
            assert out_of_range(nested(f"model.{name}", number), OF_RECORDS), (name, number)
        for number in inside:
            assert not out_of_range(nested(f"model.{name}", number), OF_RECORDS), (name, number)


@pytest.mark.parametrize("thing", sorted(set(classes()), key=lambda thing: thing.__name__), ids=lambda c: c.__name__)
def test_every_number_of_every_part_has_a_range(thing):
    hints = typing.get_type_hints(thing.__init__)
    for name, hint in hints.items():
        if name == "return" or not numeric(hint) or name in ("in_width", "targets", "table"):
            continue
        assert name in RANGES, f"{thing.__name__}.{name} has no range in option_ranges.py or cres/ranges.py"
        part = {"class_path": f"{thing.__module__}.{thing.__name__}", "init_args": {name: [math.nan]}}
        assert out_of_range({"part": part})
        assert not out_of_range({"part": part | {"class_path": "my_parts.Mine"}})


ENCODER = "model.encoders.spectrum.init_args"


@pytest.mark.parametrize(
    "option",
    [
        "data.batch_size=0", "data.batch_size=-3", "data.workers=-1", "data.window_samples=0", "data.window_start=-1",
        "data.stream_electrons=0", "data.fractions=[-0.1,0.5,0.5]", "data.band_hz=[.nan,1]", "model.ema_decay=1.0",
        "model.optimiser.lr=0", "model.optimiser.lr=-1e-3", "model.optimiser.lr=.inf", "model.optimiser.betas=[0.9,1]",
        f"{ENCODER}.width=0", f"{ENCODER}.depth=-1", f"{ENCODER}.state=0", f"{ENCODER}.dropout=1.5",
        "model.head.init_args.hidden_width=0", "model.schedule.init_args.patience=-1", "trainer.max_epochs=-2",
        "trainer.limit_train_batches=-1", "trainer.accumulate_grad_batches=0", "trainer.val_check_interval=0",
        "checkpoint.every_minutes=-1", "early_stopping.patience=-1", "figures.every_epochs=-1", "seed_everything=-1",
        "seed_everything=true", "interruption.requeue_limit=-1", f"{ENCODER}.width=null",
    ],
)  # fmt: skip
def test_a_number_that_cannot_be_meant_is_refused_before_anything_is_made(lines, tiny, option):
    words = ["-c", str(tiny), f"--{option}"]
    message = said(lambda: lines["fit"].parse_arguments(lines["fit"].parser, words))
    assert option.partition("=")[0] in message


@pytest.mark.parametrize("command", COMMANDS)
def test_an_empty_text_names_no_folder(lines, command, tiny):
    line = lines[command]
    known = {action.dest for action in line.parser._actions}
    tried = [place for place in PLACES if place in known]
    assert {"data.data", "run"} <= set(tried)
    first = ["-c", str(tiny)] if command == "fit" else []
    for place in tried:
        for empty in ("", " "):
            assert place in said(lambda words=[*first, f"--{place}={empty}"]: line.parse_arguments(line.parser, words))
    assert "data.data" in said(lambda: line.parse_arguments(line.parser, [*first, "--data.data=['a.hdf5', '']"]))


@pytest.mark.parametrize(
    "name", ["", ".", ".lines", "..", "a b", "a..b", "3", "nosuch", "os", "os.path", "cres/system"]
)
def test_a_system_that_is_none_is_one_sentence(name):
    assert f"there is no system {name!r}" in said(lambda: find_system(name))


@pytest.mark.parametrize("module", [CresDataModule, ShowerDataModule])
@pytest.mark.parametrize("fractions", [(1.0, 1.0, 1.0), (-0.1, 0.5, 0.5), (0.5, 0.5, math.nan)])
def test_shares_that_are_none_are_refused_whatever_they_are_of(module, fractions):
    """A data set whose files say who trains needs two of them only; all must be shares."""
    assert "fractions are three numbers" in said(lambda: module("nowhere", fractions=fractions))


def test_a_number_that_is_too_large_is_told_how_large_it_may_be(lines, tiny):
    words = ["-c", str(tiny), "--data.batch_size=10000000000000"]
    assert "must be at most 2147483647" in said(lambda: lines["fit"].parse_arguments(lines["fit"].parser, words))


def test_files_are_named_with_the_place(lines, tiny, tmp_path):
    def refused(text: str) -> str:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return said(lambda: lines["fit"].parse_arguments(lines["fit"].parser, ["-c", str(path)]))

    good = tiny.read_text()
    assert "mine.yaml is no YAML file: line 4, column 1: a tab" in refused(good.replace("  max_epochs", "\tmax_epochs"))
    assert "'data' stands twice, first in line" in refused(good + "data: {workers: 1}\n")
    assert "batch_size" in (message := refused(good.replace("batch_size: 32", "batch_size: many")))
    assert "line " in message
    assert "mine.yaml" in message
    assert "model.ema_decay is 2" in refused(good.replace("ema_decay: 0.9", "ema_decay: 2"))


def test_what_is_called_otherwise_here_is_pointed_to(lines):
    def unknown(option: str) -> str:
        return said(lambda: lines["fit"].parse_arguments(lines["fit"].parser, [option]))

    assert "--resume" in (message := unknown("--ckpt_path=x.ckpt"))
    assert "--fine_tune.checkpoint" in message
    assert "--data.batch_size" in unknown("--batch_size=3")
    assert "--trainer.max_epochs" in unknown("--epochs=3")


def test_runs_that_do_not_exist_are_named_with_those_that_do(trained, tmp_path):
    runs = tmp_path / "runs"  # a folder of its own: beside `trained` lie the runs of other tests, and five are named
    (runs / "mine").mkdir(parents=True)
    shutil.copy(trained / "config.yaml", runs / "mine")
    for command in COMMANDS[1:]:
        assert f"--run=runs/s4d" in said(lambda command=command: main([command]))  # noqa: F541
        message = said(lambda command=command: main([command, f"--run={runs / 'nothing'}"]))
        assert "there is no such folder" in message
        assert str(runs / "mine") in message


def test_what_one_command_reads_is_not_in_the_next(tiny, records):
    """One parser reads them all."""
    words = ["-c", str(tiny), f"--data.data={records}"]
    first = ParsedOnly("fit", [*words, "--model.ema_decay=0.5", "--data.workers=2", "--resume"])
    said(lambda: ParsedOnly("fit", [*words, "--data.workers=3", "--model.optimiser.lr=0"]))
    again = ParsedOnly("fit", words)
    assert again.parser is first.parser
    assert (first.config.model.ema_decay, first.config.data.workers, first.config.resume) == (0.5, 2, True)
    assert (again.config.model.ema_decay, again.config.data.workers, again.config.resume) == (0.9, 0, False)


def test_a_refused_start_leaves_nothing_behind(tiny, records, tmp_path):
    for words in (
        ["--data.data=nowhere.hdf5"],
        [f"--data.data={records}", "--data.targets=[nothing_eV]"],
        [f"--data.data={records}", "--trainer.accelerator=abacus"],
    ):
        folder = tmp_path / "runs" / "a"
        said(lambda words=words, folder=folder: main(["fit", "-c", str(tiny), f"--run={folder}", *words]))
        assert not (tmp_path / "runs").exists(), words


@pytest.mark.parametrize("part", ["views", "encoders"])
def test_an_option_of_an_entry_that_is_not_there_names_those_that_are(part, tiny, records, tmp_path):
    """Entries have names of the configuration's own: the parser knows none, and called the value no mapping."""
    words = [f"--data.data={records}", f"--run={tmp_path / 'run'}", f"--model.{part}.spectra.init_args.width=8"]
    text = said(lambda: main(["fit", "-c", str(tiny), *words]))
    assert f"model.{part} has no 'spectra' (did you mean 'spectrum'?): there are spectrum" in text
    assert f"--model.{part}.spectra=CLASS" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fit", "-c", "TINY", "--data.batch_size=0"], "data.batch_size is 0, but must be 1 or more"),
        (["test"], "name the run"),
    ],
)
def test_a_process_says_one_sentence_and_exits_with_2(words, message, tiny, tmp_path):
    done = run_forked(ROOT / "cli.py", *(tiny if word == "TINY" else word for word in words), folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_home_folder_in_options_and_files(tiny, records, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DATA", str(records.parent))
    mine = tmp_path / "mine.yaml"
    mine.write_text(tiny.read_text() + "fine_tune: {checkpoint: $HOME/old.ckpt}\nrun: ~/runs/a\n")
    words = with_expanded_paths(["--config=~/mine.yaml", "--data.data=[~/a.hdf5,$DATA/b.hdf5]", "--run=${HOME}/runs/b"])
    config = ParsedOnly("fit", words).config
    assert config.data.data == [str(tmp_path / "a.hdf5"), str(records.parent / "b.hdf5")]
    assert config.fine_tune.checkpoint == str(tmp_path / "old.ckpt")
    assert config.run == str(tmp_path / "runs" / "b")
    assert ParsedOnly("fit", ["-c", str(mine)]).config.run == str(tmp_path / "runs" / "a")
    callback = "{class_path: lightning.pytorch.callbacks.DeviceStatsMonitor}"
    assert config.trainer.callbacks is None
    config = ParsedOnly("fit", ["-c", str(tiny), f"--trainer.callbacks=[{callback}]"]).config
    assert "DeviceStatsMonitor" in config.trainer.callbacks[0].class_path
