"""Configurations: nested mappings, as YAML gives them, become typed dataclasses, or a sentence says what is wrong."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, TypeVar

from reconstruction.errors import UserError, nearest

T = TypeVar("T")


class Named(ABC):
    """A part of a configuration that one word can say."""

    @classmethod
    @abstractmethod
    def from_name(cls, name: str) -> Named:
        """Return what the word means."""


def build(cls: type[T], content: Any, where: str) -> T:
    """Return a dataclass made from nested mappings; what is left out takes its default.

    where: what is read, in words. A dataclass that may be said in one word has `from_name`. Raises UserError, with the
    place, for unknown keys (the nearest known one named), for wrong types and for numbers that are none.
    """
    if not isinstance(content, Mapping):
        raise UserError(f"{where} must be a table of keys and values, not {content!r}")
    hints = typing.get_type_hints(cls)
    for key in content:
        if key not in hints:
            raise UserError(f"unknown key {key!r} in {where}{nearest(str(key), hints)}: known are {', '.join(hints)}")
    return cls(**{key: _convert(hints[key], value, f"{where}, {key}") for key, value in content.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, str) and issubclass(hint, Named):
            return hint.from_name(value)
        return build(hint, value, where)
    origin = typing.get_origin(hint)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise UserError(f"{where} must be a table of keys and values, not {value!r}")
        kind = typing.get_args(hint)[1]
        return {
            str(key): item if kind is Any else _convert(kind, item, f"{where}, {key}") for key, item in value.items()
        }
    if origin is tuple:
        return _convert_tuple(typing.get_args(hint), value, where)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _convert(next(a for a in typing.get_args(hint) if a is not type(None)), value, where)
    return _convert_scalar(hint, value, where)


def _convert_tuple(items: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise UserError(f"{where} must be a list, not {value!r}")
    if len(items) == 2 and items[1] is Ellipsis:
        return tuple(_convert(items[0], item, where) for item in value)
    if len(value) != len(items):
        raise UserError(f"{where} must hold {len(items)} values, not {len(value)}")
    return tuple(_convert(item, entry, where) for item, entry in zip(items, value, strict=True))


def _convert_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is float:
        return _number(value, where)
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise UserError(f"{where} must be of type {hint.__name__}, not {value!r}")


def _number(value: Any, where: str) -> float:
    """Return a finite number; YAML 1.1 reads 25.9e9 (no sign in the exponent) as text."""
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            return number
    raise UserError(f"{where} must be of type float, not {value!r}")
