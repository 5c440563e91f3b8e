"""The command lines of the scripts: one sentence for a mistake, `~` and `$HOME` in paths, numbers in their ranges."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from reconstruction.errors import EXIT_USER_ERROR, nearest
from reconstruction.ranges import FINITE, SIZE, Allowed

N = TypeVar("N", int, float)


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are one sentence on stderr, with the nearest option that exists, and exit code 2."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **settings})
        self._words: list[str] = []
        self._negative_number_matcher = re.compile(r"-(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")  # -80e6 is a number too

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, and keep the words: what is missing may be what a mistyped option was meant to say."""
        self._words = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and exit."""
        unknown = message.removeprefix("unrecognized arguments: ").split() if message.startswith("unrecogn") else []
        if "required" in message:
            options = (word.partition("=")[0] for word in self._words if word.startswith("--"))
            unknown = [option for option in options if option not in self._option_string_actions and option != "--"]
        if unknown:
            option = unknown[0].partition("=")[0]
            better = nearest(option, self._option_string_actions)
            message = (
                f"there is no option {option}{better}" if option.startswith("-") else f"{option!r} is one too many"
            )
        print(f"error: {' '.join(message.split())}; --help lists the options", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)


def whole(allowed: Allowed = SIZE) -> Callable[[str], int]:
    """Return the type of an option that takes a whole number in a range."""

    def parse(text: str) -> int:
        try:
            found = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
        return _inside(found, text, allowed)

    return parse


def number(allowed: Allowed = FINITE) -> Callable[[str], float]:
    """Return the type of an option that takes a number in a range."""

    def parse(text: str) -> float:
        try:
            found = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
        if not math.isfinite(found):
            raise argparse.ArgumentTypeError(f"{text} is no finite number")
        return _inside(found, text, allowed)

    return parse


def task(text: str) -> tuple[int, int]:
    """Return the number of a task of an array job and how many there are, from I/N."""
    first, slash, second = text.partition("/")
    if not (slash and first.isdecimal() and second.isdecimal() and int(first) < int(second)):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N with I from 0 to N − 1, such as 0/16")
    return int(first), int(second)


def plain_name(text: str) -> str:
    """Return a text that can be the name of a file or folder: an option's type."""
    if not is_plain_name(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name: letters, digits, '_', '-' and '.', no folders")
    return text


def is_plain_name(text: str) -> bool:
    """Whether a text can be the name of a file or folder in any shell, and is not of another folder."""
    return re.fullmatch(r"[\w+-][\w.+-]{0,99}", text) is not None


def _inside(found: N, text: str, allowed: Allowed) -> N:
    if found not in allowed:
        raise argparse.ArgumentTypeError(f"{text} must be {allowed.wanted(found)}")
    return found
