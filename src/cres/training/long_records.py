"""Records of electrons reconstructed whole, in windows that are combined, or in pieces with carried state."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import ArgumentParser, Namespace

from cres.data.electrons import SERIES
from cres.data.record_file import Rows
from cres.errors import UserError
from cres.training.module import CresModule
from cres.training.streaming import require_piecewise, require_piecewise_noise
from cres.training.tracks import COMBINATION, TrackWriter
from reconstruction.training.runs.commands import Reconstruction
from reconstruction.training.runs.origin import Origin, check_split, compare_apparatus, require_same_readout, sample
from reconstruction.training.runs.predictions import PredictionWriter

PIECEWISE_RECORDS = 32
"""Long records that are measured before all are read in pieces."""


@dataclass(frozen=True)
class RecordReconstruction(Reconstruction):
    """Also in windows of so many samples, or a chunk of samples at a time; neither for records of one length."""

    windows: int | None = None
    chunk: int | None = None

    @classmethod
    def add_options(cls, parser: ArgumentParser) -> None:
        """Add --windows and --chunk."""
        help_text = "Long records: reconstruct windows of so many samples, the model's length, and combine them."
        parser.add_argument("--windows", type=int | None, default=None, help=help_text)
        help_text = "Long records: read so many samples at a time and carry the state, for causal models."
        parser.add_argument("--chunk", type=int | None, default=None, help=help_text)

    @classmethod
    def chosen(cls, config: Namespace) -> dict[str, Any]:
        """Return the two."""
        return {"windows": config.windows, "chunk": config.chunk}

    def write_tested(self, table: Path, origin: Origin) -> None:
        """Write the table of the test split; in windows the validation split calibrates their combination."""
        split = self.data.split
        if self.windows is not None:
            rows = np.concatenate([split.validation, split.test])
            self._in_windows(table, origin, rows, self.windows, calibrate=True)
        elif self.chunk is not None:
            check_split(origin.split[split.test], self.data.system)
            self._in_pieces(table, origin, split.test, self.chunk)
        else:
            super().write_tested(table, origin)

    def write_predicted(self, table: Path, origin: Origin, rows: Rows) -> None:
        """Write the table of all records."""
        if self.windows is not None:
            self._in_windows(table, origin, rows, self.windows, calibrate=False)
        elif self.chunk is not None:
            self._in_pieces(table, origin, rows, self.chunk)
        else:
            super().write_predicted(table, origin, rows)

    def _in_windows(self, table: Path, origin: Origin, rows: Rows, samples: int, calibrate: bool) -> None:
        if self.chunk is not None:
            raise UserError("--windows cuts long records, --chunk reads them as one: give one of the two")
        data = self.data
        data.trainer, data.window_start, data.window_samples = self.trainer, 0, samples
        data.setup("test")
        origin = self.compared(origin, rows)
        writer = TrackWriter(table, self.checkpoints, origin, data, self.run_folder / COMBINATION, calibrate)
        self.run(writer, {"dataloaders": data.track_dataloader(rows)})

    def _in_pieces(self, table: Path, origin: Origin, rows: Rows, samples: int) -> None:
        model, system = self.model, self.data.system
        assert isinstance(model, CresModule)
        assert system.apparatus is not None
        for member in model.members:
            require_piecewise(member, samples)
        if model.noise_scale:
            require_piecewise_noise(model.noise, model.receiver)
        self.data.trainer = self.trainer
        loader = self.data.piece_dataloader(rows, samples)  # refuses a band, which would look like another read-out
        facts = self.data.file_facts()
        require_same_readout(system, model.card, facts)
        first = self._first_pieces(model, sample(rows, PIECEWISE_RECORDS), samples)
        found = system.apparatus.measure(first, self.data, rows) | {"samples": facts["samples"]}
        warning = compare_apparatus(system, model.card, found, any_length=True)
        origin = replace(origin, signature=found, warning=warning)
        self.run(PredictionWriter(table, self.checkpoints, origin), {"dataloaders": loader})

    def _first_pieces(self, model: CresModule, rows: Rows, samples: int) -> dict[str, torch.Tensor]:
        """Return records up to the length of the training's, from as many pieces."""
        batch = next(iter(self.data.piece_dataloader(rows, samples)))
        enough = -(-int(model.card["data"]["samples"]) // samples)
        return {SERIES: torch.cat(list(islice(model.pieces(batch), enough)), dim=1)}
