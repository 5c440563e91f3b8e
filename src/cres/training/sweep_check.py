"""Mistakes of a sweep are found before it waits in a queue: every point goes through the training's own parser."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

from cres.errors import UserError
from cres.sweeps import Sweep
from cres.training.cli import CresCLI


def check_points(sweep: Sweep, overrides: Sequence[str] = ()) -> None:
    """Parse the configuration of every point. Raises UserError that names the first point with a mistake in it."""
    for index in range(len(sweep)):
        try:
            # the parser prints the whole configuration and exits: nothing is made, no data are read
            with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
                CresCLI("fit", [*sweep.arguments(index), *overrides, "--print_config"])
        except UserError as error:
            raise UserError(f"point {index} of {sweep.name}: {error}") from error
