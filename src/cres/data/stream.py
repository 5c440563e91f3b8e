"""Electrons that are made when they are needed: an endless training set without files."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from cres import schema
from cres.data.electrons import SERIES
from cres.errors import UserError
from reconstruction.records.batch import Batch
from reconstruction.records.loader import Draw

Columns = dict[str, Tensor]


@runtime_checkable
class ElectronSource(Protocol):
    """An endless sequence of electrons for each seed; number i of it does not depend on how it is asked for.

    It must pickle where workers are used. Calling it returns the columns of electrons `start` to `start + count`, as
    arrays, or as tensors on the source's `device`, which stay there. A source may say `electrons_at_once`, how many it
    is best asked for together: it is then asked for blocks of so many, and batches are cut from them. It may have a
    `config` with `to_dict()`, that of the simulation: its apparatus must then be the one that files state.
    """

    sampling_rate_hz: float
    lo_frequency_hz: float
    samples: int

    # any mapping: the parser compares what a class says that it returns with this to the letter
    def __call__(self, seed: int, start: int, count: int) -> Any:
        """Return columns (count, …) in the names of the schema: a mapping of arrays or tensors."""
        ...


class StreamDataset(Dataset[Batch]):
    """Fresh electrons in each epoch: electron `row` of epoch e is number e · size + row of the source's sequence."""

    def __init__(
        self,
        source: ElectronSource,
        size: int,
        seed: int,
        targets: tuple[str, ...],
        observables: tuple[str, ...],
    ) -> None:
        self._source = source
        self._size = size
        self._seed = seed
        self._targets = targets
        self._observables = observables
        self._names = (*schema.SERIES_COLUMNS, schema.EVENT_ID, *targets, *observables)
        self._at_once: int = getattr(source, "electrons_at_once", 1)
        self._kept: tuple[int, Columns] = (-1, {})
        """The block of the sequence that was made last, where the source makes blocks, and its number."""

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, draw: Draw) -> Batch:
        return self.__getitems__([draw])

    def __getitems__(self, draws: list[Draw]) -> Batch:
        """Return one batch; neighbours in the sequence are made together."""
        numbers = np.array([draw.epoch * self._size + draw.row for draw in draws], np.int64)
        runs = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
        made = [part for run in runs for part in self._made(int(run[0]), int(run[-1]) + 1)]
        columns = {name: torch.cat([part[name] for part in made]) for name in self._names}
        series = torch.stack([columns[name].float() for name in schema.SERIES_COLUMNS], dim=-1)
        batch: Batch = {
            "inputs": {SERIES: series},
            "masks": {},
            "event_id": columns[schema.EVENT_ID].to(torch.int64),
            "observables": {name: columns[name].double() for name in self._observables},
        }
        if self._targets:
            batch["targets"] = torch.stack([columns[name].double() for name in self._targets], dim=1)
        return batch

    def _made(self, start: int, stop: int) -> list[Columns]:
        """Return electrons of the sequence, in one part or several."""
        if self._at_once <= 1:
            return [self._asked(start, stop - start)]
        parts = []
        for block in range(start // self._at_once, (stop - 1) // self._at_once + 1):
            first = block * self._at_once
            inside = slice(max(start - first, 0), stop - first)
            parts.append({name: values[inside] for name, values in self._block(block).items()})
        return parts

    def _block(self, block: int) -> Columns:
        """Return a block: always the same electrons together, wherever a training began, so with the same bits."""
        if self._kept[0] != block:
            self._kept = (-1, {})  # the memory of the last one may serve the next
            self._kept = (block, self._asked(block * self._at_once, self._at_once))
        return self._kept[1]

    def _asked(self, start: int, count: int) -> Columns:
        columns = self._source(self._seed, start, count)
        for name in self._names:
            if name not in columns:
                raise UserError(f"the source of electrons makes no column {name}")
        return {name: torch.as_tensor(columns[name]) for name in self._names}


def makes_on_device(source: ElectronSource | None) -> bool:
    """Return whether a source makes its electrons on an accelerator: they neither leave it nor come from workers."""
    device = getattr(source, "device", None)
    return device is not None and torch.device(device).type != "cpu"
