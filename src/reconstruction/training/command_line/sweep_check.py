"""Mistakes of a sweep are found before it waits in a queue: every point goes through the training's own parser."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reconstruction.errors import UserError
from reconstruction.training.command_line.arguments import configs_first
from reconstruction.training.command_line.cli import CommandLine


class ParsedOnly(CommandLine):
    """A command line that is parsed and checked; nothing is made of it, and no data are read."""

    def _set_seed(self) -> None:
        """Leave this process's random numbers alone."""

    def before_instantiate_classes(self) -> None:
        """Settle no folder."""

    def instantiate_classes(self) -> None:
        """Make nothing."""


def check_points(points: Iterable[Sequence[str]]) -> None:
    """Parse the arguments of `cli.py fit` of every point. Raises UserError that names the first one with a mistake."""
    line: ParsedOnly | None = None
    for index, arguments in enumerate(points):
        try:
            if line is None:
                line = ParsedOnly("fit", arguments)
            else:  # to make the parser takes longer than to read with it
                line.parse_arguments(line.parser, configs_first(arguments))
        except UserError as error:
            raise UserError(f"point {index}: {error}") from error
