"""What an option wants, in words: from its type, for the sentence about a value that is of another."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

_PLAIN = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", Path: "a path"}


NAMED = "a mapping of names to values"


def wanted(hint: Any) -> str:
    """Return what values of a type are called: int | None → "a whole number or null"."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in (None, type(None)):
        return "null"
    if hint in _PLAIN:
        return _PLAIN[hint]
    if origin is typing.Annotated:
        return wanted(arguments[0])
    if origin is typing.Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin in (typing.Union, types.UnionType):
        kinds = dict.fromkeys(wanted(part) for part in arguments)
        if "a number" in kinds:
            kinds.pop("a whole number", None)
        return " or ".join(kinds)
    if is_list(hint):
        return f"a list of {len(arguments)}" if _fixed(hint) else "a list"
    if hint is dict or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return NAMED
    if isinstance(hint, type) or origin is Callable:
        return "a class (class_path, with its init_args)"
    return "something else"


def is_list(hint: Any) -> bool:
    """Whether a type is a list or a tuple."""
    origin = typing.get_origin(hint) or hint
    return isinstance(origin, type) and issubclass(origin, Sequence) and origin is not str


def lists_in(hint: Any) -> list[Any]:
    """Return the lists among the alternatives of a type."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [part for part in typing.get_args(hint) if is_list(part)]
    return [hint] if is_list(hint) else []


def example(hint: Any, value: str, default: Any) -> str | None:
    """Return how to write a value of a list type, quoted for a shell; None for types that explain themselves."""
    for part in lists_in(hint):
        if not _fixed(part):
            return f"'[{value.strip('[]')}]'"
        if isinstance(default, list | tuple):
            return f"'{_written(default)}'"
        return f"'[{', '.join('0' for _ in typing.get_args(part))}]'"
    return None


def _fixed(hint: Any) -> bool:
    arguments = typing.get_args(hint)
    return typing.get_origin(hint) is tuple and bool(arguments) and arguments[-1] is not Ellipsis


def _written(values: Sequence[Any]) -> str:
    return f"[{', '.join(map(str, values))}]"
