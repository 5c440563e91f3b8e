"""What a user is told: see `reconstruction.errors`, which every system shares."""

from reconstruction.errors import EXIT_USER_ERROR, UserError, nearest, one_line, run

__all__ = ["EXIT_USER_ERROR", "UserError", "nearest", "one_line", "run"]
