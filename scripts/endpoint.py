"""Fit the tritium endpoint and the neutrino mass to the reconstructed energies of a predictions table."""

from cres import errors
from cres.progress import waiting

with waiting("loading"):
    from cres.commands.endpoint import command_line, main

__all__ = ["command_line", "main"]

if __name__ == "__main__":
    errors.run(main)
