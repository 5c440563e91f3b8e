"""What a curriculum makes of the training: how strong the noise is, and named functions that make batches easier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reconstruction.records.batch import Batch

Ease = Callable[[Batch], Batch]
"""An easier batch: fewer samples, a part of the band …"""


@dataclass(frozen=True)
class Easing:
    """What the present step trains on. Judging never sees it.

    noise_scale: power of the corruption over nominal. before: made of batches before the corruption. after: made of the
    corrupted batch and of the clean one alike.
    """

    noise_scale: float = 1.0
    before: Sequence[Ease] = ()
    after: Sequence[Ease] = ()

    def prepared(self, batch: Batch) -> Batch:
        """Return what is corrupted."""
        return _each(self.before, batch)

    def finished(self, batch: Batch) -> Batch:
        """Return what a model sees, of a batch that was corrupted or stayed clean."""
        return _each(self.after, batch)


def _each(functions: Sequence[Ease], batch: Batch) -> Batch:
    for ease in functions:
        batch = ease(batch)
    return batch
