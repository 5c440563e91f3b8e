"""Events of a search for charged Higgs bosons: signal at every mass point and three backgrounds, HDF5 files."""

from reconstruction import errors
from reconstruction.progress import waiting

with waiting("loading"):
    from collider.higgs.making.command import command_line, main

__all__ = ["command_line", "main"]

if __name__ == "__main__":
    errors.run(main)
