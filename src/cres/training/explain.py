"""A mistake in a configuration becomes one sentence that names the nearest key that exists."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterable

from jsonargparse import ArgumentParser

from cres.errors import nearest

_MISSING = re.compile(r"(?:arguments are required|is required|Key .* is required)(?P<names>.*)", re.DOTALL)
_NO_FILE = re.compile(r"File does not exist: '?(?P<path>[^']+)'?")
_UNKNOWN_ARGUMENT = re.compile(r"[Uu]nrecognized arguments: (?P<rest>.*)")
_UNKNOWN_OPTION = re.compile(r"Option '(?P<key>[^']+)' is not accepted")
_UNKNOWN_KEY = re.compile(
    r"(?:Group|Key|key) '(?P<group>[^']*)' does not accept (?:nested key|option) '(?P<key>[^']+)'"
)
_UNEXPECTED = re.compile(r"[Kk]ey '?(?P<key>[\w.]+)'? is not expected")
_NO_CLASS = re.compile(r"module '(?P<module>[\w.]+)' has no attribute '(?P<name>\w+)'")
_NO_MODULE = re.compile(r"No module named '(?P<module>[\w.]+)'")
_CLASS = re.compile(r"class_path='(?P<path>[\w.]+)'")


def explain(message: str, parser: ArgumentParser) -> str:
    """Return one sentence for a message of the parser."""
    known = list(parser.get_defaults().keys())
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
    return " ".join(message.split())


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
        better = nearest(section, sections)
        return f"there is no option {key!r}{better or '; --help lists them all'}"
    first = rest.partition(".")[0]
    inside = {name.split(".")[1] for name in names if name.startswith(f"{section}.")}
    return f"{section!r} has no option {first!r}{nearest(first, inside)}"


def _names(module: str) -> list[str]:
    return [name for name, value in vars(importlib.import_module(module)).items() if inspect.isclass(value)]


def _options(class_path: str) -> list[str]:
    module, _, name = class_path.rpartition(".")
    return list(inspect.signature(getattr(importlib.import_module(module), name)).parameters)
