"""Columns that follow from a track: frequencies and signal-to-noise ratios, in torch, on any device."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from cres import schema
from cres.simulation.config import ReadoutConfig
from reconstruction.shapes import PerRow


def frequency_columns(
    readout: ReadoutConfig, phase: Float[Tensor, "batch 3"], axial: Float[Tensor, "batch 3"]
) -> dict[str, Tensor]:
    """Return mean carrier and axial frequency of the record and of the first axial period, before mixing.

    phase, axial: polynomials of a track of one piece (see `track.Track`).
    """
    duration = readout.duration_s
    return {
        schema.AXIAL_FREQUENCY: (axial[:, 1] + axial[:, 2] * duration) / (2 * math.pi),
        schema.CARRIER_FREQUENCY: readout.lo_frequency_hz + (phase[:, 1] + phase[:, 2] * duration) / (2 * math.pi),
        schema.START_CARRIER_FREQUENCY: start_carrier_hz(readout, phase, axial),
    }


def start_carrier_hz(
    readout: ReadoutConfig, phase: Float[Tensor, "batch powers"], axial: Float[Tensor, "batch powers"]
) -> PerRow:
    """Return the mean carrier of the first axial period, before mixing; of the record where that is shorter."""
    duration = readout.duration_s
    period = torch.clamp(2 * math.pi / axial[:, 1].clamp(min=2 * math.pi / duration), max=duration)
    return readout.lo_frequency_hz + (phase[:, 1] + phase[:, 2] * period) / (2 * math.pi)


def snr_columns(readout: ReadoutConfig, tone: PerRow, rest: PerRow) -> dict[str, Tensor]:
    """Return the matched-filter SNR Σ|s|²/σ_c² at nominal noise: of all lines, and without the best chirped tone.

    tone, rest: Σ|s|² of the carrier and of all other lines, volts squared.
    """
    variance = readout.complex_noise_variance
    return {"signal_snr": (tone + rest) / variance, "sideband_snr": rest / variance}
