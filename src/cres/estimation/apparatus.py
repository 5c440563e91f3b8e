"""One apparatus as the likelihood sees it: forward model, trap, read-out, noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cres.estimation.forward import LineModel
from cres.physics import Trap
from cres.simulation.config import SimulationConfig
from cres.simulation.forward import ForwardModel
from cres.simulation.trapping import make_trap

Array = NDArray[np.float64]
TYPICAL_RADIUS_M = 3.4e-3
LARGEST_PITCH_DEG = 89.9995
"""Beyond it an electron moves by a few millimetres within a record: no template, start or fit goes there."""


@dataclass(frozen=True)
class Reception:
    """What estimators must know of the read-out."""

    lo_frequency_hz: float
    sampling_rate_hz: float
    samples: int

    @property
    def middle_s(self) -> float:
        """Time from the first sample to the middle of the record."""
        return (self.samples - 1) / 2 / self.sampling_rate_hz

    @property
    def bin_hz(self) -> float:
        """Natural frequency resolution 1/T."""
        return self.sampling_rate_hz / self.samples


@dataclass(frozen=True)
class Apparatus:
    """What estimators know. Frequencies of carriers are after mixing wherever `band_hz` is meant."""

    model: LineModel
    trap: Trap
    reception: Reception
    noise_std_volt: float
    """Of I and of Q."""
    energies_ev: tuple[float, float]
    pitch_angles_deg: tuple[float, float]
    largest_radius_m: float
    gain_std: float = 0.0
    """Relative standard deviation of what is known of the power gain."""
    smallest_radius_m: float = 0.0

    @classmethod
    def from_config(
        cls, config: SimulationConfig, noise_scale: float = 1.0, device: torch.device | str = "cpu"
    ) -> Apparatus:
        """Return the apparatus of a simulation configuration with its nominal noise times `noise_scale` in power."""
        readout = config.readout
        return cls(
            ForwardModel(config).to(device),
            make_trap(config.trap),
            Reception(readout.lo_frequency_hz, readout.sampling_rate_hz, readout.samples),
            math.sqrt(noise_scale * readout.complex_noise_variance / 2),
            config.ensemble.energy_ev,
            config.ensemble.pitch_angle_deg,
            config.ensemble.radius_m[1],
            readout.gain_std,
            config.ensemble.radius_m[0],
        )

    @property
    def device(self) -> torch.device:
        """Where the forward model is, and with it all that estimators make."""
        return self.model.time_s.device

    @property
    def middle_energy_ev(self) -> float:
        """Middle of the energy window."""
        return sum(self.energies_ev) / 2
