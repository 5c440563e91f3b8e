"""A mistake in a configuration becomes one sentence that names the nearest key that exists."""

from __future__ import annotations

import importlib
import inspect
import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from reconstruction.errors import nearest
from reconstruction.training.command_line.wanted import NAMED, example, wanted
from reconstruction.yaml_files import line_of, read_yaml

ELSEWHERE = {
    "ckpt_path": "--resume goes on with this run, --fine_tune.checkpoint=FILE begins with the encoders of another one",
    "epochs": "write --trainer.max_epochs=30",
    "lr": "write --model.optimiser.lr=2e-3",
    "seed": "write --seed_everything=1",
    "gpus": "write --trainer.accelerator=gpu --trainer.devices=1",
    "output": "--run=FOLDER is where a run is written, --predictions=FILE where a table is",
}
"""What people write that is called otherwise here."""

_NO_FILE = re.compile(r"File does not exist: '?(?P<path>[^']+)'?")
_UNKNOWN_ARGUMENT = re.compile(r"[Uu]nrecognized arguments: (?P<rest>.*)")
_UNKNOWN_OPTION = re.compile(r"Option '(?P<key>[^']+)' is not accepted")
_UNKNOWN_KEY = re.compile(
    r"(?:Group|Key|key) '(?P<group>[^']*)' does not accept (?:nested key|option) '(?P<key>[^']+)'"
)
_UNEXPECTED = re.compile(r"[Kk]ey '?(?P<key>[\w.]+)'? is not expected")
_NO_CLASS = re.compile(r"module '(?P<module>[\w.]+)' has no attribute '(?P<name>\w+)'")
_NO_MODULE = re.compile(r"No module named '(?P<module>[\w.]+)'")
_KEY = re.compile(r'Parser key "([\w.]+)"')
_EXPECTED = re.compile(r"Expected an? (<class '\w+'>|typing\.Literal\[[^\]]*\]|tuple with \d+ elements)")
_GOT = re.compile(r"(?:Got value|Given value): (.+?)(?:\. Got|\s+- |$)", re.MULTILINE)
_NO_VALUE = re.compile(r"argument (?P<option>--[\w.]+): ignored explicit argument")
_CLASS = re.compile(r"class_path='(?P<path>[\w.]+)'")


def explain(message: str, parser: ArgumentParser, arguments: Sequence[str] = ()) -> str:
    """Return one sentence for a message of the parser, which read these arguments."""
    defaults = parser.get_defaults()
    known = list(defaults.keys())
    if found := _NO_FILE.search(message):
        return f"there is no configuration file {found['path']}; those that come with the program are in configs/"
    if found := _NO_MODULE.search(message):
        return (
            f"there is no module {found['module']!r}, which a class_path names: for a file of your own, start "
            "in its folder, or add the folder to PYTHONPATH"
        )
    if found := _NO_CLASS.search(message):
        return f"{found['module']} has no {found['name']!r}{nearest(found['name'], _names(found['module']))}"
    if found := _UNKNOWN_OPTION.search(message):
        return _unknown_option(found["key"], message, known)
    if found := _UNKNOWN_KEY.search(message):
        return _unknown(f"{found['group']}.{found['key']}", known)
    if found := _UNKNOWN_ARGUMENT.search(message):
        return _unknown(found["rest"].split()[0].lstrip("-").partition("=")[0], known)
    if found := _UNEXPECTED.search(message):
        return _unknown(found["key"], known)
    if "required" in message and "model." in message:
        return "the model is not described: give a configuration, for example -c configs/s4d.yaml"
    return _wrong_value(message, parser, arguments, defaults) or " ".join(message.split())


def _wrong_value(message: str, parser: ArgumentParser, arguments: Sequence[str], defaults: Namespace) -> str | None:
    """Return the sentence about a value of the wrong type: which option, in which file, what it wants."""
    if found := _NO_VALUE.search(message):
        return f"{found['option']} takes no value: write it alone"
    keys = _KEY.findall(message)
    if not keys:
        return None
    option, value = _as_given(keys[0], message, arguments)
    hint = next((getattr(action, "_typehint", None) for action in parser._actions if action.dest == keys[0]), None)
    if len(keys) > 1 and keys[-1] != keys[0] and (expected := _EXPECTED.findall(message.rpartition("Parser key")[2])):
        inner = keys[-1] if option.endswith(keys[-1]) else f"{option}, {keys[-1]}"
        got = _GOT.findall(message.rpartition("Parser key")[2])
        return (
            f"{inner if option == keys[0] else option} is {got[0] if got else value}, but must be {_named(expected[0])}"
        )
    if hint is not None and option.startswith(f"--{keys[0]}.") and wanted(hint) == NAMED:
        return _no_such_entry(keys[0], option, arguments)
    written = None if hint is None else example(hint, value, defaults.get(keys[0]))
    how = f": write --{keys[0]}={written}" if written else ""
    return f"{option} is {value}, but must be {'a mapping of its options' if hint is None else wanted(hint)}{how}"


def _no_such_entry(key: str, option: str, arguments: Sequence[str]) -> str:
    """Return the sentence about an option of an entry, of entries with names of their own, that is not there."""
    name = option.removeprefix(f"--{key}.").partition(".")[0]
    files = [after for before, after in itertools.pairwise(arguments) if before in ("-c", "--config")]
    given = [_inside(read_yaml(Path(file)), key.split(".")) for file in files if Path(file).is_file()]
    known = [str(one) for entries in given if isinstance(entries, dict) for one in entries]
    there = f": there are {', '.join(known)}" if known else ""
    return f"{key} has no {name!r}{nearest(name, known)}{there}; a new one begins with its class, --{key}.{name}=CLASS"


def _inside(value: Any, path: Sequence[str]) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _as_given(key: str, message: str, arguments: Sequence[str]) -> tuple[str, str]:
    """Return the option, or the place in a file, that a value came from, and the value."""
    words = itertools.pairwise([*arguments, ""])
    given = [text.partition("=")[::2] if "=" in text else (text, after) for text, after in words]
    for option, value in reversed(given):
        if option.lstrip("-").rstrip("+") == key or option.startswith(f"--{key}."):
            return option, value
    got = _GOT.findall(message)
    for option, value in reversed(given):
        if option in ("-c", "--config") and (line := line_of(Path(value), key)) is not None:
            return f"{key} ({value}, line {line})", got[-1] if got else "not understood"
    return key, got[-1] if got else "not understood"


def _named(expected: str) -> str:
    """Return what the parser expects, in words: <class 'int'> → "a whole number"."""
    plain = {"int": int, "float": float, "bool": bool, "str": str, "NoneType": type(None), "tuple": tuple, "list": list}
    found = re.fullmatch(r"<class '(\w+)'>", expected)
    if found and found[1] in plain:
        return wanted(plain[found[1]])
    return expected.replace("typing.Literal", "one of ")


def _unknown_option(key: str, message: str, known: Iterable[str]) -> str:
    classes = _CLASS.findall(message)
    if not classes:
        return _unknown(key, known)
    return f"{classes[-1]} has no option {key!r}{nearest(key, _options(classes[-1]))}"


def _unknown(key: str, known: Iterable[str]) -> str:
    """Compare level by level, so that a wrong section is named as such."""
    names = sorted(known)
    sections = {name.partition(".")[0] for name in names}
    section, _, rest = key.partition(".")
    if section not in sections:
        if key in ELSEWHERE:
            return f"there is no option {key!r} here: {ELSEWHERE[key]}"
        deeper = [name for name in names if name.endswith(f".{key}")]
        better = f" (did you mean --{deeper[0]}?)" if len(deeper) == 1 else nearest(section, sections)
        return f"there is no option {key!r}{better or '; --help lists them all'}"
    first = rest.partition(".")[0]
    inside = {name.split(".")[1] for name in names if name.startswith(f"{section}.")}
    return f"{section!r} has no option {first!r}{nearest(first, inside)}"


def _names(module: str) -> list[str]:
    return [name for name, value in vars(importlib.import_module(module)).items() if inspect.isclass(value)]


def _options(class_path: str) -> list[str]:
    module, _, name = class_path.rpartition(".")
    return list(inspect.signature(getattr(importlib.import_module(module), name)).parameters)
