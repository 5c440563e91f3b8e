"""Which electrons are resolved, and what is asked of their energies."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reconstruction.system import Goal, Group

RESOLVED: Final = Group(
    "resolved",
    column="sideband_snr",
    minimum=25.0,
    words="sideband SNR of 25 or more",
    why="below, no estimator can tell energy from pitch angle",
)
"""Electrons whose sidebands carry at least this matched-filter SNR; below, no estimator can do it."""

ENERGY_GOAL: Final = Goal(near=3.0, rms=0.3)
"""Energies this close to the truth count as near, in eV; the resolution that the experiment plans for."""


def resolved_mask(sideband_snr: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which electrons are resolved, (rows,)."""
    return RESOLVED.mask(sideband_snr)
