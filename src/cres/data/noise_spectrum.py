"""A measured spectrum of noise: estimated from records without signal, kept beside the data, read by all who need it.

The file is a CSV table of `COLUMNS`; the first two are needed. `run.hdf5` has its spectrum in `run.noise.csv`,
and so have the shards that were made for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from cres.data.consistency import strongest_lines
from cres.data.index import data_sets
from cres.data.records import Records
from cres.errors import UserError
from cres.transforms.noise import RESISTANCE_OHM
from reconstruction.files import write_whole

if TYPE_CHECKING:
    import pandas as pd

COLUMNS: Final = ("frequency_hz", "relative_power", "relative_power_std", "density_w_per_hz")
SUFFIX: Final = ".noise.csv"
SEGMENT: Final = 512
WHITE: Final = "white"
_ROWS_AT_ONCE: Final = 256
_FEWEST: Final = 16
# of records of noise alone one in 160 000 has such a line
_RECORDS_WITH_LINES: Final = 1e-3

Array = NDArray[np.float64]


@dataclass(frozen=True)
class NoiseSpectrum:
    """Power over that of nominal white noise against frequency after mixing, rising, (bin,) each."""

    frequency_hz: Array
    relative_power: Array
    source: str
    """Where it came from."""
    nominal_w_per_hz: float | None = None
    """What the power is relative to; None where the table has no density."""

    @classmethod
    def read(cls, path: str | Path) -> NoiseSpectrum:
        """Read a table with the columns `frequency_hz` and `relative_power`. Raises UserError where it is none."""
        import pandas as pd  # most data have no spectrum

        try:
            table = pd.read_csv(path)
        except (OSError, ValueError) as error:
            raise UserError(f"the noise spectrum {path} cannot be read as CSV: {error}") from error
        needed = COLUMNS[:2]
        missing = [name for name in needed if name not in table]
        if missing:
            raise UserError(f"the noise spectrum {path} needs the columns {', '.join(needed)}; no {missing[0]}")
        try:
            frequency, power = (table[name].to_numpy(np.float64) for name in needed)
        except ValueError as error:
            raise UserError(f"the noise spectrum {path} must hold numbers: {error}") from error
        sound = np.isfinite(frequency).all() and np.isfinite(power).all()
        if not len(table) or not sound or not np.all(np.diff(frequency) > 0) or not np.all(power > 0):
            raise UserError(f"the noise spectrum {path} must have rising frequencies and positive powers")
        return cls(frequency, power, str(path), _nominal(table, power, path))

    @classmethod
    def beside(cls, data: str | Path) -> Path | None:
        """Return the spectrum that lies beside a file of data, or None."""
        path = spectrum_path(data)
        return path if path.is_file() else None

    def density_rows(self, nominal_w_per_hz: float) -> list[tuple[float, float]]:
        """Return rows of frequency and density, as `cres.transforms.ColouredNoise` takes them."""
        density = self.relative_power * nominal_w_per_hz
        return list(zip(self.frequency_hz.tolist(), density.tolist(), strict=True))


def _nominal(table: pd.DataFrame, power: Array, path: str | Path) -> float | None:
    """Return the density over the relative power, one for all rows, where a table has both. Raises UserError."""
    density = COLUMNS[3]
    if density not in table:
        return None
    try:
        nominal = table[density].to_numpy(np.float64) / power
    except ValueError as error:
        raise UserError(f"the noise spectrum {path} must hold numbers: {error}") from error
    if not np.all(nominal > 0) or np.ptp(nominal) > 1e-6 * nominal.max():
        raise UserError(
            f"{density} of the noise spectrum {path} is not a multiple of its {COLUMNS[1]}: leave out the one that is "
            "wrong"
        )
    return float(np.median(nominal))


def spectrum_path(data: str | Path) -> Path:
    """Return where the spectrum of a file of data lies: `run.noise.csv` beside `run.hdf5`."""
    path = Path(data)
    return path.with_name(path.name.removesuffix(path.suffix) + SUFFIX)


def spectrum_for(records: Records, wanted: str | Path | None = None) -> NoiseSpectrum | None:
    """Return the noise spectrum of records: the file that is named, `white` for none, else that beside their files.

    Raises UserError for a table that is none, and for files whose spectra differ or of which some have none.
    """
    if wanted is None:
        _require_same_table([file.path for file in records.files], _tables_beside(records))
    return spectra_for(records, wanted)[0]


def spectra_for(records: Records, wanted: str | Path | None = None) -> list[NoiseSpectrum | None]:
    """Return the noise spectrum of each file of records, None for those without; what is named is that of all.

    Raises UserError for a table that is none.
    """
    if wanted is not None:
        return [None if str(wanted) == WHITE else NoiseSpectrum.read(wanted)] * len(records.files)
    tables = _tables_beside(records)
    read = {table: NoiseSpectrum.read(table) for table in set(tables) if table is not None}
    return [None if table is None else read[table] for table in tables]


def _tables_beside(records: Records) -> list[Path | None]:
    """Return the table of each file, or that of the set whose shard it is."""
    files = [file.path for file in records.files]
    return [
        NoiseSpectrum.beside(path) or NoiseSpectrum.beside(output)
        for path, output in zip(files, data_sets(files), strict=True)
    ]


def _require_same_table(files: list[Path], tables: list[Path | None]) -> None:
    content = {table: None if table is None else table.read_bytes() for table in tables}
    for path, table in zip(files, tables, strict=True):
        if content[table] != content[tables[0]]:
            beside = " and ".join("none" if found is None else found.name for found in (tables[0], table))
            raise UserError(
                f"{files[0]} and {path} have not the same noise spectrum beside them ({beside}): read them on their "
                f"own, name one for all (`{WHITE}` for none), or tell a network the spectrum (model.condition)"
            )


def table_for(records: Records) -> Path:
    """Return where the spectrum of records goes. Raises UserError where they are of several data sets."""
    first, *others = dict.fromkeys(data_sets(file.path for file in records.files))
    if others:
        raise UserError(
            f"the records are of {1 + len(others)} data sets, {first} and others: say with --output where their "
            "spectrum goes"
        )
    return spectrum_path(first)


def measure_noise(records: Records, output: Path, segment: int = SEGMENT) -> int:
    """Estimate the spectrum of records without signal, write it, and return how many records it is made of.

    Welch, IEEE Trans. Audio Electroacoust. 15 (1967) 70: the mean power of Hann-windowed segments that overlap by half.
    relative_power is over the records' nominal density; its error follows from its scatter between records.
    Raises UserError for few records, for segments that do not fit, and where records hold lines, which noise has not.
    """
    if len(records) < _FEWEST:
        raise UserError(f"{len(records)} records are too few for a spectrum of noise: {_FEWEST} or more are needed")
    if not 8 <= segment <= records.samples:
        raise UserError(f"--segment {segment} must lie in 8 to the {records.samples} samples of a record")
    count, total, squares = 0, np.zeros(segment), np.zeros(segment)
    for rows in np.array_split(np.arange(len(records)), range(_ROWS_AT_ONCE, len(records), _ROWS_AT_ONCE)):
        power = _welch(rows, segment, records)
        count, total, squares = count + len(power), total + power.sum(0), squares + np.square(power).sum(0)
    mean = total / count
    error = np.sqrt(np.maximum(squares / count - mean**2, 0.0) / (count - 1))
    order = np.argsort(np.fft.fftfreq(segment))
    frequency, nominal = np.fft.fftfreq(segment, 1 / records.sampling_rate_hz), records.noise_density_w_per_hz
    columns = [values[order] for values in (frequency, mean / nominal, error / nominal, mean)]
    rows_of_text = [",".join(f"{value:.10g}" for value in row) for row in zip(*columns, strict=True)]
    write_whole(output, ("\n".join([",".join(COLUMNS), *rows_of_text]) + "\n").encode())
    return count


def _welch(rows: NDArray[Any], segment: int, records: Records) -> Array:
    """Return the density of each record in W/Hz, (row, bin) in FFT order."""
    from scipy import signal

    series = records.read_series(rows)
    volts = series[..., 0].astype(np.complex128) + 1j * series[..., 1]
    rate = records.sampling_rate_hz
    _, power = signal.welch(volts, rate, "hann", segment, detrend=False, return_onesided=False, axis=-1)
    _require_no_lines(_whitened(volts, np.median(power, axis=0)), rows, records)
    return np.asarray(power / RESISTANCE_OHM, np.float64)


def _whitened(volts: NDArray[np.complex128], power: Array) -> NDArray[np.complex128]:
    """Return records over what their noise is like, (bin,) in FFT order: loud parts of a spectrum are no lines."""
    samples, order = volts.shape[1], np.argsort(np.fft.fftfreq(len(power)))
    known = np.fft.fftfreq(len(power))[order]
    wanted = np.interp(np.fft.fftfreq(samples), known, power[order], period=1.0)
    least = np.finfo(np.float64).tiny
    return np.asarray(np.fft.ifft(np.fft.fft(volts, axis=1) / np.sqrt(np.maximum(wanted, least)), axis=1))


def _require_no_lines(volts: NDArray[np.complex128], rows: NDArray[Any], records: Records) -> None:
    lines = strongest_lines(volts.real, volts.imag)
    if np.isfinite(lines).sum() > max(1.0, _RECORDS_WITH_LINES * len(rows)):
        row = int(np.flatnonzero(np.isfinite(lines))[0])
        raise UserError(
            f"{int(np.isfinite(lines).sum())} of {len(rows)} records have a line that noise has not, the first of them "
            f"{records.describe(int(rows[row]))}, at {lines[row] * records.sampling_rate_hz / 1e6:.3g} MHz after "
            "mixing: take records without signal"
        )
