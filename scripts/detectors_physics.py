"""Physics with the four detectors: particle flow, jets, missing momentum, identification, masses with fits."""

from reconstruction import errors
from reconstruction.progress import waiting

with waiting("loading"):
    from collider.detectors.physics.command import command_line, main

__all__ = ["command_line", "main"]

if __name__ == "__main__":
    errors.run(main)
