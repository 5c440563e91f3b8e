"""What estimators ask of a forward model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from cres.simulation.forward import Lines


@runtime_checkable
class RecordModel(Protocol):
    """Noiseless records and their derivatives: `cres.simulation.ForwardModel`."""

    def __call__(self, parameters: Tensor) -> Tensor:
        """Return complex volts (batch, time)."""
        ...

    def jacobian(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return complex volts (batch, time) and derivatives (batch, 6, time)."""
        ...


@runtime_checkable
class LineModel(RecordModel, Protocol):
    """A forward model that also knows its records as lines, sampled at `time_s`."""

    @property
    def time_s(self) -> Tensor:
        """Times of the samples from the record's start, (samples,)."""
        ...

    def lines(self, parameters: Tensor, names: Sequence[str] = ()) -> Lines:
        """Return the lines and their derivatives by the named parameters."""
        ...


@runtime_checkable
class LossModel(RecordModel, Protocol):
    """A forward model that knows what the radiated loss does to its records."""

    def loss_derivative(self, parameters: Tensor) -> Tensor:
        """Return the derivative (batch, time) by the logarithm of the loss."""
        ...

    def lines(self, parameters: Tensor, names: Sequence[str] = ()) -> Lines:
        """Return the lines that the records are made of."""
        ...
