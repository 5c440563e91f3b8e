"""The only place that knows names, units and dtypes on disk: pickles, HDF5 files and prediction tables alike.

Columns keep the collaboration's spelling on disk (`energy_eV`); Python names and prediction tables use lower case
(`energy_ev`). Scalars are float64 or int64: a 25.9 GHz carrier in float32 is off by up to 0.9 kHz (0.02 eV).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SCHEMA_VERSION = 1

# Documented defaults for files that do not say (public numbers of the 26 GHz cavity).
DEFAULT_SAMPLING_RATE_HZ = 403e6
DEFAULT_LO_FREQUENCY_HZ = 25.9702e9

SERIES_I = "output_ts_I"
SERIES_Q = "output_ts_Q"
SERIES_COLUMNS = (SERIES_I, SERIES_Q)
EVENT_ID = "event_id"
CONTENT_HASH = "content_hash"
ENERGY = "energy_eV"
PITCH_ANGLE = "pitch_angle_deg"
RADIUS = "radius_m"
AXIAL_FREQUENCY = "avg_axial_frequency_Hz"
CARRIER_FREQUENCY = "avg_carrier_frequency_Hz"
START_CARRIER_FREQUENCY = "start_carrier_frequency_Hz"


@dataclass(frozen=True)
class Column:
    """One column: its name on disk, unit, dtype on disk and the range outside which a value is implausible."""

    name: str
    unit: str
    dtype: str
    minimum: float
    maximum: float
    meaning: str
    plain: str
    """How a person calls it, for axis labels: 'energy', 'pitch angle'."""


_KNOWN = (
    Column(SERIES_I, "V", "float32", -1e6, 1e6, "in-phase voltage, noiseless", "I"),
    Column(SERIES_Q, "V", "float32", -1e6, 1e6, "quadrature voltage, noiseless", "Q"),
    Column(EVENT_ID, "", "int64", -(2.0**63), 2.0**63, "identity of the electron", "event"),
    Column(CONTENT_HASH, "", "int64", -(2.0**63), 2.0**63, "hash of the series, made by preparation", "content hash"),
    Column(ENERGY, "eV", "float64", 100.0, 1e6, "kinetic energy at the start", "energy"),
    Column(PITCH_ANGLE, "deg", "float64", 5.0, 175.0, "pitch angle at the trap centre at the start", "pitch angle"),
    Column(RADIUS, "m", "float64", 0.0, 2.0, "guiding-centre radius at the start", "radius"),
    Column(AXIAL_FREQUENCY, "Hz", "float64", 0.0, 1e9, "axial frequency averaged over the track", "axial frequency"),
    Column(CARRIER_FREQUENCY, "Hz", "float64", 1e8, 1e12, "carrier before mixing, averaged over the track", "carrier"),
    Column(
        START_CARRIER_FREQUENCY, "Hz", "float64", 1e8, 1e12, "carrier before mixing, first axial turn", "start carrier"
    ),
    Column("start_phase_rad", "rad", "float64", -1e9, 1e9, "cyclotron phase at the first sample", "start phase"),
    Column("axial_phase_rad", "rad", "float64", -1e9, 1e9, "phase of the axial motion at the start", "axial phase"),
    Column("azimuth_rad", "rad", "float64", -1e9, 1e9, "azimuth of the guiding centre at the start", "azimuth"),
    Column("signal_snr", "", "float64", 0.0, 1e12, "matched-filter SNR of all lines at nominal noise", "SNR"),
    Column("sideband_snr", "", "float64", 0.0, 1e12, "matched-filter SNR without the carrier", "sideband SNR"),
)
COLUMNS: dict[str, Column] = {column.name: column for column in _KNOWN}

REQUIRED_COLUMNS = SERIES_COLUMNS


def series_columns(channel: int = 0) -> tuple[str, str]:
    """Return the names of I and Q of a read-out channel; those of channels 1, 2, … have its number behind."""
    suffix = f"_{channel}" if channel else ""
    return SERIES_I + suffix, SERIES_Q + suffix


SPLIT = "split"
"""Column of a predictions table: the part of its estimator's data that an electron was in, as a code of `SPLITS`."""
SPLITS = {"train": 0, "validation": 1, "test": 2, "new": 3, "unknown": -1}
"""Name → code. "new": in none of the parts; "unknown": whoever made the table could not tell."""

TRUTH_COLUMNS = (ENERGY, PITCH_ANGLE, RADIUS)
DEFAULT_TARGETS = (ENERGY, PITCH_ANGLE)

# Root attributes of our HDF5 files.
ATTRIBUTES = (
    "schema_version",
    "sampling_rate_hz",
    "lo_frequency_hz",
    "created_by",
    "git_commit",
    "config",
    "seed",
    "sources",
)


def content_event_ids(series_i: NDArray[np.floating], series_q: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the identity of electrons made from their content, (rows, samples) each in, (rows,) int64 out.

    The hash is taken over the float32 volts, so that a file and its float64 twin name the same electron.
    """
    pairs = zip(np.ascontiguousarray(series_i, "<f4"), np.ascontiguousarray(series_q, "<f4"), strict=True)
    return np.array([_content_event_id(i, q) for i, q in pairs], dtype=np.int64)


def _content_event_id(volts_i: NDArray[np.float32], volts_q: NDArray[np.float32]) -> int:
    digest = hashlib.blake2b(volts_i.data, digest_size=8)
    digest.update(volts_q.data)
    return int.from_bytes(digest.digest(), "little") >> 1


# Prediction tables ------------------------------------------------------------------------------------------------


def prediction_name(column: str) -> str:
    """Return the name of an estimated quantity in a predictions table: energy_eV → energy_ev."""
    return column.lower()


def std_name(column: str) -> str:
    """Return the name of its standard deviation: energy_eV → energy_std_ev."""
    stem, _, unit = prediction_name(column).rpartition("_")
    return f"{stem}_std_{unit}" if stem else f"{unit}_std"


def spread_name(column: str) -> str:
    """Return the name of the standard deviation with all tails and modes: energy_eV → energy_spread_ev.

    The error bar `std_name` is half the central 68.27 %; an electron whose spread is much larger may be an outlier.
    """
    stem, _, unit = prediction_name(column).rpartition("_")
    return f"{stem}_spread_{unit}" if stem else f"{unit}_spread"


def interval95_names(column: str) -> tuple[str, str]:
    """Return the names of the ends of its central 95.45 %: energy_eV → energy_low95_ev, energy_high95_ev.

    An estimator that does not state them means two error bars to either side.
    """
    stem, _, unit = prediction_name(column).rpartition("_")
    return (f"{stem}_low95_{unit}", f"{stem}_high95_{unit}") if stem else (f"{unit}_low95", f"{unit}_high95")


def log_density_name(column: str) -> str:
    """Return the name of the logarithm of its stated density at the truth: energy_eV → energy_log_density_per_ev."""
    stem, _, unit = prediction_name(column).rpartition("_")
    return f"{stem}_log_density_per_{unit}" if stem else f"{unit}_log_density"


POSTERIOR_WEIGHT = "posterior_weight"
POSTERIOR_MEAN = "posterior_mean"
POSTERIOR_CHOLESKY = "posterior_cholesky"
"""Columns of a whole posterior that is a mixture of Gaussians: weights (rows, k), means (rows, k, t), Cholesky factors
(rows, k, t, t) of the covariances, in the units and the order of the targets."""
POSTERIOR_LEVEL = "posterior_level"
POSTERIOR_QUANTILE = "posterior_quantile"
"""Columns of a posterior given by quantiles of each target: levels (rows, q), rising, and values (rows, t, q)."""
POSTERIOR_COLUMNS = (POSTERIOR_WEIGHT, POSTERIOR_MEAN, POSTERIOR_CHOLESKY, POSTERIOR_LEVEL, POSTERIOR_QUANTILE)


def truth_name(column: str) -> str:
    """Return the name of its true value: energy_eV → true_energy_ev."""
    return f"true_{prediction_name(column)}"
