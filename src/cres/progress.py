"""Progress bars: see `reconstruction.progress`, which every system shares."""

from reconstruction.progress import progress_bar, track

__all__ = ["progress_bar", "track"]
