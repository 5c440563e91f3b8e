"""Several read-out channels of one cavity: each sees the mode's amplitude times its own complex factor.

A TE0np mode is the same at every azimuth, so that only a probe's place along the axis, its gain and its phase count.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cres import schema
from cres.errors import UserError


@dataclass(frozen=True)
class ChannelConfig:
    """One more read-out channel beside channel 0 (the port that `readout.gain` describes).

    gain: power over that of channel 0, for a probe at the mode's antinode; phase_deg: of its voltage against channel 0;
    axial_m: place of the probe along the cavity, from its centre (none: at an antinode); noise_scale: its noise density
    over that of channel 0. Its noise is independent: data carry none, see `docs/howto/apparatus.md`.
    """

    gain: float = 1.0
    phase_deg: float = 0.0
    axial_m: float | None = None
    noise_scale: float = 1.0

    def __post_init__(self) -> None:
        if not (self.gain > 0 and self.noise_scale > 0):
            raise UserError(
                f"more_channels: gain and noise_scale must be positive, not {self.gain!r} and {self.noise_scale!r}"
            )

    def factor(self, cavity_length_m: float, axial_index: int) -> complex:
        """Return its voltage over that of channel 0: √gain · sin(pπ(z + L/2)/L) · e^{iφ}."""
        profile = 1.0
        if self.axial_m is not None:
            profile = math.sin(axial_index * math.pi * (self.axial_m / cavity_length_m + 0.5))
        return cmath.rect(math.sqrt(self.gain) * profile, math.radians(self.phase_deg))


def channel_columns(
    factors: list[complex], series_i: NDArray[np.float32], series_q: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """Return the series of channels 1, 2, … under their names (`output_ts_I_1` …), like those of channel 0."""
    columns = {}
    for channel, factor in enumerate(factors, 1):
        real, imaginary = np.float32(factor.real), np.float32(factor.imag)
        name_i, name_q = schema.series_columns(channel)
        columns[name_i] = real * series_i - imaginary * series_q
        columns[name_q] = real * series_q + imaginary * series_i
    return columns
