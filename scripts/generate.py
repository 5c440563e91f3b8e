"""Collisions: events of a process as leptons, jets and missing momentum, HDF5 files; or those of your own generator."""

from reconstruction import errors
from reconstruction.progress import waiting

with waiting("loading"):
    from collider.generation.command import command_line, main

__all__ = ["command_line", "main"]

if __name__ == "__main__":
    errors.run(main)
