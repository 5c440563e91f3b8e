"""Draw the posterior of electrons with a trained flow, and weigh it with the exact likelihood."""

from cres import errors
from cres.progress import waiting

with waiting("loading"):
    from cres.commands.posterior import command_line, main

__all__ = ["command_line", "main"]

if __name__ == "__main__":
    errors.run(main)
