"""Electrons that are made when they are needed: an endless training set without files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from cres import schema
from cres.data.electrons import SERIES
from cres.errors import UserError
from reconstruction.records.batch import Batch
from reconstruction.records.loader import Draw


@runtime_checkable
class ElectronSource(Protocol):
    """An endless sequence of electrons for each seed; number i of it does not depend on how it is asked for.

    It must pickle where workers are used. Calling it returns the columns of electrons `start` to `start + count`, as
    arrays, or as tensors on the source's `device`, which stay there.
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

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, draw: Draw) -> Batch:
        return self.__getitems__([draw])

    def __getitems__(self, draws: list[Draw]) -> Batch:
        """Return one batch; neighbours in the sequence are made together."""
        numbers = np.array([draw.epoch * self._size + draw.row for draw in draws], np.int64)
        runs = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
        made: list[Mapping[str, NDArray[Any] | Tensor]] = [
            self._source(self._seed, int(run[0]), len(run)) for run in runs
        ]
        names = (*schema.SERIES_COLUMNS, schema.EVENT_ID, *self._targets, *self._observables)
        for name in names:
            if name not in made[0]:
                raise UserError(f"the source of electrons makes no column {name}")
        columns = {name: torch.cat([torch.as_tensor(part[name]) for part in made]) for name in names}
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


def makes_on_device(source: ElectronSource | None) -> bool:
    """Return whether a source makes its electrons on an accelerator: they neither leave it nor come from workers."""
    device = getattr(source, "device", None)
    return device is not None and torch.device(device).type != "cpu"
