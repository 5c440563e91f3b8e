"""Paths as people write them: see `reconstruction.paths`, which every system shares."""

from reconstruction.paths import all_expanded, expanded, path_of, place_of

__all__ = ["all_expanded", "expanded", "path_of", "place_of"]
