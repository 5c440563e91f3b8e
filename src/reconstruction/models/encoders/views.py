"""What an encoder sees of an input: a view, made on the device, batch by batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from reconstruction.models.conditioning.context import Settings
from reconstruction.shapes import Lengths, PerRow, Series


class View(NamedTuple):
    """One view of a batch: `series` (batch, length, channels) for the encoder, `scalars` (batch, k) for the head."""

    series: Tensor
    scalars: Tensor
    axis_hz: Tensor | None = None
    """(length,) float64: what each position stands for, where that is a frequency."""
    spectrum: Tensor | None = None
    """What a view that `corrects` keeps of the input for it."""


class Correction(NamedTuple):
    """What a view reads again once it is known where a line stands: to be added to what was read before."""

    position: Tensor
    """(batch,) in positions of the view."""
    scalars: Tensor
    """(batch, scalar_count), in the view's own units."""


class RecordView(nn.Module, ABC):
    """An input (batch, position, channel) → View; `channels` and `scalar_count` are known before the first record."""

    channels: int
    scalar_count: int
    reads: str = "series"
    """Name of the input that it is a view of."""
    told_of: tuple[str, ...] = ()
    """Settings that a model is told and that this view shows beside the input (`with_settings`)."""
    in_phase: int | None = None
    """So many channels, the first, share one phase that says nothing; each pair after them has its own. None: all."""
    piecewise: bool = False
    """Whether the view of a piece of a record is that piece of the record's view."""

    corrects: bool = False
    """Whether the view reads its scalars again where it is known where a line stands (`correction`)."""

    @abstractmethod
    def forward(self, series: Series) -> View:
        """Return the view of a batch of records."""

    def with_settings(self, made: View, settings: Settings) -> View:
        """Return the view with what it shows of `told_of` (batch, setting), in their own units, NaN where not known."""
        raise NotImplementedError(f"{type(self).__name__} shows no settings")

    def correction(self, made: View, position: PerRow) -> Correction:
        """Return what a line at a position (batch,) says of the place itself and of the view's scalars."""
        raise NotImplementedError(f"{type(self).__name__} corrects nothing")

    def framed(self, series: Series, guide: Series) -> View:
        """Return the view of records, placed and turned as that of `guide` is: of views that find their own frame.

        For others it is the view. Linear in `series` where the view is linear but for its frame.
        """
        view: View = self(series)
        return view

    def lengths(self, lengths: Lengths, samples: int, positions: int) -> Lengths | None:
        """Return how many of the view's positions hold something of records of `lengths` of their `samples`.

        None where all do: every line of a spectrum holds something of the whole record.
        """
        return None

    def lengths_told(self, series: Series) -> Lengths | None:
        """Return how many positions are real of records without a mask that tell so themselves; None: all."""
        return None
