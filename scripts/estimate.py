"""Estimate electrons without a network and write a predictions table."""

from cres import errors
from cres.progress import waiting

with waiting("loading"):
    from cres.commands.estimate import command_line, main

__all__ = ["command_line", "main"]

if __name__ == "__main__":
    errors.run(main)
