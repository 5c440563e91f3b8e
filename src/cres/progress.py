"""Progress: see `reconstruction.progress`, which every system shares."""

from reconstruction.progress import EVERY, every_s, progress_bar, track, waiting

__all__ = ["EVERY", "every_s", "progress_bar", "track", "waiting"]
