"""Several read-out channels of one cavity: each sees the modes' amplitudes times its own complex factors.

A TE0np mode is the same at every azimuth, so that only a probe's place along the axis, its gain and its phase count.
One mode, or a probe that sees what channel 0 sees, makes channel 0's record times a factor; any other is a record of
its own.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cres import schema
from cres.errors import UserError
from cres.physics.modes import ComplexArray
from cres.simulation.cavity_config import CavityConfig

if TYPE_CHECKING:
    from cres.simulation.config import SimulationConfig


@dataclass(frozen=True)
class ChannelConfig:
    """One more read-out channel beside channel 0 (the port that `readout.gain` describes).

    gain: power over that of channel 0, for a probe at the mode's antinode; phase_deg: of its voltage against channel 0;
    axial_m: place of the probe along the cavity, from its centre (none: at an antinode); noise_scale: its noise density
    over that of channel 0. Its noise is independent: data carry none, see `docs/howto/apparatus.md`. port: number of
    the port in `cavity.ports` that it reads in place of a weak probe (−1: none).
    """

    gain: float = 1.0
    phase_deg: float = 0.0
    axial_m: float | None = None
    noise_scale: float = 1.0
    port: int = -1

    def __post_init__(self) -> None:
        if self.port >= 0 and self.axial_m is not None:
            raise UserError("more_channels: a channel reads a port, or a probe at axial_m: give one of them")
        if not (self.gain > 0 and self.noise_scale > 0):
            raise UserError(
                f"more_channels: gain and noise_scale must be positive, not {self.gain!r} and {self.noise_scale!r}"
            )

    def couplings(self, cavity: CavityConfig) -> ComplexArray:
        """Return what the channel sees of the modes, (mode,): √gain e^{iφ} times the couplings of its port or probe."""
        if self.port >= 0:
            seen = cavity.couplings[self.port]
        elif self.axial_m is None:
            seen = cavity.couplings[0]
        else:
            seen = cavity.probe_couplings(self.axial_m)
        return np.asarray(seen * cmath.rect(math.sqrt(self.gain), math.radians(self.phase_deg)))


def seen_modes(config: SimulationConfig, channel: int) -> ComplexArray:
    """Return what a read-out channel sees of the modes, (mode,); channel 0 reads the first port."""
    return config.more_channels[channel - 1].couplings(config.cavity) if channel else config.cavity.couplings[0]


def channel_factors(config: SimulationConfig) -> list[complex | None]:
    """Return what channels 1, 2, … see over what channel 0 sees; none where it is not the same sum of modes."""
    first = seen_modes(config, 0)
    strongest = int(np.abs(first).argmax())
    factors: list[complex | None] = []
    for channel in range(1, 1 + len(config.more_channels)):
        seen = seen_modes(config, channel)
        factor = complex(seen[strongest] / first[strongest]) if first[strongest] != 0 else 0j
        factors.append(factor if np.allclose(seen, factor * first, rtol=0, atol=1e-12) else None)
    return factors


def channel_columns(
    channel: int, factor: complex, series_i: NDArray[np.float32], series_q: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """Return the series of a channel under their names (`output_ts_I_1` …): those of channel 0 times a factor."""
    real, imaginary = np.float32(factor.real), np.float32(factor.imag)
    name_i, name_q = schema.series_columns(channel)
    return {name_i: real * series_i - imaginary * series_q, name_q: real * series_q + imaginary * series_i}
