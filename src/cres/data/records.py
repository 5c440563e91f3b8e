"""Electrons on disk, of one file or of many, read by row: ours, sharded ones, and files in the plain column layout."""

from __future__ import annotations

import glob
import json
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from cres import schema
from cres.data.facts import DEFAULTS, plain_attributes, stated_facts
from cres.data.index import INDEX_SUFFIX, content_digest, index_path, read_index, shard_paths
from cres.data.row_reader import RowReader, naming_damage
from cres.errors import UserError
from cres.stated import CONFIGURATIONS, NOISE_TEMPERATURE, number, section_of, settings_of_config
from reconstruction.files import stored_config
from reconstruction.records.recent import RecentlyUsed

Rows = NDArray[np.int64]
_SUFFIXES: Final = (".hdf5", ".h5")
# I and Q are interleaved while they are still in the processor's cache.
_CACHED_ROWS: Final = 16
# Power gain from the cavity's port to the digitiser (a plain ratio): that of a simulation that says none. Data and
# simulation import nothing of each other; a test holds the two equal.
_DEFAULT_GAIN: Final = 2.708e9
# What is in memory while content is hashed does not grow with the length of the records (but for a single one).
_HASHED_SAMPLES: Final = 1 << 21
OPEN_FILES: Final = 64
"""So many files of a set are open at once: the others were read longer ago."""
_HINT: Final = "make it with `python scripts/data_prep.py`"


class RecordFile:
    """One HDF5 file of electrons: what it holds is read at once, its series only when asked for.

    Handles are opened when they are first needed and never travel to another process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with h5py.File(path, "r", locking=False) as file:
                self._describe(file)
        except (OSError, KeyError, RuntimeError) as error:
            raise UserError(f"{path} cannot be read as HDF5 ({_reason(error)}); {_HINT}") from error
        self._scalars: dict[str, NDArray[Any]] = {}
        self._reader: RowReader | None = None
        self._process = 0

    def _describe(self, file: h5py.File) -> None:
        shapes = {name: data.shape for name, data in file.items() if isinstance(data, h5py.Dataset)}
        for name in schema.SERIES_COLUMNS:
            if name not in shapes:
                raise UserError(f"{self.path} has no series {name}; its columns are {', '.join(shapes) or 'none'}")
            if len(shapes[name]) != 2:
                raise UserError(f"{self.path} holds {name} of shape {shapes[name]}; (rows, samples) is expected")
        self.rows, self.samples = (int(size) for size in shapes[schema.SERIES_I])
        for name, shape in shapes.items():
            if not shape or shape[0] != self.rows or (name in schema.SERIES_COLUMNS and shape[1] != self.samples):
                wanted = shapes[schema.SERIES_I]
                raise UserError(f"{self.path} holds {name} of shape {shape} beside series of shape {wanted}")
        if self.rows == 0:
            raise UserError(f"{self.path} holds no electrons")
        if self.samples == 0:
            raise UserError(f"{self.path} holds series without samples")
        self._require_types(file)
        self.columns = tuple(shapes)
        self.scalar_columns = tuple(
            name for name, shape in shapes.items() if len(shape) == 1 and file[name].dtype.kind in "biuf"
        )
        self.attributes = plain_attributes(dict(file.attrs))

    def _require_types(self, file: h5py.File) -> None:
        """Raise UserError where a column that the schema knows holds something else than it says."""
        for name in (name for name in schema.COLUMNS if name in file):
            dtype, shape = file[name].dtype, file[name].shape
            kinds, what = ("iu", "whole numbers") if schema.COLUMNS[name].dtype == "int64" else ("iuf", "real numbers")
            if dtype.kind not in kinds or (name not in schema.SERIES_COLUMNS and len(shape) != 1):
                raise UserError(
                    f"{self.path} holds {name} as {dtype} of shape {shape}; {what}, one a row, are expected"
                )

    def __len__(self) -> int:
        return self.rows

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reader": None, "_process": 0}

    def scalar(self, name: str) -> NDArray[Any]:
        """Return one whole column, (rows, …), kept in memory: float64 or int64 where it is a number a row."""
        if name not in self._scalars:
            with (
                naming_damage(self.path, name, 0, self.rows - 1),
                h5py.File(self.path, "r", locking=False) as file,
            ):
                values = np.asarray(file[name][...])
            self._scalars[name] = _wide(values) if values.ndim == 1 else values
        return self._scalars[name]

    def read_series(self, rows: Rows, starts: Rows, out: NDArray[np.float32]) -> None:
        """Fill `out` (2, rows, length) with I and Q volts, `length` samples of each row from its start."""
        reader = self._opened()
        for channel, name in enumerate(schema.SERIES_COLUMNS):
            reader.read(name, rows, starts, out[channel])

    @cached_property
    def stated(self) -> dict[str, float]:
        """Settings of the apparatus that the file's simulation states."""
        return _stated(self.attributes)

    @property
    def series_bytes(self) -> int:
        """What all series take in memory."""
        return 2 * 4 * self.rows * self.samples

    def whole_series(self) -> NDArray[np.float32]:
        """Return I and Q of all rows, (2, rows, samples)."""
        series = np.empty((2, self.rows, self.samples), np.float32)
        self.read_series(np.arange(self.rows), np.zeros(self.rows, np.int64), series)
        return series

    def _opened(self) -> RowReader:
        if self._reader is None or self._process != os.getpid():
            self._reader = RowReader(self.path, schema.SERIES_COLUMNS)
            self._process = os.getpid()
        return self._reader

    def close(self) -> None:
        """Close the handles; the next read opens them again."""
        if self._reader is not None and self._process == os.getpid():
            self._reader.close()
        self._reader = None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _wide(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind in "biu":
        return values.astype(np.int64)
    return values.astype(np.float64) if values.dtype.kind == "f" else values


def _stated(attributes: Mapping[str, Any]) -> dict[str, float]:
    """Return the settings that the attributes of a file say of all its records; none where it is not one apparatus."""
    from cres.transforms.temperature import noise_temperature_k  # torch, which preparation does without

    if CONFIGURATIONS in attributes:
        return {}
    config = stored_config(attributes)
    found, readout = settings_of_config(config), section_of(config, "readout")
    density, gain = number(readout.get("noise_density_w_per_hz")), number(readout.get("gain"))
    if NOISE_TEMPERATURE not in found and density is not None and gain:
        found[NOISE_TEMPERATURE] = float(noise_temperature_k(density, gain))
    return found


def _bytes_of(series: NDArray[np.float32]) -> int:
    return series.nbytes


class Records:
    """Several files as one: rows are numbered through. Raises UserError at once where the files do not fit together.

    open_files: so many are open at once. memory_mb: so much of memory holds series of the files that were read last,
    whole, so that rows of them are not read again; 0 for none.
    """

    def __init__(self, files: Sequence[RecordFile], open_files: int = OPEN_FILES, memory_mb: float = 0.0) -> None:
        self.files = tuple(files)
        self._open: RecentlyUsed[int, RecordFile] = RecentlyUsed(open_files, forget=RecordFile.close)
        self._memory: RecentlyUsed[int, NDArray[np.float32]] = RecentlyUsed(
            len(self.files), int(1e6 * memory_mb), _bytes_of
        )
        first = self.files[0]
        for file in self.files[1:]:
            _require_same(first, file)
        self.columns = tuple(name for name in first.columns if all(name in file.columns for file in self.files))
        self.scalar_columns = tuple(name for name in first.scalar_columns if name in self.columns)
        self.samples = first.samples
        facts = _facts(self.files)
        self.sampling_rate_hz = facts["sampling_rate_hz"]
        self.lo_frequency_hz = facts["lo_frequency_hz"]
        self._scalars: dict[str, NDArray[Any]] = {}
        self.starts = np.cumsum([0, *(file.rows for file in self.files)])
        self._require_unique_ids()

    @property
    def noise_density_w_per_hz(self) -> float:
        """Density of the nominal noise: what the first file's simulation says of its read-out, or the default."""
        return _nominal_density_w_per_hz(self.files[0])

    @cached_property
    def stated(self) -> tuple[str, ...]:
        """Settings that every file says of all its rows and that are no columns; `scalar` returns them as well."""
        first, *others = self.files
        names = (name for name in first.stated if name not in self.columns)
        return tuple(name for name in names if all(name in file.stated for file in others))

    @property
    def one_apparatus(self) -> bool:
        """Whether nothing tells the rows apart by their apparatus: neither what files state, nor their noise."""
        first, *others = self.files
        densities = self.noise_densities()
        return all(file.stated == first.stated for file in others) and bool(np.ptp(densities) <= 1e-9 * densities.max())

    def noise_densities(self) -> NDArray[np.float64]:
        """Return the density of the nominal noise of each row, (rows,): by its noise temperature, or by its file's."""
        nominal = np.repeat([_nominal_density_w_per_hz(file) for file in self.files], np.diff(self.starts))
        if NOISE_TEMPERATURE not in self.scalar_columns:
            return nominal
        from cres.transforms.temperature import thermal_density_w_per_hz  # torch, as above

        gain = np.repeat([file.stated.get("gain", _DEFAULT_GAIN) for file in self.files], np.diff(self.starts))
        kelvin = self.scalar(NOISE_TEMPERATURE)
        return np.where(np.isfinite(kelvin), gain * kelvin * float(thermal_density_w_per_hz(1.0)), nominal)

    @property
    def valid_samples(self) -> NDArray[np.int64] | None:
        """Samples of each record that were taken, (rows,), where the files say it; None where all were.

        Raises UserError where a record says that it has none, or more than its series.
        """
        if schema.VALID_SAMPLES not in self.scalar_columns:
            return None
        taken = self.scalar(schema.VALID_SAMPLES)
        wrong = np.flatnonzero((taken < 1) | (taken > self.samples))
        if len(wrong):
            row = int(wrong[0])
            raise UserError(
                f"{self.describe(row)}: {schema.VALID_SAMPLES} is {taken[row]}, but its series has {self.samples} "
                "samples"
            )
        return taken

    def _require_unique_ids(self) -> None:
        """Raise UserError where two electrons have one id: what is joined by it would lose one of them."""
        if schema.EVENT_ID not in self.columns:
            return
        _, first, inverse = np.unique(self.event_ids, return_index=True, return_inverse=True)
        repeated = np.flatnonzero(first[inverse] != np.arange(len(self)))
        if len(repeated):
            row, earlier = int(repeated[0]), int(first[inverse[repeated[0]]])
            more = f" (and {len(repeated) - 1} more)" if len(repeated) > 1 else ""
            both = f"{self.describe(earlier)} and {self.describe(row)}"
            raise UserError(f"{both} have one event_id{more}; {self._remedy(earlier, row)}")

    def _remedy(self, earlier: int, row: int) -> str:
        if schema.CONTENT_HASH in self.columns and np.ptp(self.scalar(schema.CONTENT_HASH)[[earlier, row]]) == 0:
            return "they are the same electron (parts beside the file they were merged to?): read one of the two files"
        return "they are different electrons: prepare their sources together with --new-event-ids"

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def event_ids(self) -> Rows:
        """Identity of each electron, (rows,)."""
        return self.scalar(schema.EVENT_ID)

    def scalar(self, name: str) -> NDArray[Any]:
        """Return one whole column of all files. `event_id` is the content's hash where a file has none."""
        if name == schema.EVENT_ID and name not in self.columns:
            return self.content_hashes()
        if name not in self.columns and name in self.stated:
            values = [file.stated[name] for file in self.files]
            return np.repeat(np.array(values, np.float64), np.diff(self.starts))
        self._require(name)
        if name not in self._scalars:
            self._scalars[name] = np.concatenate([file.scalar(name) for file in self.files])
        return self._scalars[name]

    def content_hashes(self) -> Rows:
        """Return the hash of each electron's series, (rows,): stored by preparation, otherwise made by reading all.

        Records that hold nothing at all have the identity of their event: they are alike, and not one electron.
        """
        if schema.CONTENT_HASH not in self._scalars:
            hashes = np.concatenate([_content_hashes(file) for file in self.files])
            nothing = schema.content_event_ids(*np.zeros((2, 1, self.samples)))
            known = schema.EVENT_ID in self.columns  # or the events are named by this hash
            self._scalars[schema.CONTENT_HASH] = (
                np.where(hashes == nothing, self.event_ids, hashes) if known else hashes
            )
        return self._scalars[schema.CONTENT_HASH]

    def read(self, indices: Rows | Sequence[int], columns: Iterable[str]) -> dict[str, NDArray[Any]]:
        """Return these rows of the columns, in the order of `indices`."""
        rows = np.asarray(indices, np.int64)
        names = list(columns)
        values: dict[str, NDArray[Any]] = {}
        if any(name in schema.SERIES_COLUMNS for name in names):
            series = self.read_series(rows)
            values = {name: series[:, :, channel] for channel, name in enumerate(schema.SERIES_COLUMNS)}
        return {name: values[name] if name in values else self.scalar(name)[rows] for name in names}

    def read_series(
        self, indices: Rows | Sequence[int], starts: Rows | int = 0, length: int | None = None
    ) -> NDArray[np.float32]:
        """Return the volts of these rows, (rows, time, 2): `length` samples of I and Q from each row's start.

        Raises IndexError for rows, and for windows, that are not in the records.
        """
        rows = np.asarray(indices, np.int64)
        begin = np.broadcast_to(np.asarray(starts, np.int64), rows.shape)
        length = self.samples - int(begin.max(initial=0)) if length is None else length
        self._require_inside(rows, begin, length)
        series = np.empty((len(rows), length, 2), np.float32)
        planes = np.empty((2, min(len(rows), _CACHED_ROWS), length), np.float32)
        owner = np.searchsorted(self.starts, rows, side="right") - 1
        for index in np.unique(owner):
            of_file = np.flatnonzero(owner == index)
            for first in range(0, len(of_file), _CACHED_ROWS):
                chosen = of_file[first : first + _CACHED_ROWS]
                part = planes[:, : len(chosen)]
                self._read(int(index), rows[chosen] - self.starts[index], begin[chosen], part)
                for channel in range(2):
                    series[chosen, :, channel] = part[channel]
        return series

    def _read(self, index: int, rows: Rows, starts: Rows, out: NDArray[np.float32]) -> None:
        """Fill `out` from a file, or from what is kept of it in memory."""
        file = self.files[index]
        if file.series_bytes > (self._memory.most_bytes or 0):
            self._open.get(index, lambda: file).read_series(rows, starts, out)
            return
        kept = self._memory.get(index, lambda: self._open.get(index, lambda: file).whole_series())
        for place, (row, start) in enumerate(zip(rows.tolist(), starts.tolist(), strict=True)):
            out[:, place] = kept[:, row, start : start + out.shape[2]]

    def _require_inside(self, rows: Rows, begin: Rows, length: int) -> None:
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"rows must lie in 0 to {len(self) - 1}")
        if len(rows) and (begin.min() < 0 or length < 1 or begin.max() + length > self.samples):
            raise IndexError(f"windows must lie in records of {self.samples} samples")

    def describe(self, row: int) -> str:
        """Say which row of which file this is."""
        index = int(np.searchsorted(self.starts, row, side="right")) - 1
        return f"{self.files[index].path} row {row - int(self.starts[index])}"

    def close(self) -> None:
        """Close all handles; the next read opens them again."""
        self._open.clear()
        self._memory.clear()
        for file in self.files:
            file.close()

    def _require(self, name: str) -> None:
        if name not in self.columns:
            raise UserError(f"{self.files[0].path} has no column {name}; it has {', '.join(self.columns)}")


def stated_ranges(records: Records) -> dict[str, list[float]]:
    """Return the lowest and the highest value of what every file states of its apparatus, by name."""
    values = {name: [file.stated[name] for file in records.files] for name in records.stated}
    return {name: [min(found), max(found)] for name, found in values.items()}


def _content_hashes(file: RecordFile) -> Rows:
    if schema.CONTENT_HASH in file.columns:
        return file.scalar(schema.CONTENT_HASH)
    hashes = []
    block = max(1, _HASHED_SAMPLES // file.samples)
    for start in range(0, file.rows, block):
        rows = np.arange(start, min(start + block, file.rows))
        series = np.empty((2, len(rows), file.samples), np.float32)
        file.read_series(rows, np.zeros_like(rows), series)
        hashes.append(schema.content_event_ids(series[0], series[1]))
    return np.concatenate(hashes)


def _require_same(first: RecordFile, other: RecordFile) -> None:
    if other.samples != first.samples:
        raise UserError(f"{other.path} holds {other.samples} samples a series, {first.path} {first.samples}")
    ours, theirs = (set(file.columns) - {schema.CONTENT_HASH} for file in (first, other))
    if ours != theirs:
        name = sorted(ours ^ theirs)[0]
        has, lacks = (first, other) if name in ours else (other, first)
        raise UserError(f"{has.path} has a column {name}, {lacks.path} has not; read them on their own")


def _nominal_density_w_per_hz(file: RecordFile) -> float:
    from cres.transforms.noise import NOMINAL_DENSITY_W_PER_HZ  # torch, which preparation does without
    from cres.transforms.temperature import stated_density_w_per_hz

    try:
        made_with = json.loads(str(file.attributes.get("config", "{}")))
        readout = made_with.get("readout", {})
        return stated_density_w_per_hz(readout, NOMINAL_DENSITY_W_PER_HZ)
    except (ValueError, TypeError, KeyError, AttributeError):  # the configuration of somebody else's simulation
        return NOMINAL_DENSITY_W_PER_HZ


def _facts(files: Sequence[RecordFile]) -> dict[str, float]:
    facts = {}
    missing = set()
    stated = {file.path: stated_facts(file.attributes, file.path) for file in files}
    for name, default in DEFAULTS.items():
        said = {stated[file.path].get(name, default): file.path for file in files}
        missing |= {file.path for file in files if name not in file.attributes}
        if len(said) > 1:
            (one, first), (other, second) = list(said.items())[:2]
            raise UserError(f"{name} is {one:g} in {first} and {other:g} in {second}; read them on their own")
        facts[name] = next(iter(said))
    if missing:
        rate_mhz, oscillator_ghz = facts["sampling_rate_hz"] / 1e6, facts["lo_frequency_hz"] / 1e9
        told = f"sampling rate {rate_mhz:g} MHz, oscillator {oscillator_ghz:.10g} GHz"
        more = f" (and {len(missing) - 1} other files)" if len(missing) > 1 else ""
        warnings.warn(f"{min(missing)}{more} does not say how it was recorded; assumed: {told}", stacklevel=3)
    return facts


def open_records(
    data: str | Path | Sequence[str | Path], open_files: int = OPEN_FILES, memory_mb: float = 0.0
) -> Records:
    """Return the electrons of a file, an index of shards, a folder, a glob, or a list of these.

    `open_files` and `memory_mb` as in `Records`. Raises UserError where there are none, where they do not fit together,
    and where a shard is missing or changed.
    """
    return Records([RecordFile(path) for path in data_files(data)], open_files, memory_mb)


def data_files(data: str | Path | Sequence[str | Path]) -> list[Path]:
    """Return the HDF5 files that paths name, each once. Raises UserError where there are none."""
    given = [data] if isinstance(data, (str, Path)) else list(data)
    paths = list(dict.fromkeys(path for item in given for path in _files_of(Path(item))))
    if not paths:
        raise UserError("no data files are named")
    return paths


def _files_of(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if not file.name.startswith("."))
        data = [file for file in files if file.suffix in _SUFFIXES]
        for index in (file for file in files if file.name.endswith(INDEX_SUFFIX)):
            _verified_shards(index)
        if not data:
            raise UserError(f"the folder {path} holds no .hdf5 files; {_HINT}")
        return data
    if path.name.endswith(INDEX_SUFFIX) and path.exists():
        return _verified_shards(path)
    if path.exists():
        return [path]
    if index_path(path).exists():  # the output of a sharded preparation, by the name that was asked for
        return _verified_shards(index_path(path))
    files = sorted(Path(name) for name in glob.glob(str(path)))  # noqa: PTH207 (patterns may be absolute)
    if not files:
        raise UserError(f"there is no file {path}; {_HINT}")
    return files


def _verified_shards(index: Path) -> list[Path]:
    """Return the shards of an index. Raises UserError where one is missing, cut or another file than was indexed."""
    paths = shard_paths(index)
    for path, shard in zip(paths, read_index(index).shards, strict=True):
        file = RecordFile(path)
        if file.rows != shard.rows:
            raise UserError(f"{path} holds {file.rows} electrons, its index says {shard.rows}; prepare the data again")
        stored = schema.CONTENT_HASH in file.columns
        if stored and content_digest(file.scalar(schema.CONTENT_HASH)) != shard.content:
            raise UserError(f"{path} does not hold the electrons that its index lists; prepare the data again")
    return paths
