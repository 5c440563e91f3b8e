"""The only place that knows names, units and dtypes on disk: pickles, HDF5 files and prediction tables alike.

Columns keep the collaboration's spelling on disk (`energy_eV`); Python names and prediction tables use lower case
(`energy_ev`). Scalars are float64 or int64: a 25.9 GHz carrier in float32 is off by up to 0.9 kHz (0.02 eV).
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from reconstruction.schema import CLASS_CODE as CLASS_CODE
from reconstruction.schema import CLASS_PROBABILITY as CLASS_PROBABILITY
from reconstruction.schema import CONTENT_HASH as CONTENT_HASH
from reconstruction.schema import EVENT_ID as EVENT_ID
from reconstruction.schema import POSTERIOR_CHOLESKY as POSTERIOR_CHOLESKY
from reconstruction.schema import POSTERIOR_COLUMNS as POSTERIOR_COLUMNS
from reconstruction.schema import POSTERIOR_LEVEL as POSTERIOR_LEVEL
from reconstruction.schema import POSTERIOR_MEAN as POSTERIOR_MEAN
from reconstruction.schema import POSTERIOR_QUANTILE as POSTERIOR_QUANTILE
from reconstruction.schema import POSTERIOR_WEIGHT as POSTERIOR_WEIGHT
from reconstruction.schema import SCHEMA_VERSION as SCHEMA_VERSION
from reconstruction.schema import SPLIT as SPLIT
from reconstruction.schema import SPLITS as SPLITS
from reconstruction.schema import interval95_names as interval95_names
from reconstruction.schema import log_density_name as log_density_name
from reconstruction.schema import prediction_name as prediction_name
from reconstruction.schema import spread_name as spread_name
from reconstruction.schema import std_name as std_name
from reconstruction.schema import truth_name as truth_name
from reconstruction.system import Column

# Documented defaults for files that do not say (public numbers of the 26 GHz cavity).
DEFAULT_SAMPLING_RATE_HZ = 403e6
DEFAULT_LO_FREQUENCY_HZ = 25.9702e9

SERIES_I = "output_ts_I"
SERIES_Q = "output_ts_Q"
SERIES_COLUMNS = (SERIES_I, SERIES_Q)
ENERGY = "energy_eV"
PITCH_ANGLE = "pitch_angle_deg"
RADIUS = "radius_m"
AXIAL_FREQUENCY = "avg_axial_frequency_Hz"
CARRIER_FREQUENCY = "avg_carrier_frequency_Hz"
START_CARRIER_FREQUENCY = "start_carrier_frequency_Hz"
VALID_SAMPLES = "valid_samples"
"""Samples of a record that were taken, from its start; what lies behind is padding. Absent: all of them."""


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
    Column(VALID_SAMPLES, "", "int64", 1.0, 2.0**63, "samples that were taken; behind them is padding", "samples"),
    Column("start_phase_rad", "rad", "float64", -1e9, 1e9, "cyclotron phase at the first sample", "start phase"),
    Column("axial_phase_rad", "rad", "float64", -1e9, 1e9, "phase of the axial motion at the start", "axial phase"),
    Column("azimuth_rad", "rad", "float64", -1e9, 1e9, "azimuth of the guiding centre at the start", "azimuth"),
    Column("signal_snr", "", "float64", 0.0, 1e12, "matched-filter SNR of all lines at nominal noise", "SNR"),
    Column("sideband_snr", "", "float64", 0.0, 1e12, "matched-filter SNR without the carrier", "sideband SNR"),
    Column(
        "record_kind", "", "int64", 0.0, 3.0, "0: no electron, 1: one, 2: two, 3: one that scattered", "kind of record"
    ),
)
COLUMNS: dict[str, Column] = {column.name: column for column in _KNOWN}

REQUIRED_COLUMNS = SERIES_COLUMNS


def series_columns(channel: int = 0) -> tuple[str, str]:
    """Return the names of I and Q of a read-out channel; those of channels 1, 2, … have its number behind."""
    suffix = f"_{channel}" if channel else ""
    return SERIES_I + suffix, SERIES_Q + suffix


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
