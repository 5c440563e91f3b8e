"""Every option of every script with values that are wrong, of the wrong type, at the edge and absurd: one sentence.

The tests walk over the parsers, so that a new option is covered by being there.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from forked import run_forked

from cres import errors
from cres.command import Parser
from cres.endpoint.analysis import Options
from cres.paths import path_of, place_of
from reconstruction.files import replacing, write_whole

ROOT = Path(__file__).parents[1]
SCRIPTS = (
    "simulate", "data_prep", "estimate", "evaluate", "browse", "endpoint", "sweep", "stages", "showers", "generate",
    "higgs", "mass_coverage", "package_model", "posterior",
)  # fmt: skip
ABSURD = ["", "no@such;thing", "nan", "inf", "-inf", "1e400", "0x", "1,2", "-1e99", "[1]", "None"]
FREE = {"--names", "--name", "--by", "overrides", "--use-lines", "--cells", "--settings", "--stage"}
"""Options that take any text."""


def command_line(script: str) -> argparse.ArgumentParser:
    return runpy.run_path(str(ROOT / "scripts" / f"{script}.py"))["command_line"]()


def parsers(script: str) -> list[tuple[list[str], argparse.ArgumentParser]]:
    """Return the parser of a script and those of its commands, with the words that lead there."""
    whole = command_line(script)
    found = [([], whole)]
    for action in whole._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += [([name], parser) for name, parser in action.choices.items()]
    return found


def refusal(parser: argparse.ArgumentParser, words: list[str], capsys) -> str:
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(words)
    assert ended.value.code == 2, words
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    assert said.startswith("error: "), said
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_option_refuses_what_it_cannot_mean(script, capsys):
    tried = 0
    for words, parser in parsers(script):
        assert isinstance(parser, Parser)
        for action in parser._actions:
            name = (action.option_strings or [action.dest])[-1]
            if action.nargs == 0 or isinstance(action, argparse._SubParsersAction) or name in FREE:
                continue
            if action.type in (path_of, place_of):
                continue
            assert action.choices or action.type, f"{script} {name} takes any text: say what it may be"
            for value in ABSURD:
                given = [f"{action.option_strings[-1]}={value}"] if action.option_strings else [value]
                if isinstance(action.nargs, int):
                    given = [action.option_strings[-1], *(["no@such"] * action.nargs)]
                said = refusal(parser, [*words[1:], *(["x.yaml"] if name == "index" else []), *given], capsys)
                assert name in said or action.dest in said or action.metavar in said, said
                tried += 1
    assert tried or script in ("sweep", "stages", "package_model")


@pytest.mark.parametrize("script", SCRIPTS)
def test_numbers_of_zero_and_below_are_read_as_what_they_are(script):
    """Where an option takes such a number, it is one that means something."""
    sizes = {
        "--validation-events",
        "--shard-events",
        "--events",
        "--workers",
        "--events-per-file",
        "--limit",
        "--training-electrons",
        "--toys",
        "--max-std",
    }
    for words, parser in parsers(script):
        for action in parser._actions:
            if not action.option_strings or action.type in (None, path_of, place_of) or action.nargs is not None:
                continue
            for value in ("-1", "0"):
                try:
                    action.type(value)
                except argparse.ArgumentTypeError:
                    continue
                assert action.option_strings[-1] not in sizes, (words, action.option_strings[-1], value)


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_option_that_does_not_exist_names_the_nearest(script, capsys):
    words, parser = parsers(script)[-1]
    name = next(o for a in parser._actions for o in a.option_strings if o.startswith("--") and o != "--help")
    if script in ("sweep", "stages"):  # the script itself says it, since some commands pass options on
        return
    assert name in refusal(parser, [*words[1:], f"{name}x=1"], capsys)


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_empty_path_is_no_folder(script, capsys):
    """`--output $NOTHING` would write into the folder that one happens to be in."""
    for words, parser in parsers(script):
        for action in parser._actions:
            if action.type in (path_of, place_of):
                name = (action.option_strings or [action.metavar])[-1]
                given = [f"{name}="] if action.option_strings else [""]
                said = refusal(parser, [*words[1:], *given], capsys)
                assert f"argument {'/'.join(action.option_strings) or name}: a file or a folder is wanted" in said, said


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_number_that_is_too_large_is_told_how_large_it_may_be(script, capsys):
    for words, parser in parsers(script):
        for action in parser._actions:
            if action.option_strings and action.nargs is None and whole_numbers(action.type):
                said = refusal(parser, [*words[1:], f"{action.option_strings[-1]}={10**30}"], capsys)
                assert "must be at most " in said, said


def whole_numbers(kind) -> bool:
    """Whether a type takes whole numbers and nothing else."""
    try:
        return isinstance(kind("1"), int)
    except (argparse.ArgumentTypeError, TypeError, ValueError):
        return False


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "/etc", "a b", "a\tb", "-rf/", "x" * 300])
def test_a_name_is_the_name_of_a_folder_and_no_way_out_of_it(name, capsys):
    refusal(command_line("package_model"), ["--run=here", f"--name={name}"], capsys)


def test_paths_of_every_script_know_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DATA", str(tmp_path / "data"))
    for script in SCRIPTS:
        for _, parser in parsers(script):
            for action in parser._actions:
                if action.type in (path_of, place_of):
                    assert str(action.type("~/x.hdf5")) == str(tmp_path / "x.hdf5")
                    assert str(action.type("$DATA/x.hdf5")) == str(action.type("${DATA}/x.hdf5"))
                    assert str(action.type("$DATA/*.hdf5")) == str(tmp_path / "data" / "*.hdf5")
                elif action.dest in ("output", "input", "data", "config", "tables", "folder", "file", "lines", "maps"):
                    assert action.nargs == 0 or action.dest == "wandb", (script, action.dest)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data_prep", "--task=3"], "'3' is not I/N"),
        (["evaluate", "--bootstrap=-1"], "-1 must be 0 or more"),
        (["sweep", "points", "nowhere.yaml"], "nowhere.yaml cannot be read (there is no such file)"),
    ],
)
def test_a_script_says_one_sentence_and_exits_with_2(words, message, tmp_path):
    script, *rest = words
    done = run_forked(ROOT / "scripts" / f"{script}.py", *rest, folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


AT_THE_END = ["simulate --events 1 --workers 1", "sweep wandb sweep.yaml"]


@pytest.mark.parametrize("line", AT_THE_END)
@pytest.mark.parametrize("output", ["file/below", "/proc/nothing/there", "x" * 300])
def test_an_output_that_cannot_be_is_one_sentence(line, output, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    Path("base.yaml").write_text("a: 1")
    Path("sweep.yaml").write_text("{base: base.yaml, axes: {a: [1]}}")
    script, *words = line.split()
    said_at_the_end(script, [*words, "--output", output], monkeypatch, capsys)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "base.yaml", "sweep.yaml"}


BROKEN = {
    "number.json": b"5",
    "list.json": b"[1, 2]",
    "bytes.json": b"\xff\xfe\x00",
    "cut.json": b'{"blinded": tr',
    "other.json": b'{"blinded": true}',
    "empty.json": b"",
}


def said_at_the_end(script: str, words: list[str], monkeypatch, capsys) -> str:
    """Run a script in this process; return its one sentence."""
    monkeypatch.setattr("sys.argv", [script, *words])
    with pytest.raises(SystemExit) as ended:
        errors.run(runpy.run_path(str(ROOT / "scripts" / f"{script}.py"))["main"])
    said = capsys.readouterr().err
    assert ended.value.code == 2, said
    assert said.count("error: ") == said.count("\n") == 1, said
    return said


@pytest.mark.parametrize("name", [*BROKEN, "folder.json", "missing.json"])
def test_a_result_that_is_none_is_not_lifted(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("folder.json").mkdir()
    Path("offset.json").write_text('{"energy_offset_ev": 1.5}')
    for file, content in BROKEN.items():
        Path(file).write_bytes(content)
    said = said_at_the_end("endpoint", ["--blind=offset.json", f"--lift={name}"], monkeypatch, capsys)
    assert name in said or name == "other.json"


@pytest.mark.parametrize("offset", ["NaN", "1e400", '"x"', "null", "[1]"])
def test_a_secret_that_is_no_number_is_no_offset(offset, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("offset.json").write_text(f'{{"energy_offset_ev": {offset}}}')
    Path("result.json").write_text('{"blinded": true, "endpoint_ev": 18574.0}')
    assert "offset.json" in said_at_the_end(
        "endpoint", ["--blind=offset.json", "--lift=result.json"], monkeypatch, capsys
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("name: ..", "name is '..'"),
        ("name: a/b", "name is 'a/b'"),
        ('name: ""', "name is ''"),
        ("fixed: {a: 2}", "a stands twice"),
        ("method: random\npoints: 2", "b stands twice"),
    ],
)
def test_a_sweep_whose_runs_would_lie_elsewhere_or_lose_a_value(content, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text("a: 1")
    axes = '{"a, b": [[1, 2]], b: [1]}' if "b stands" in sentence else "{a: [1]}"
    Path("sweep.yaml").write_text(f"base: base.yaml\naxes: {axes}\n{content}")
    said = said_at_the_end("sweep", ["count", "sweep.yaml"], monkeypatch, capsys)
    assert sentence in said
    assert "sweep.yaml" in said


@pytest.mark.parametrize("name", ["fifo", "folder", "link to a fifo"])
def test_only_files_are_replaced(name, tmp_path):
    """What root names by mistake, /dev/null say, would be a file for all from then on."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link to a fifo").symlink_to("fifo")
    before = (tmp_path / name).lstat().st_mode
    with pytest.raises(errors.UserError, match=r"is a folder|is no regular file"):
        write_whole(tmp_path / name, b"content")
    with pytest.raises(errors.UserError), replacing(tmp_path / name, tmp_path / "new") as temporary:
        temporary.write_bytes(b"content")
    assert (tmp_path / name).lstat().st_mode == before
    assert {path.name for path in tmp_path.iterdir()} == {"fifo", "folder", "link to a fifo"}


@pytest.mark.parametrize(("number", "told"), [(errno.EACCES, True), (errno.ENOSPC, True), (errno.ECHILD, False)])
def test_what_the_system_refuses_is_a_sentence_and_other_faults_stay_faults(number, told, capsys):
    def fails() -> int:
        raise OSError(number, os.strerror(number), "some file")

    with pytest.raises(SystemExit if told else OSError) as ended:
        errors.run(fails)
    assert not told or (ended.value.code, capsys.readouterr().err) == (2, f"error: some file: {os.strerror(number)}\n")


@pytest.mark.parametrize("lines", [10, 100_000])
def test_work_is_done_where_nobody_reads_any_more_what_is_printed(lines, tmp_path):
    """`| head`: whether it fits into the pipe or not."""
    work = f"[print('line', i) for i in range({lines})]\n open('done', 'w')"
    text = f"from reconstruction import errors\ndef main():\n {work}\nerrors.run(main)"
    command = f'( {sys.executable} -c "$PROGRAM"; echo $? >code ) 2>said | true'
    environment = {**os.environ, "PROGRAM": text, "PYTHONPATH": str(ROOT / "src")}
    for more in ({}, {"PYTHONUNBUFFERED": "1"}):
        subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment | more, check=True)
        assert (tmp_path / "said").read_text() == ""
        assert (tmp_path / "code").read_text() == "0\n"
        (tmp_path / "done").unlink()


def test_a_sentence_with_a_name_of_two_lines_is_one_line(capsys):
    def fails() -> int:
        raise errors.UserError("there is no a\nb")

    with pytest.raises(SystemExit):
        errors.run(fails)
    assert capsys.readouterr().err == "error: there is no a b\n"


def test_notebook_and_script_have_the_defaults_of_the_analysis():
    notebook = json.loads((ROOT / "notebooks" / "endpoint.ipynb").read_text())
    cell = next(cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", []))
    constants: dict[str, object] = {}
    exec("".join(cell["source"]), constants)
    given, default = command_line("endpoint").parse_args([]), Options()
    assert given.energy_scale_std == constants["ENERGY_SCALE_STD_EV"] == default.energy_scale_std_ev
    assert given.confidence == constants["CONFIDENCE"] == default.confidence
    assert given.max_std == constants["MAX_STD_EV"] == default.max_std_ev
