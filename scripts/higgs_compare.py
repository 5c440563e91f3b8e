"""One network for all masses, judged at every mass point beside boosted trees and dedicated networks."""

from reconstruction import errors
from reconstruction.progress import waiting

with waiting("loading"):
    from collider.higgs.judging.command import command_line, main

__all__ = ["command_line", "main"]

if __name__ == "__main__":
    errors.run(main)
