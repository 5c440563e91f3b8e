"""Jets as files: one HDF5 file for each class and shard, under the column names of JetClass.

Made as the samples of `collider.generation` are: by workers or an array job, each file with a seed of its own, and what
is complete is not made again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

import collider
from collider.generation import EventGenerator, keyed_seed
from collider.generation.files import write_files
from collider.generation.pieces import Columns, Piece, require_same, write_columns
from collider.jets.making.classes import JetKind
from collider.jets.making.config import JetSample
from collider.jets.making.seen import jet_columns
from collider.jets.schema import COLUMNS
from reconstruction.errors import UserError
from reconstruction.provenance import ancestry, git_commit
from reconstruction.random.keyed import KeyedRandom

JETS_PER_FILE: Final = 1000
BATCH: Final = 100
SMALLEST_BATCH: Final = 20
FUTILE: Final = 5000
"""So many events of which none fills an empty place are a spectrum that cannot be filled."""
SECONDS_A_JET: Final = 0.045
BYTES_A_JET: Final = 2000
"""Of one core, measured with further interactions of the protons: 440 s and 18 MB for 10 000 jets."""


@dataclass(frozen=True)
class JetFile:
    """Jets of one class from number `start` to `stop`."""

    sample: JetSample
    kind: JetKind
    start: int
    stop: int
    path: Path

    @property
    def config_text(self) -> str:
        """What the jets depend on."""
        given = self.sample.to_dict() | {"classes": [self.kind.name]}
        return json.dumps(given, sort_keys=True, default=str)

    @property
    def places(self) -> NDArray[np.int64]:
        """How many jets each bin of the transverse momentum wants: all jets of a class take the bins in turns.

        So what does not divide is shared out over the files, and all of them together are as flat as can be.
        """
        bins = self.sample.pt_bins
        return np.bincount(np.arange(self.start, self.stop) % bins, minlength=bins)


def jet_files(sample: JetSample, jets: int, folder: Path, jets_per_file: int = JETS_PER_FILE) -> list[JetFile]:
    """Return the files that hold so many jets, as many of each class; those of different classes take turns."""
    kinds = sample.kinds
    each, more = divmod(jets, len(kinds))
    counts = [each + (place < more) for place in range(len(kinds))]
    return [
        JetFile(sample, kind, start, min(start + jets_per_file, count), folder / f"{kind.name}_{number:04d}.hdf5")
        for number, start in enumerate(range(0, max(counts), jets_per_file))
        for kind, count in zip(kinds, counts, strict=True)
        if start < count
    ]


def write_jet_files(files: list[JetFile], workers: int, said: Any = lambda _: None) -> None:
    """Make those files that are not there yet, and tell `said` of each. Raises UserError as `write_files` does."""
    pieces: list[Piece] = list(files)
    write_files(pieces, workers, said, write_jet_file, "jets")


def write_jet_file(file: JetFile) -> int:
    """Generate a file's jets; return how many events were generated for it, 0 where it was there already."""
    if file.path.exists():
        require_same(file, file.config_text)
        return 0
    seed = keyed_seed(file.sample.seed, file.kind.name, file.start)
    generator = EventGenerator(file.sample.process(file.kind), seed)
    columns, generated = _until_filled(file, _batches(generator, file), seed)
    identity = keyed_seed(file.sample.seed, file.kind.name)
    columns["event_id"] = (identity << 32) + file.start + np.arange(file.stop - file.start, dtype=np.int64)
    made_by = ancestry(
        f"collider {collider.__version__}", git_commit(Path(__file__)), file.sample.to_dict(), file.sample.seed, ()
    )
    units = {name: COLUMNS[name].unit for name in columns if name in COLUMNS}
    facts = {**made_by, "process": file.kind.name, "generated": generated}
    write_columns(file, columns, units, facts, file.config_text)
    return generated


def _batches(generator: EventGenerator, file: JetFile) -> Iterator[Any]:
    size = SMALLEST_BATCH if file.kind.conjugate else max(SMALLEST_BATCH, min(BATCH, (file.stop - file.start) // 2))
    while True:
        yield generator.batch(size)


def _until_filled(file: JetFile, batches: Iterator[Any], seed: int) -> tuple[Columns, int]:
    """Return the columns of the jets that fill the bins of the spectrum, and how many events that took."""
    left = file.places.copy()
    low, high = file.sample.pt_gev
    parts: list[Columns] = []
    used, last = 0, 0
    for batch in batches:
        random = KeyedRandom(seed, 0, torch.arange(used, used + len(batch)), scope=file.kind.name)
        columns, _ = jet_columns(file.kind, file.sample, batch, random)
        used += len(batch)
        share = (columns["jet_pt"].astype(np.float64) - low) / (high - low)
        taken = _take(np.clip((share * len(left)).astype(np.int64), 0, len(left) - 1), left)
        if len(taken):
            last = used
            parts.append({name: values[taken] for name, values in columns.items()})
        if not left.any():
            break
        if used - last >= FUTILE:
            raise UserError(
                f"{used} events of the class {file.kind.name} filled {int(file.places.sum() - left.sum())} of "
                f"{int(file.places.sum())} places from {low:g} to {high:g} GeV, the last {FUTILE} none: choose a range "
                "of pt_gev that these collisions reach, or fewer pt_bins"
            )
    order = np.random.default_rng(seed).permutation(file.stop - file.start)
    return {name: np.concatenate([part[name] for part in parts])[order] for name in parts[0]}, used


def _take(bins: NDArray[np.int64], left: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return which jets find a place in their bin, first come first served, and take it from what is left."""
    taken = []
    for place, one in enumerate(bins):
        if left[one]:
            left[one] -= 1
            taken.append(place)
    return np.array(taken, dtype=np.int64)
