"""Coverage of the limits on the neutrino mass: cells of a study, one a task of an array."""

from cres import errors
from cres.progress import waiting

with waiting("loading"):
    from cres.commands.mass_coverage import command_line, main

__all__ = ["command_line", "main"]

if __name__ == "__main__":
    errors.run(main)
