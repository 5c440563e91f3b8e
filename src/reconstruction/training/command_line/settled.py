"""A parsed configuration before anything is made of it: paths expanded, numbers in their ranges, nothing left null."""

from __future__ import annotations

import importlib
import inspect
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from reconstruction.errors import UserError
from reconstruction.option_ranges import out_of_range, range_of
from reconstruction.paths import all_expanded
from reconstruction.ranges import Allowed

PLACES = ("data.data", "run", "ckpt_path", "fine_tune.checkpoint", "study.journal")
"""Options that name files and folders: an empty one (`--run=$NOTHING`) would be the folder that one is in."""


def settle(config: Namespace, own_ranges: Mapping[str, Allowed] | None = None) -> None:
    """Expand the paths of a configuration in place; `own_ranges` are a system's.

    Raises UserError for a value that cannot be meant.
    """
    _expand(config)
    if isinstance(config.get("seed_everything"), bool):
        raise UserError("seed_everything is a number, from which everything random follows: write --seed_everything=1")
    plain = config.as_dict()
    for place, number in out_of_range(plain, own_ranges):
        raise UserError(f"{place} is {number:g}, but must be {range_of(place, own_ranges).wanted(number)}")
    for place in PLACES:
        found = config.get(place)
        if any(not str(one).strip() for one in (found if isinstance(found, list | tuple) else [found])):
            raise UserError(f"{place} is an empty text, but a file or a folder is wanted: leave it out for its default")
    for place, name in _nulls(plain):
        raise UserError(f"{place}.{name} is null, but must have a value: leave it out for its default")


def _expand(config: Namespace) -> None:
    for key, value in list(vars(config).items()):
        if isinstance(value, Namespace):
            _expand(value)
        elif isinstance(value, list) and any(isinstance(item, Namespace) for item in value):
            for item in value:
                if isinstance(item, Namespace):
                    _expand(item)
        elif key != "class_path" and isinstance(value, str | Path | list | tuple | dict):
            config[key] = all_expanded(value)


def _nulls(config: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield the arguments of classes that are null where their class takes no null, with their places."""
    if isinstance(config, list):
        for item in config:
            yield from _nulls(item, place)
    if not isinstance(config, Mapping):
        return
    if "class_path" in config:
        for name, value in (config.get("init_args") or {}).items():
            if value is None and not _takes_null(str(config["class_path"]), name):
                yield f"{place}.init_args", name
    for key, value in config.items():
        yield from _nulls(value, f"{place}.{key}".lstrip("."))


def _takes_null(class_path: str, name: str) -> bool:
    module, _, class_name = class_path.rpartition(".")
    try:
        function = getattr(importlib.import_module(module), class_name).__init__
        hint = typing.get_type_hints(function).get(name, Any)
        default = inspect.signature(function).parameters[name].default
    except (ImportError, AttributeError, KeyError, NameError, TypeError):
        return True  # a class that does not say it
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return hint is Any or default is None or (union and type(None) in typing.get_args(hint))
