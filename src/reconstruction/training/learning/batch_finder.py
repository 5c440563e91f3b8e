"""A batch size for a model and its data: doubled until memory ends or larger batches are no faster.

Many small steps learn more from an epoch than few large ones, so what is wanted is not the largest size that fits but
the smallest that keeps the device busy.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch

from reconstruction.errors import UserError
from reconstruction.training.learning.learner import Learner

SMALLEST = 4
BUSY = 0.9
"""The suggested size reaches this share of the highest rate."""
NO_FASTER = 1.1
"""Doubling goes on while it gains this factor, or did in the step before."""
SECONDS = 20.0
"""No size is tried when the one before it took longer than this."""
STEPS = 3


class Tried(NamedTuple):
    """A batch size, and the rows a second that training steps of it get through."""

    batch_size: int
    rows_per_s: float


class SizeScan(NamedTuple):
    """The sizes that were tried, the one to use, and whether memory ended the search."""

    tried: list[Tried]
    suggestion: int
    memory_ended: bool


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception says that memory ended, on a GPU or on the host."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def scan_sizes(
    module: Learner,
    batch_of: Callable[[int], Any],
    largest: int,
    step_context: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> SizeScan:
    """Train a copy of a module, whose scalers are fitted, on batches of rising size; the module stays as it is.

    `batch_of(size)` returns a batch on the module's device, `step_context` the precision in which to compute. Raises
    UserError when not even the smallest size fits.
    """
    trial = copy.deepcopy(module).train()
    optimiser = trial.make_optimiser()
    tried: list[Tried] = []
    size, took, memory_ended = min(SMALLEST, largest), 0.0, False
    while size <= largest and took < SECONDS and _still_gains(tried):
        started = time.perf_counter()
        try:
            tried.append(Tried(size, size / _seconds_a_step(trial, batch_of(size), optimiser, step_context)))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            optimiser.zero_grad()
            memory_ended = True
            break
        took = time.perf_counter() - started
        size *= 2
    if not tried:
        raise UserError(f"not even {size} rows at once fit into memory: narrow the encoder or raise its stride")
    return SizeScan(tried, suggested(tried), memory_ended)


def suggested(tried: list[Tried]) -> int:
    """Return the smallest size that reaches nearly the highest rate."""
    highest = max(one.rows_per_s for one in tried)
    return next(one.batch_size for one in tried if one.rows_per_s >= BUSY * highest)


def _still_gains(tried: list[Tried]) -> bool:
    """Return whether one of the last two doublings paid; one alone may have been unlucky."""
    rates = [one.rows_per_s for one in tried]
    return len(rates) < 3 or max(rates[-2:]) > NO_FASTER * max(rates[:-2])


def _seconds_a_step(
    trial: Learner,
    batch: Any,
    optimiser: torch.optim.Optimizer,
    step_context: Callable[[], AbstractContextManager[Any]],
) -> float:
    """Return the fastest of a few training steps, after one that allocates the memory."""
    times = []
    for _ in range(STEPS + 1):
        started = time.perf_counter()
        optimiser.zero_grad()
        with step_context():
            loss = trial.objective(trial.inject(batch, 0), batch)[0]
        loss.backward()
        optimiser.step()
        loss.item()  # waits for the device
        times.append(time.perf_counter() - started)
    return min(times[1:])
