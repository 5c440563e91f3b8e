"""Electrons on disk, of one file or of many, read by row: ours, sharded ones, and files in the plain column layout."""

from __future__ import annotations

import glob
import warnings
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cres import schema
from cres.data.facts import DEFAULTS, stated_facts
from cres.data.index import INDEX_SUFFIX, content_digest, index_path, read_index, shard_paths
from cres.data.record_file import DEFAULT_GAIN, HINT, RecordFile, Rows
from cres.errors import UserError
from cres.stated import NOISE_TEMPERATURE
from reconstruction.records.recent import RecentlyUsed

_SUFFIXES: Final = (".hdf5", ".h5")
# I and Q are interleaved while they are still in the processor's cache.
_CACHED_ROWS: Final = 16
OPEN_FILES: Final = 64
"""So many files of a set are open at once: the others were read longer ago."""


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
        return self.files[0].noise_density_w_per_hz

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
        nominal = np.repeat([file.noise_density_w_per_hz for file in self.files], np.diff(self.starts))
        if NOISE_TEMPERATURE not in self.scalar_columns:
            return nominal
        from cres.transforms.temperature import thermal_density_w_per_hz  # torch, as above

        gain = np.repeat([file.stated.get("gain", DEFAULT_GAIN) for file in self.files], np.diff(self.starts))
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
            hashes = np.concatenate([file.content_hashes() for file in self.files])
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


def _require_same(first: RecordFile, other: RecordFile) -> None:
    if other.samples != first.samples:
        raise UserError(f"{other.path} holds {other.samples} samples a series, {first.path} {first.samples}")
    ours, theirs = (set(file.columns) - {schema.CONTENT_HASH} for file in (first, other))
    if ours != theirs:
        name = sorted(ours ^ theirs)[0]
        has, lacks = (first, other) if name in ours else (other, first)
        raise UserError(f"{has.path} has a column {name}, {lacks.path} has not; read them on their own")


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
            raise UserError(f"the folder {path} holds no .hdf5 files; {HINT}")
        return data
    if path.name.endswith(INDEX_SUFFIX) and path.exists():
        return _verified_shards(path)
    if path.exists():
        return [path]
    if index_path(path).exists():  # the output of a sharded preparation, by the name that was asked for
        return _verified_shards(index_path(path))
    files = sorted(Path(name) for name in glob.glob(str(path)))  # noqa: PTH207 (patterns may be absolute)
    if not files:
        raise UserError(f"there is no file {path}; {HINT}")
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
