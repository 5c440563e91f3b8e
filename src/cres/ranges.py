"""What numbers may be: those that every part shares, and options that only records of electrons have."""

from __future__ import annotations

from reconstruction.ranges import COUNT as COUNT
from reconstruction.ranges import FINITE as FINITE
from reconstruction.ranges import LARGE as LARGE
from reconstruction.ranges import NOT_NEGATIVE as NOT_NEGATIVE
from reconstruction.ranges import POSITIVE as POSITIVE
from reconstruction.ranges import PROBABILITY as PROBABILITY
from reconstruction.ranges import SEED as SEED
from reconstruction.ranges import SHARE as SHARE
from reconstruction.ranges import SIZE as SIZE
from reconstruction.ranges import Allowed as Allowed

NOISE_SCALE = Allowed(0, 1e12)
"""Noise power over nominal: what is added to float32 volts stays finite."""

RANGES: dict[str, Allowed] = {
    **dict.fromkeys(
        ("sampling_rate_hz", "scale_volt", "half_width_hz", "resistance_ohm", "loaded_q", "unloaded_q", "q",
         "resonance_hz", "lo_frequency_hz", "period_hz", "range_volt"),
        POSITIVE,
    ),
    **dict.fromkeys(
        ("density_w_per_hz", "temperature_k", "cavity_temperature_k", "circulator_temperature_k",
         "amplifier_temperature_k", "linewidth_hz", "power_w", "spread_hz", "gain_std", "gain_drift_std",
         "phase_drift_std_rad", "gain"),
        NOT_NEGATIVE,
    ),
    **dict.fromkeys(
        ("band_hz", "shift_hz", "frequency_hz", "phase_rad", "band_centre_hz", "modes", "rise_hz_per_s"), FINITE
    ),
    **dict.fromkeys(("window_samples", "stream_electrons", "windows", "chunk"), SIZE),
    **dict.fromkeys(("order", "frequencies", "times", "length", "hop"), SIZE),
    "window_start": COUNT,
    "bits": Allowed(1, 32),
    "carrier_bins": Allowed(1, 1000),
    "parts": Allowed(2, 16),
    "comb": Allowed(1, 64),
}  # fmt: skip
"""Name of an option of views, noise or data → what its numbers may be."""
