"""How columns of tables are called, whatever they hold: estimate, error bar, interval, truth, posterior, and the split.

A quantity's name ends with its unit (`energy_eV`); tables use lower case (`energy_ev`, `energy_std_ev`).
"""

from __future__ import annotations

SCHEMA_VERSION = 1
EVENT_ID = "event_id"
CONTENT_HASH = "content_hash"

SPLIT = "split"
"""Column of a predictions table: the part of its estimator's data that a row was in, as a code of `SPLITS`."""
SPLITS = {"train": 0, "validation": 1, "test": 2, "new": 3, "unknown": -1}
"""Name → code. "new": in none of the parts; "unknown": whoever made the table could not tell."""


def prediction_name(column: str) -> str:
    """Return the name of an estimated quantity in a predictions table: energy_eV → energy_ev."""
    return column.lower()


def std_name(column: str) -> str:
    """Return the name of its standard deviation: energy_eV → energy_std_ev."""
    stem, _, unit = prediction_name(column).rpartition("_")
    return f"{stem}_std_{unit}" if stem else f"{unit}_std"


def spread_name(column: str) -> str:
    """Return the name of the standard deviation with all tails and modes: energy_eV → energy_spread_ev.

    The error bar `std_name` is half the central 68.27 %; a row whose spread is much larger may be an outlier.
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


CLASS_CODE = "class_code"
CLASS_PROBABILITY = "class_probability"
"""What a head that classifies states of each row: codes (rows, k) and their probabilities (rows, k)."""


def probability_name(name: str) -> str:
    """Return the column of the probability of a class: photon → probability_photon."""
    return f"probability_{name.strip().lower().replace(' ', '_')}"


def truth_name(column: str) -> str:
    """Return the name of its true value: energy_eV → true_energy_ev."""
    return f"true_{prediction_name(column)}"
