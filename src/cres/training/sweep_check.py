"""Mistakes of a sweep are found before it waits in a queue: every point goes through the training's own parser."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Sequence

from cres.errors import UserError
from cres.training.cli import CresCLI


def check_points(points: Iterable[Sequence[str]]) -> None:
    """Parse the arguments of `cli.py fit` of every point. Raises UserError that names the first one with a mistake."""
    for index, arguments in enumerate(points):
        try:
            # the parser prints the whole configuration and exits: nothing is made, no data are read
            with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
                CresCLI("fit", [*arguments, "--print_config"])
        except UserError as error:
            raise UserError(f"point {index}: {error}") from error
