"""Batches of rows: whole-batch reads, an order that a seed and an epoch decide, resumable anywhere."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from reconstruction.errors import UserError
from reconstruction.records.batch import Batch
from reconstruction.records.mixing import Blocks, balanced, in_blocks
from reconstruction.records.reading_ahead import why_ended


class Draw(NamedTuple):
    """One row of one epoch: what is random about it depends on both, in whatever process it is read."""

    epoch: int
    row: int
    repeat: int = 0
    """How often the row was drawn before in this epoch."""


Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Chosen:
    """Rows of records, and which of their columns go into a batch."""

    records: Any
    """Whatever holds columns by name: `scalar(name)`, and for rows their series."""
    rows: Rows
    targets: tuple[str, ...]
    """Empty for unlabelled records."""
    observables: tuple[str, ...]

    def numbers(self, rows: Rows) -> Batch:
        """Return the observables, and the targets where there are any, of these rows of the records."""
        observables = self._columns(self.observables, rows)
        numbers: Batch = {"observables": dict(zip(self.observables, observables.unbind(), strict=True))}
        if self.targets:
            numbers["targets"] = self._columns(self.targets, rows).T.contiguous()
        return numbers

    def _columns(self, names: tuple[str, ...], rows: Rows) -> Tensor:
        """Return columns (name, row), float64."""
        values = np.empty((len(names), len(rows)))
        for column, name in zip(values, names, strict=True):
            column[:] = self.records.scalar(name)[rows]
        return torch.from_numpy(values)


class ChosenRows(Dataset[Batch], ABC):
    """Batches of chosen rows: what a system reads of them, with their identities, observables and targets."""

    def __init__(self, chosen: Chosen) -> None:
        self.chosen = chosen

    def __len__(self) -> int:
        return len(self.chosen.rows)

    @abstractmethod
    def read(self, rows: Rows) -> Batch:
        """Return `inputs` of rows of the records, and `masks` where some of them is padding."""

    def __getitems__(self, draws: list[Draw]) -> Batch:
        """Return the drawn rows as one batch."""
        rows = self.chosen.rows[np.array([draw.row for draw in draws])]
        event_id = torch.from_numpy(self.chosen.records.event_ids[rows])
        return self.read(rows) | {"event_id": event_id} | self.chosen.numbers(rows)


def keep_batch(batch: Any) -> Any:
    """Collate nothing: the dataset returns whole batches."""
    return batch


class KeyedSampler(DistributedSampler[Any]):
    """Draws of an epoch for one process, in an order keyed on (seed, epoch), or in file order.

    It is a DistributedSampler so that Lightning keeps it and tells it the epoch. Each process takes one stretch of the
    order. Training drops the few rows that would give one process more than another; otherwise each row
    comes exactly once.
    """

    def __init__(
        self, size: int, seed: int, shuffle: bool, rank: int = 0, world_size: int = 1, equal: bool | None = None
    ) -> None:
        equal = shuffle if equal is None else equal
        super().__init__(range(size), world_size, rank, shuffle, seed, drop_last=equal)  # type: ignore[arg-type]
        self._size = size - size % world_size if equal else size
        self._all = size
        self.skip = 0
        """How many draws of this process the next pass leaves out: those that were used before a resume."""
        self.easiest_first: NDArray[np.int64] = np.arange(size)
        self.share = 1.0
        """Share of the rows, the first of `easiest_first`, that a shuffled epoch draws, as often as it must."""
        self.groups: NDArray[np.int64] | None = None
        """Group of each row (rows,), where each group is to be drawn as often as the others."""
        self.blocks: Blocks | None = None
        """Neighbours that are read together, where the rows are of many files."""

    def __iter__(self) -> Iterator[Any]:
        rows, repeats = self._order()
        mine = self._stretch()
        drawn = zip(rows[: self._size][mine][self.skip :], repeats[: self._size][mine][self.skip :], strict=True)
        return (Draw(self.epoch, int(row), int(repeat)) for row, repeat in drawn)

    def _order(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the row of each draw of the epoch, and how often it was drawn before."""
        places = np.arange(self._all)
        if not self.shuffle:
            return places, np.zeros_like(places)
        generator = np.random.default_rng([self.seed, self.epoch])
        rows, repeats = self._drawn(places, generator)
        if self.blocks is None:
            return rows, repeats
        order = in_blocks(rows, self.blocks, generator)
        return rows[order], repeats[order]

    def _drawn(
        self, places: NDArray[np.int64], generator: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        drawn = max(1, math.ceil(self.share * self._all))
        if self.groups is not None and self._all:
            easiest = places if drawn >= self._all else self.easiest_first[:drawn]
            chosen, repeats = balanced(self.groups[easiest], self._all, generator)
            return easiest[chosen], repeats
        if drawn >= self._all:  # more than all: of none
            return generator.permutation(self._all), np.zeros_like(places)
        passes = [generator.permutation(drawn) for _ in range(-(-self._all // drawn))]
        return self.easiest_first[np.concatenate(passes)[: self._all]], places // drawn

    def _stretch(self) -> slice:
        bounds = [self._size * rank // self.num_replicas for rank in (self.rank, self.rank + 1)]
        return slice(*bounds)

    def __len__(self) -> int:
        return self._stretch().stop - self._stretch().start


class ResumableLoader(DataLoader[Batch]):
    """A DataLoader whose place in the epoch can be stored and restored, whatever its workers have read ahead."""

    def __init__(self, dataset: Dataset[Batch], batch_size: int, sampler: KeyedSampler, **options: Any) -> None:
        super().__init__(dataset, batch_size, sampler=sampler, collate_fn=keep_batch, **options)
        self._keyed = sampler
        self._used = 0
        self._resume_at = 0

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        self._used, self._resume_at = self._resume_at, 0
        self._keyed.skip = self._used * (self.batch_size or 1)
        try:
            for batch in super().__iter__():
                self._used += 1
                yield batch
        except (RuntimeError, OSError) as error:
            why = why_ended(worker.exitcode for worker in getattr(self._iterator, "_workers", ()))
            raise error if why is None else UserError(why) from error

    def mix(self, groups: NDArray[np.int64] | None, blocks: Blocks | None) -> None:
        """Draw each group (rows,) as often as the others, and read neighbours together."""
        self._keyed.groups, self._keyed.blocks = groups, blocks

    def order_by_ease(self, easiest_first: NDArray[np.int64]) -> None:
        """Take the order of the rows (their places in the dataset) by which `use_easiest` chooses."""
        self._keyed.easiest_first = easiest_first

    def use_easiest(self, share: float) -> None:
        """Draw the passes that begin from now on from this share of the rows."""
        self._keyed.share = share

    def state_dict(self) -> dict[str, int]:
        """Return how many batches of this epoch were handed out; none of the next where it was the last."""
        return {"batches": self._used % max(len(self), 1)}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Let the next pass begin behind the batches that were handed out."""
        self._resume_at = state["batches"]
