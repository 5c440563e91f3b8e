"""Batches of electrons: whole-batch reads, an order that a seed and an epoch decide, resumable anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from cres.data.records import Records
from cres.data.windows import Band, Window

Batch = dict[str, Any]
"""series float32 (batch, time, 2) volts; lengths int64 (batch,); event_id int64 (batch,); targets float64
(batch, target), absent for unlabelled records; observables {column: float64 (batch,)}."""


class Draw(NamedTuple):
    """One electron of one epoch: what is random about it depends on both, in whatever process it is read."""

    epoch: int
    row: int


class ElectronDataset(Dataset[Batch]):
    """Chosen rows of records. Whole batches are read at once through `__getitems__`.

    With `keep_on` the series are read once and kept as a tensor there: in memory, or on the training device.
    """

    def __init__(
        self,
        records: Records,
        rows: NDArray[np.int64],
        targets: tuple[str, ...],
        observables: tuple[str, ...],
        window: Window,
        band: Band | None = None,
        keep_on: torch.device | None = None,
    ) -> None:
        self._records = records
        self._rows = rows
        self._targets = targets
        self._observables = observables
        self._window = window
        self._band = band
        self._event_ids = records.event_ids[rows]
        self._kept = None if keep_on is None else torch.from_numpy(records.read_series(rows)).to(keep_on)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, draw: Draw) -> Batch:
        return self.__getitems__([draw])

    def __getitems__(self, draws: list[Draw]) -> Batch:
        """Return one batch."""
        places = np.array([draw.row for draw in draws], np.int64)
        rows = self._rows[places]
        event_ids = self._event_ids[places]
        starts = self._window.starts(draws[0].epoch, event_ids)
        series = self._read(rows, starts) if self._kept is None else self._cut(self._kept, places, starts)
        batch: Batch = {
            "series": series,
            "lengths": torch.full((len(rows),), series.shape[1], dtype=torch.int64),
            "event_id": torch.from_numpy(event_ids),
            "observables": {name: self._numbers(name, rows) for name in self._observables},
        }
        if self._targets:
            batch["targets"] = torch.stack([self._numbers(name, rows) for name in self._targets], dim=1)
        return batch

    def _read(self, rows: NDArray[np.int64], starts: NDArray[np.int64]) -> Tensor:
        series = self._records.read_series(rows, starts, self._window.length)
        return torch.from_numpy(series if self._band is None else self._band.select(series))

    def _cut(self, kept: Tensor, places: NDArray[np.int64], starts: NDArray[np.int64]) -> Tensor:
        chosen = kept[torch.from_numpy(places).to(kept.device)]
        if self._window.length < kept.shape[1]:
            times = torch.from_numpy(starts[:, None] + np.arange(self._window.length)).to(kept.device)
            chosen = torch.gather(chosen, 1, times[:, :, None].expand(-1, -1, 2))
        if self._band is None:
            return chosen
        return torch.from_numpy(self._band.select(chosen.cpu().numpy())).to(kept.device)

    def _numbers(self, name: str, rows: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(self._records.scalar(name)[rows].astype(np.float64))


def keep_batch(batch: Any) -> Any:
    """Collate nothing: the dataset returns whole batches."""
    return batch


class KeyedSampler(DistributedSampler[Any]):
    """Draws of an epoch for one process, in an order keyed on (seed, epoch), or in file order.

    It is a DistributedSampler so that Lightning keeps it and tells it the epoch. Each process takes one stretch of the
    order. Training drops the few electrons that would give one process more than another; otherwise each electron
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

    def __iter__(self) -> Iterator[Any]:
        mine = self._order()[: self._size][self._stretch()]
        return (Draw(self.epoch, int(row)) for row in mine[self.skip :])

    def _order(self) -> NDArray[np.int64]:
        if not self.shuffle:
            return np.arange(self._all)
        return np.random.default_rng([self.seed, self.epoch]).permutation(self._all)

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
        for batch in super().__iter__():
            self._used += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return how many batches of this epoch were handed out; none of the next where it was the last."""
        return {"batches": self._used % max(len(self), 1)}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Let the next pass begin behind the batches that were handed out."""
        self._resume_at = state["batches"]
