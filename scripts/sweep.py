"""Sweeps: look at the points of one before it runs, and at all of its runs afterwards."""

from cres import errors
from cres.progress import waiting

with waiting("loading"):
    from cres.commands.sweep import command_line, main

__all__ = ["command_line", "main"]

if __name__ == "__main__":
    errors.run(main)
