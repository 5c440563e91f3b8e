"""Files of jets as rows of a table: those of `scripts/jets.py` and of JetClass, the hardest particles in memory."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from collider.generation.wheels import wheel
from collider.jets.features import mass_of
from collider.jets.making.classes import KINDS
from collider.jets.schema import CLASS, FOUR_VECTOR, MASS, PARTICLE_COLUMNS
from reconstruction.errors import UserError
from reconstruction.records.stored import content_hashes_of, named_files, place_of_row

Rows = NDArray[np.int64]
ROOT: Final = ".root"
TREE: Final = "tree"
"""What the table of a file of JetClass is called."""
TREE_KINDS: Final = ("TTree", "ROOT::RNTuple")
ENDINGS: Final = (".hdf5", ".h5", ROOT)
NUMBERS: Final = "iufb"
"""Kinds of columns: whole numbers with and without a sign, others, true or false."""
ROUNDED: Final = 0.01
"""A particle's energy may be less than its momentum by this share of it: files are rounded, and cells see no mass."""


class JetFileRead:
    """One file of jets: the `most` hardest particles of each, (jet, particle, PARTICLE_COLUMNS), zeros behind them.

    Raises UserError for what is no such file, with column and row where one holds what no jet has.
    """

    def __init__(self, path: Path, most: int) -> None:
        self.path = path
        self.attributes: dict[str, Any] = {}
        columns, self.numbers = _read_root(path) if path.suffix == ROOT else self._read_hdf5()
        _require_finite(path, columns)
        lengths = _lengths(path, columns)
        _require_energies(path, columns, lengths)
        order = _by_pt(columns, lengths)
        self.hashes = _hashes(columns, order, lengths)
        self.particles = _hardest(columns, order, lengths, most)
        self.lengths = np.minimum(lengths, most)
        self._require_jets()
        self._add_class()
        if MASS not in self.numbers:
            self.numbers[MASS] = _masses(columns)

    def _read_hdf5(self) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        """Return the columns of the particles, (jet, particle), and those of the jets."""
        try:
            with h5py.File(self.path, "r", locking=False) as file:
                self.attributes = dict(file.attrs)
                arrays = {name: data for name, data in file.items() if isinstance(data, h5py.Dataset)}
                particles = {name: arrays[name][()] for name in _present(self.path, arrays)}
                flat = {name: data[:] for name, data in arrays.items() if data.ndim == 1 and data.dtype.kind in NUMBERS}
        except OSError as error:
            raise UserError(f"{self.path} cannot be read as HDF5: {error}") from error
        _require_one_shape(self.path, particles, flat)
        return particles, flat

    def _require_jets(self) -> None:
        if not len(self.lengths):
            raise UserError(f"{self.path} holds no jets")
        empty = np.flatnonzero(self.lengths == 0)
        if len(empty):
            raise UserError(f"{self.path} row {empty[0]}: the jet has no particle with energy; leave it out")

    def _add_class(self) -> None:
        """Make the code of the class of the labels, where the file has them."""
        labels = [self.numbers.pop(kind.label, None) for kind in KINDS]
        held = [np.zeros(len(self.lengths)) if label is None else label for label in labels]
        if all(label is None for label in labels):
            return
        chosen = np.stack(held, axis=1) > 0
        odd = np.flatnonzero(chosen.sum(axis=1) != 1)
        if len(odd):
            raise UserError(
                f"{self.path} row {odd[0]}: {int(chosen[odd[0]].sum())} of the columns {KINDS[0].label} to "
                f"{KINDS[-1].label} are 1, and a jet is of one class"
            )
        self.numbers[CLASS] = np.array([kind.code for kind in KINDS])[chosen.argmax(axis=1)]


def _present(path: Path, names: Mapping[str, Any]) -> list[str]:
    """Return the columns of the particles. Raises UserError where one is missing."""
    missing = [name for name in PARTICLE_COLUMNS if name not in names]
    if missing:
        raise UserError(
            f"{path} has no column {missing[0]}: jets have the columns of JetClass, {PARTICLE_COLUMNS[0]} to "
            f"{PARTICLE_COLUMNS[-1]}, as scripts/jets.py writes them"
        )
    return list(PARTICLE_COLUMNS)


def _require_finite(path: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    for name, values in columns.items():
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(bad):
            raise UserError(f"{path} row {bad[0]}, column {name}: holds NaN or infinity")


def _require_one_shape(path: Path, particles: Mapping[str, NDArray[Any]], flat: Mapping[str, NDArray[Any]]) -> None:
    shape = particles[FOUR_VECTOR[0]].shape
    for name, values in (*particles.items(), *flat.items()):
        wanted = shape if name in particles else shape[:1]
        if values.shape != wanted or len(shape) != 2:
            raise UserError(
                f"{path}: column {name} has the shape {values.shape} and {FOUR_VECTOR[0]} {shape}; particles are "
                "(jet, particle), numbers (jet,)"
            )
        if values.dtype.kind not in NUMBERS:
            raise UserError(f"{path}: column {name} holds no numbers, but {values.dtype}")


def _read_root(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Return the same of a ROOT file of JetClass, whose particles are lists."""
    ak = wheel("awkward")
    table = _table_of(path)
    lists = [table[name] for name in _present(path, dict.fromkeys(table.fields))]
    flat_lists = [name for name, values in zip(PARTICLE_COLUMNS, lists, strict=True) if values.ndim != 2]
    if flat_lists:
        raise UserError(f"{path}: column {flat_lists[0]} holds no list of particles for each jet")
    counts = ak.num(lists[0]).to_numpy()
    for name, values in zip(PARTICLE_COLUMNS, lists, strict=True):
        if (ak.num(values).to_numpy() != counts).any():
            row = int(np.flatnonzero(ak.num(values).to_numpy() != counts)[0])
            raise UserError(f"{path} row {row}: column {name} has another number of particles than {FOUR_VECTOR[0]}")
    width = int(counts.max(initial=0))
    padded = {
        name: np.asarray(ak.fill_none(ak.pad_none(values, width, clip=True), 0).to_numpy())
        for name, values in zip(PARTICLE_COLUMNS, lists, strict=True)
    }
    numbers = [name for name in table.fields if isinstance(table[name].layout, ak.contents.NumpyArray)]
    return padded, {name: table[name].to_numpy() for name in numbers if name not in PARTICLE_COLUMNS}


def _table_of(path: Path) -> Any:
    """Return the tree of a ROOT file. Raises UserError for what is no such file."""
    uproot = wheel("uproot")
    trees: list[str] = []
    broken = (OSError, ValueError, LookupError, EOFError, TypeError, struct.error, zlib.error,
              uproot.deserialization.DeserializationError)  # fmt: skip
    try:
        with uproot.open(path) as file:
            trees = [key.partition(";")[0] for key, kind in file.classnames().items() if kind in TREE_KINDS]
            if TREE in trees:
                return file[TREE].arrays()
    except broken as error:
        raise UserError(f"{path} cannot be read as ROOT file: {' '.join(str(error).split())[:200]}") from error
    raise UserError(f"{path} has no tree called {TREE!r}, as files of JetClass do; it has {', '.join(trees) or 'none'}")


def _lengths(path: Path, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
    """Return how many particles each jet has: those with energy, which stand first."""
    there = columns["part_energy"] > 0
    counts = there.sum(axis=1).astype(np.int64)
    gaps = np.flatnonzero((there != (np.arange(there.shape[1]) < counts[:, None])).any(axis=1))
    if len(gaps):
        raise UserError(f"{path} row {gaps[0]}: particles without energy (column part_energy) stand before others")
    return counts


def _require_energies(path: Path, columns: Mapping[str, NDArray[Any]], lengths: NDArray[np.int64]) -> None:
    """Raise UserError for a particle whose energy is less than its momentum: E² − |p|² would be no mass."""
    px, py, pz, energy = (columns[name].astype(np.float64) for name in FOUR_VECTOR)
    momentum = np.sqrt(px**2 + py**2 + pz**2)
    there = np.arange(energy.shape[1]) < lengths[:, None]
    rows, places = np.nonzero(there & (energy < (1 - ROUNDED) * momentum))
    if len(rows):
        row, place = int(rows[0]), int(places[0])
        raise UserError(
            f"{path} row {row}: particle {place} has {energy[row, place]:.4g} GeV of energy (column part_energy) and "
            f"{momentum[row, place]:.4g} GeV of momentum, which no particle has: are both in GeV?"
        )


def _by_pt(columns: Mapping[str, NDArray[Any]], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places of each jet's particles, the hardest first, (jet, particle)."""
    pt = np.hypot(columns["part_px"], columns["part_py"])
    pt[np.arange(pt.shape[1]) >= lengths[:, None]] = -1
    return np.argsort(-pt, axis=1, kind="stable")


def _hashes(columns: Mapping[str, NDArray[Any]], order: NDArray[np.int64], lengths: NDArray[np.int64]) -> Rows:
    """Return a hash of the four-vectors of all particles of each jet, however many of them are read."""
    four = np.stack([np.take_along_axis(columns[name], order, axis=1) for name in FOUR_VECTOR], axis=2)
    return content_hashes_of(jet[:length] for jet, length in zip(four.astype(np.float32), lengths, strict=True))


def _hardest(
    columns: Mapping[str, NDArray[Any]], order: NDArray[np.int64], lengths: NDArray[np.int64], most: int
) -> NDArray[np.float32]:
    """Return the hardest particles of each jet in the order of pT, (jet, particle, column)."""
    order = order[:, :most]
    found = np.zeros((len(order), most, len(PARTICLE_COLUMNS)), dtype=np.float32)
    for place, name in enumerate(PARTICLE_COLUMNS):
        found[:, : order.shape[1], place] = np.take_along_axis(columns[name], order, axis=1)
    found[np.arange(most) >= lengths[:, None]] = 0
    return found


def _masses(columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    import torch

    sums = np.stack([columns[name].astype(np.float64).sum(axis=1) for name in FOUR_VECTOR], axis=1)
    return mass_of(torch.from_numpy(sums)).numpy()


class JetTable:
    """Files of jets as one table, a `RowTable`: particles in memory, 64 bytes each; numbers that all files have."""

    def __init__(self, paths: Sequence[Path], most: int) -> None:
        self.files = [JetFileRead(path, most) for path in paths]
        self.starts: Rows = np.cumsum([0, *(len(file.lengths) for file in self.files)])
        self.particles = np.concatenate([file.particles for file in self.files])
        self.lengths = np.concatenate([file.lengths for file in self.files])
        self._hashes = np.concatenate([file.hashes for file in self.files])
        for file in self.files:
            del file.particles
        shared = [name for name in self.files[0].numbers if all(name in file.numbers for file in self.files)]
        self._numbers = {name: np.concatenate([file.numbers.pop(name) for file in self.files]) for name in shared}
        self._numbers["event_id"] = self._identities()
        self.columns = tuple(self._numbers)
        self.scalar_columns = self.columns

    def __len__(self) -> int:
        return len(self.lengths)

    def _identities(self) -> Rows:
        """Return the files' own ids, or hashes of the particles where a file has none."""
        own = self._numbers.get("event_id")
        return self.content_hashes() if own is None else own.astype(np.int64)

    @property
    def event_ids(self) -> Rows:
        """Identity of each jet."""
        return self._numbers["event_id"]

    def content_hashes(self) -> Rows:
        """Return a hash of the particles of each jet."""
        return self._hashes

    def scalar(self, name: str) -> NDArray[Any]:
        """Return one column of numbers."""
        return self._numbers[name]

    def describe(self, row: int) -> str:
        """Say which row of which file this is."""
        file, place = place_of_row(self.starts, row)
        return f"{self.files[file].path} row {place}"


def jet_paths(data: str | Sequence[str]) -> list[Path]:
    """Return the files that a file, a folder, a pattern or a list of these names. Raises UserError where is none."""
    return named_files(data, "jets", "`python scripts/jets.py` makes some in data/jets/", _in_folder)


def _in_folder(folder: Path) -> list[Path]:
    return [one for one in folder.iterdir() if one.suffix in ENDINGS and not one.name.startswith(".")]
