"""Where windows are cut from the acquisitions of an egg file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cres.data.eggs.header import Stream
from cres.data.pickles import BadFileError

_LONGEST_DEFAULT: Final = 8192


@dataclass(frozen=True)
class Windows:
    """Windows of `samples` samples: the acquisition of each (counted from 0), and its first sample in there."""

    samples: int
    acquisitions: NDArray[np.int64]
    starts: NDArray[np.int64]
    lengths: tuple[int, ...]
    """Samples of each acquisition."""
    times_s: tuple[float, ...]
    """When each acquisition began, since the run did."""
    record_samples: int
    rate_hz: float

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def left_over(self) -> int:
        """Samples that are in no window, where windows follow one another."""
        return sum(self.lengths) - self.samples * len(self)

    def moved(self, acquisitions: NDArray[np.int64], starts: NDArray[np.int64]) -> Windows:
        """Return windows of the same length in other places."""
        return replace(self, acquisitions=acquisitions, starts=starts)

    def start_times_s(self) -> NDArray[np.float64]:
        """Return when each window begins, since the run did."""
        return np.array(self.times_s)[self.acquisitions] + self.starts / self.rate_hz


def cut_windows(path: Path, stream: Stream, asked: int | None) -> Windows:
    """Return windows one after the other, of the length that is asked for or of a record (8192 samples at most).

    Records of an acquisition follow one another without a gap, so a window may lie in several.
    Raises BadFileError where no acquisition is as long as a window.
    """
    samples = asked or min(stream.record_samples, _LONGEST_DEFAULT)
    lengths = tuple(item.records * stream.record_samples for item in stream.acquisitions)
    counts = [length // samples for length in lengths]
    if not sum(counts):
        raise BadFileError(f"{path}: its acquisitions are shorter than a window of {samples} samples")
    return Windows(
        samples,
        np.repeat(np.arange(len(counts)), counts),
        np.concatenate([samples * np.arange(count) for count in counts]),
        lengths,
        _times_s(stream, lengths),
        stream.record_samples,
        stream.rate_hz,
    )


def _times_s(stream: Stream, lengths: tuple[int, ...]) -> tuple[float, ...]:
    """Return when acquisitions began; before v3.2 the time was not kept (0 for all): then one after the other."""
    times_s = tuple(item.start_s for item in stream.acquisitions)
    if len(set(times_s)) == len(times_s):
        return times_s
    return tuple(float(begin) / stream.rate_hz for begin in np.cumsum([0, *lengths[:-1]]))
