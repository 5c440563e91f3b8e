"""What --help prints: what people set first, the rest by subject, each default once."""

import pytest

from reconstruction.training.command_line.arguments import with_run_config
from reconstruction.training.command_line.cli import main
from reconstruction.training.command_line.help import FIRST, help_text, topic_of
from reconstruction.training.command_line.sweep_check import ParsedOnly


@pytest.fixture(scope="module")
def parsers(tiny, records):
    """The parser of a training, and that of a command on a run."""
    commands = {"fit": ["-c", str(tiny)], "export": [], "predict": []}
    return {name: ParsedOnly(name, [*words, f"--data.data={records}"]).parser for name, words in commands.items()}


@pytest.mark.parametrize("command", ["fit", "export", "predict"])
def test_a_command_lists_what_people_set_and_fits_a_screen_or_two(parsers, command):
    text = help_text(parsers[command], command, width=80)
    lines = text.splitlines()
    assert len(lines) < (80 if command == "fit" else 50)
    assert all(len(line) <= 100 for line in lines)
    places = [text.index(f"--{name}") for name in FIRST[command]]
    assert places == sorted(places)
    assert "--trainer.limit_val_batches" not in text
    for line in lines:
        assert line.lower().count("default") <= 1
        assert "null" not in line


def test_what_a_run_brings_along_is_not_asked_for(parsers):
    text = help_text(parsers["export"], "export", width=80)
    assert text.startswith("usage: python cli.py export --run=RUN")
    assert "-c CONFIG" not in text
    assert "--output" in text
    assert "--predictions" not in text


def test_the_trainers_options_are_behind_their_own_help(parsers):
    text = help_text(parsers["export"], "export", "trainer", width=80)
    assert "--trainer.limit_val_batches" in text
    assert "--output" not in text
    everything = help_text(parsers["fit"], "fit", "all", width=80)
    for name in ("--resume", "--data.cache", "--model.ema_decay", "--trainer.max_epochs", "--study.journal"):
        assert everything.count(f"  {name} ") == 1, name


def test_every_option_is_in_some_help(parsers):
    """An option that is added to a parser, and to no subject, would be nowhere."""
    everything = help_text(parsers["fit"], "fit", "all", width=80)
    for action in parsers["fit"]._actions:
        shown = (
            action.option_strings and action.help not in (None, "==SUPPRESS==") and not action.dest.endswith(".help")
        )
        if shown and action.dest not in ("help", "print_config") and type(action).__name__ == "ActionTypeHint":
            assert f"--{action.dest}" in everything, action.dest


def test_which_help_is_asked_for():
    assert topic_of(["--help"]) == topic_of(["-c", "a.yaml", "-h"]) == ""
    assert topic_of(["--help-trainer"]) == "trainer"
    assert topic_of(["--run=help"]) is None


def test_a_process_prints_it_and_exits_with_0(capsys):
    with pytest.raises(SystemExit) as end:
        main(["export", "--help"])
    assert end.value.code == 0
    assert "--help-trainer" in capsys.readouterr().out


def test_a_training_goes_on_from_the_name_of_its_run_alone(trained, capsys):
    assert with_run_config("fit", [f"--run={trained}", "--resume"])[:2] == ["-c", str(trained / "config.yaml")]
    main(["fit", f"--run={trained}", "--resume"])
    assert "has all of its 3 epochs" in capsys.readouterr().err


def test_the_program_names_every_command_once_and_where_to_begin():
    from cres.commands import OTHERS, STEPS, TRAINING, overview

    named = [name for names in STEPS.values() for name in names]
    assert sorted(named) == sorted([*TRAINING, *OTHERS])
    assert "cres fit -c s4d" in overview()
