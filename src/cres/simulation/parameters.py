"""The six parameters of an electron's record: their names, their units, their one order."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

PARAMETERS = ("energy_ev", "pitch_angle_deg", "radius_m", "start_phase_rad", "axial_phase_rad", "amplitude")
"""Order of the columns of `parameters` (batch, 6)."""
ENERGY, PITCH, RADIUS, START_PHASE, AXIAL_PHASE, AMPLITUDE = range(len(PARAMETERS))
"""The columns, for what is indexed by number."""


def parameter_rows(
    energy_ev: Any,
    pitch_angle_deg: Any,
    radius_m: Any,
    start_phase_rad: Any = 0.0,
    axial_phase_rad: Any = 0.0,
    amplitude: Any = 1.0,
    *,
    device: torch.device | str | None = None,
) -> Float[Tensor, "*batch 6"]:
    """Return parameters as rows, float64; each is a number, an array or a tensor, and they broadcast.

    device: of the result; by default that of the tensors.
    """
    values = (energy_ev, pitch_angle_deg, radius_m, start_phase_rad, axial_phase_rad, amplitude)
    if device is None:
        device = next((value.device for value in values if isinstance(value, Tensor)), None)
    columns = [
        value.to(device, torch.float64)
        if isinstance(value, Tensor)
        else torch.tensor(np.asarray(value, np.float64), device=device)
        for value in values
    ]
    return torch.stack(torch.broadcast_tensors(*columns), -1)


def parameters_of(electrons: Any) -> Float[Tensor, "batch 6"]:
    """Return the parameters of electrons that hold each under its name, `Electrons` or `Start` values."""
    return parameter_rows(**{name: getattr(electrons, name) for name in PARAMETERS})
