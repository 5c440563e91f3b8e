"""Files of showers as rows of a table: the cells in memory, numbers by name, an identity for each shower."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from collider.showers.dataset import read_showers
from collider.showers.events import SPLITS
from collider.showers.learning.cells import CellLayout
from collider.showers.simulation import Showers, joined
from reconstruction.errors import UserError
from reconstruction.files import stored_config
from reconstruction.records.stored import content_hashes_of, named_files, place_of_row

Rows = NDArray[np.int64]

LAYER: Final = "layer_"
_ID_BITS: Final = 40
_SEEDS: Final = 2**22


def layer_names(count: int) -> tuple[str, ...]:
    """Return the columns of the energies of so many layers, from the front: layer_01_gev, layer_02_gev …"""
    digits = max(2, len(str(count)))
    return tuple(f"{LAYER}{place:0{digits}d}_gev" for place in range(1, count + 1))


def is_layer(column: str) -> bool:
    """Return whether a column is the energy of a layer."""
    return column.startswith(LAYER)


class ShowerFile:
    """One file of showers, its cells in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.showers: Showers = read_showers(path)
        with h5py.File(path, "r", locking=False) as file:
            self.attributes: dict[str, Any] = dict(file.attrs)
        self.cells = _cells(path, self.attributes)

    @property
    def split(self) -> str:
        """What the file was made for: train or validation, "" where it does not say."""
        return str(self.attributes.get("split", ""))

    @property
    def seed(self) -> int:
        """Seed of the simulation, 0 where the file does not say."""
        return int(stored_config(self.attributes).get("seed", 0))

    @property
    def event_ids(self) -> Rows:
        """Identities: every split and every seed count their events from 0."""
        first = 2 * (self.seed % _SEEDS) + SPLITS.get(self.split, 0)
        return np.asarray(self.showers.event_id, dtype=np.int64) + (first << _ID_BITS)


class ShowerFiles:
    """Files of one calorimeter as one table, a `RowTable`. Raises UserError where they are not of one.

    layers: whether the energy of each layer is a column too.
    """

    def __init__(self, paths: Sequence[Path], layers: bool = False) -> None:
        self.files = [ShowerFile(path) for path in paths]
        for file in self.files[1:]:
            if file.cells != self.files[0].cells:
                raise UserError(f"{file.path} and {self.files[0].path} are of two calorimeters: train on one of them")
        self.cells = self.files[0].cells
        self.showers = joined([file.showers for file in self.files])
        self.starts: Rows = np.cumsum([0, *(len(file.showers) for file in self.files)])
        self._numbers = self._columns() | (self._layers() if layers else {})
        self.columns = tuple(self._numbers)
        self.scalar_columns = self.columns

    def __len__(self) -> int:
        return len(self.showers)

    def _columns(self) -> dict[str, NDArray[Any]]:
        """Return all numbers by name; what a foreign file does not know is left out."""
        showers = self.showers
        flat = showers.cells_gev.reshape(len(showers), -1)
        numbers = {
            "energy_gev": showers.energy_gev,
            "particle": showers.particle,
            "deposited_gev": flat.sum(1, dtype=np.float64),
            "absorbed_gev": showers.absorbed_gev,
            "start_depth_x0": showers.start_x0,
            "shower_t_x0": showers.t,
            "shower_alpha": showers.alpha,
        }
        return {"event_id": self.event_ids} | {
            name: values for name, values in numbers.items() if np.isfinite(values).all()
        }

    def _layers(self) -> dict[str, NDArray[Any]]:
        """Return the energy of each layer as read out, in GeV, by name."""
        energies = self.showers.cells_gev.sum((2, 3), dtype=np.float64)
        return dict(zip(layer_names(energies.shape[1]), energies.T, strict=True))

    @cached_property
    def event_ids(self) -> Rows:
        """Identity of each shower."""
        return np.concatenate([file.event_ids for file in self.files])

    @cached_property
    def _hashes(self) -> Rows:
        return content_hashes_of(self.showers.cells_gev.reshape(len(self), -1))

    def content_hashes(self) -> Rows:
        """Return a hash of the cells of each shower."""
        return self._hashes

    def scalar(self, name: str) -> NDArray[Any]:
        """Return one column of numbers."""
        return self._numbers[name]

    def describe(self, row: int) -> str:
        """Say which row of which file this is."""
        file, place = place_of_row(self.starts, row)
        return f"{self.files[file].path} row {place}"

    def rows_of_split(self, name: str) -> Rows:
        """Return the rows of the files that were made for a split."""
        parts = [np.arange(self.starts[i], self.starts[i + 1]) for i, f in enumerate(self.files) if f.split == name]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def shower_paths(data: str | Sequence[str]) -> list[Path]:
    """Return the files that a file, a folder, a pattern or a list of these names.

    Raises UserError where there is none.
    """
    return named_files(data, "showers", "`python scripts/showers.py` makes some in ml_dataset/", _in_folder)


def _in_folder(folder: Path) -> list[Path]:
    return list(folder.glob("*_dataset*.hdf5")) or list(folder.glob("*.hdf5"))


def _cells(path: Path, attributes: dict[str, Any]) -> CellLayout:
    try:
        depth_cm = np.asarray(attributes["depth_edges_cm"], dtype=float)
        edges_cm = np.asarray(attributes["ring_edges_cm"], dtype=float)
        shape = tuple(int(number) for number in attributes["grid_shape"])
        kind = str(attributes["grid"])
        length, radius = float(attributes["radiation_length_cm"]), float(attributes["moliere_radius_cm"])
    except KeyError as error:
        raise UserError(
            f"{path} does not say where its cells are: it has no attribute {error.args[0]}; files of "
            "scripts/showers.py have grid (cylindrical, cartesian), grid_shape (layers, sectors, rings), "
            "depth_edges_cm, ring_edges_cm, radiation_length_cm and moliere_radius_cm, which can be added to others"
        ) from error
    return CellLayout(kind, shape, tuple((depth_cm / length).tolist()), tuple((edges_cm / radius).tolist()))  # type: ignore[arg-type]
