"""Resolution and calibration of prediction tables, side by side on their common electrons."""

from cres import errors
from cres.progress import waiting

with waiting("loading"):
    from cres.commands.evaluate import command_line, main

__all__ = ["command_line", "main"]

if __name__ == "__main__":
    errors.run(main)
