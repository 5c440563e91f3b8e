"""A training in stages: each apparatus alone, the average of their weights, all together."""

from cres import errors
from cres.progress import waiting

with waiting("loading"):
    from cres.commands.stages import command_line, main

__all__ = ["command_line", "main"]

if __name__ == "__main__":
    errors.run(main)
