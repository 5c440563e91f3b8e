"""Momenta of several detectors as one, and those of classical reconstruction, as tables beside a network's."""

from reconstruction import errors
from reconstruction.progress import waiting

with waiting("loading"):
    from collider.detectors.combining.command import command_line, main

__all__ = ["command_line", "main"]

if __name__ == "__main__":
    errors.run(main)
