"""Records of electrons read a batch at a time: a window of them, and in it a band."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from cres.data.noise_of_rows import NoiseOfRows
from cres.data.windows import Band, Window
from reconstruction.records.batch import STRENGTH, Batch, masks_from
from reconstruction.records.loader import Chosen, Draw

SERIES = "series"
"""The one input of records: volts (batch, time, 2), I and Q."""

_BLOCK_ROWS = 256
_CACHED_ROWS = 32


class ElectronDataset(Dataset[Batch]):
    """Chosen rows of records. Whole batches are read at once through `__getitems__`.

    With `keep_on` the series are read once and kept as a tensor there: in memory, or on the training device. What is
    the same in each epoch, a fixed window and a band of it, is then done once, too. `densities` (rows of the records,)
    are those of the noise, where batches are to say them; `noise` says its spectrum as well, and of it the `bands`.
    """

    def __init__(
        self,
        chosen: Chosen,
        window: Window,
        band: Band | None = None,
        keep_on: torch.device | None = None,
        densities: NDArray[np.float64] | None = None,
        noise: NoiseOfRows | None = None,
        bands: tuple[str, ...] = (),
    ) -> None:
        self._densities, self._noise, self._bands = densities, noise, bands
        self._chosen, self._window, self._band = chosen, window, band
        self._records, self._rows = chosen.records, chosen.rows
        self._event_ids = self._records.event_ids[self._rows]
        self._kept = None if keep_on is None else self._read_all(keep_on)

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
        series = self._read(rows, starts) if self._kept is None else self._kept_series(self._kept, places, starts)
        batch: Batch = {
            "inputs": {SERIES: series},
            "masks": self._masks(rows, starts, series.shape[1]),
            "event_id": torch.from_numpy(event_ids),
        }
        batch |= self._chosen.numbers(rows)
        if self._noise is not None:
            batch[STRENGTH] = self._noise.density_w_per_hz(rows)
            batch["observables"] |= dict(zip(self._bands, self._noise.bands(self._bands, rows).T, strict=True))
        elif self._densities is not None:
            batch[STRENGTH] = torch.from_numpy(self._densities[rows])
        if any(draw.repeat for draw in draws):
            batch["repeat"] = torch.tensor([draw.repeat for draw in draws])
        return batch

    def _masks(self, rows: NDArray[np.int64], starts: NDArray[np.int64], positions: int) -> dict[str, Tensor]:
        """Return which samples of these windows were taken; nothing where all were."""
        taken = self._records.valid_samples
        if taken is None:
            return {}
        inside = np.clip(taken[rows] - starts, 1, self._window.length)
        if self._band is not None:  # fewer samples in the same time
            inside = -(-inside * positions // self._window.length)
        return masks_from(SERIES, torch.from_numpy(inside), positions)

    def _read(self, rows: NDArray[np.int64], starts: NDArray[np.int64]) -> Tensor:
        if self._band is None:
            return self._series(rows, starts)
        # a few at a time: they are still in the processor's cache when the band is cut out of them
        parts = [slice(first, first + _CACHED_ROWS) for first in range(0, max(len(rows), 1), _CACHED_ROWS)]
        lines = [self._band.lines(self._series(rows[part], starts[part])) for part in parts]
        return self._band.in_time(torch.cat(lines))

    def _series(self, rows: NDArray[np.int64], starts: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(self._records.read_series(rows, starts, self._window.length))

    def _read_all(self, device: torch.device) -> Tensor:
        """Return the series to keep, read block by block: what is needed beside them stays small."""
        kept: Tensor | None = None
        for start in range(0, len(self._rows), _BLOCK_ROWS):
            rows = self._rows[start : start + _BLOCK_ROWS]
            if self._window.fixed:
                block = self._read(rows, self._window.starts(0, self._event_ids[start : start + _BLOCK_ROWS]))
            else:
                block = torch.from_numpy(self._records.read_series(rows))
            if kept is None:
                kept = torch.empty((len(self._rows), *block.shape[1:]), device=device)
            kept[start : start + len(rows)] = block
        return torch.empty((0, self._window.length, 2), device=device) if kept is None else kept

    def _kept_series(self, kept: Tensor, places: NDArray[np.int64], starts: NDArray[np.int64]) -> Tensor:
        chosen = kept[torch.from_numpy(places).to(kept.device)]
        if self._window.fixed:
            return chosen
        times = torch.from_numpy(starts[:, None] + np.arange(self._window.length)).to(kept.device)
        cut = torch.gather(chosen, 1, times[:, :, None].expand(-1, -1, 2))
        return cut if self._band is None else self._band.select(cut)
