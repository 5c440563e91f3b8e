"""A data set of showers: HDF5 in the layout of the CaloChallenge, JSON, pictures, and a report that judges it."""

from reconstruction import errors
from reconstruction.progress import waiting

with waiting("loading"):
    from collider.showers.command import command_line, main

__all__ = ["command_line", "main"]

if __name__ == "__main__":
    errors.run(main)
