"""Prepare electrons for training: pickles and egg files to HDF5; join HDF5 files (--merge); verify them (--check)."""

from cres import errors
from cres.progress import waiting

with waiting("loading"):
    from cres.commands.data_prep import command_line, main

__all__ = ["command_line", "main"]

if __name__ == "__main__":
    errors.run(main)
