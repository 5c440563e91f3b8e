"""A page to look at electrons one by one: spectrogram, aligned spectrum, posterior."""

from cres import errors
from cres.progress import waiting

with waiting("loading"):
    from cres.commands.browse import command_line, main

__all__ = ["command_line", "main"]

if __name__ == "__main__":
    errors.run(main)
