"""Simulate CRES electrons and write them as .pkl.gz files (noiseless I/Q volts with their truth)."""

from cres import errors
from cres.progress import waiting

with waiting("loading"):
    from cres.commands.simulate import command_line, main

__all__ = ["command_line", "main"]

if __name__ == "__main__":
    errors.run(main)
