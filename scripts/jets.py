"""Jets of ten classes, generated, smeared and matched to the truth: HDF5 files with the column names of JetClass."""

from reconstruction import errors
from reconstruction.progress import waiting

with waiting("loading"):
    from collider.jets.command import command_line, main

__all__ = ["command_line", "main"]

if __name__ == "__main__":
    errors.run(main)
