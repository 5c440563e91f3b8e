"""Events in four detectors: tracks, clusters, muon segments and their hits, in HDF5 files; every process of Pythia."""

from reconstruction import errors
from reconstruction.progress import waiting

with waiting("loading"):
    from collider.detectors.command import command_line, main

__all__ = ["command_line", "main"]

if __name__ == "__main__":
    errors.run(main)
