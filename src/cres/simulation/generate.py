"""Electrons → columns, fast: tracks in float64, their phases reduced to one turn, samples in float32."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cres import schema
from cres.simulation.config import SimulationConfig
from cres.simulation.electrons import Electrons
from cres.simulation.motion import Start
from cres.simulation.track import Track, TrackModel

BLOCK = 64
"""Electrons whose tables are made together."""


class Generator:
    """Makes records of one apparatus. Holds no state between calls."""

    def __init__(self, config: SimulationConfig) -> None:
        self.config = config
        self.model = TrackModel(config)
        self.time_s = np.arange(config.readout.samples) / config.readout.sampling_rate_hz

    def columns(self, electrons: Electrons) -> dict[str, NDArray[Any]]:
        """Return all columns of the electrons; series float32 (rows, samples) volts, noiseless."""
        rows, samples = len(electrons), self.config.readout.samples
        series_i = np.empty((rows, samples), np.float32)
        series_q = np.empty((rows, samples), np.float32)
        parts = []
        for begin in range(0, rows, BLOCK):
            block = slice(begin, min(begin + BLOCK, rows))
            parts.append(self._block(electrons[block], series_i[block], series_q[block]))
        scalars = {name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else {})}
        return {schema.SERIES_I: series_i, schema.SERIES_Q: series_q, **scalars}

    def _block(self, electrons: Electrons, series_i: NDArray[Any], series_q: NDArray[Any]) -> dict[str, NDArray[Any]]:
        track = self._track(electrons)
        cubics = hermite_cubics(track.envelope, track.slope, 2 * math.pi / (self.model.fold * self.model.table))
        phase, axial = track.phase.numpy(), track.axial.numpy()
        sums = [
            self._record(phase[i], axial[i], cubics[i] * np.float32(electrons.amplitude[i]), series_i[i], series_q[i])
            for i in range(len(electrons))
        ]
        return {**start_columns(electrons), **self._frequencies(track), **self._snr(np.array(sums).reshape(-1, 2))}

    @torch.no_grad()
    def _track(self, electrons: Electrons) -> Track:
        start = Start(
            torch.from_numpy(electrons.energy_ev),
            torch.from_numpy(np.deg2rad(electrons.pitch_angle_deg)),
            torch.from_numpy(electrons.radius_m),
        )
        phases = torch.from_numpy(electrons.start_phase_rad), torch.from_numpy(electrons.axial_phase_rad)
        return self.model.track(start, *phases)

    def _record(
        self,
        phase: NDArray[np.float64],
        axial: NDArray[np.float64],
        cubics: NDArray[np.complex64],
        series_i: NDArray[np.float32],
        series_q: NDArray[np.float32],
    ) -> tuple[float, float]:
        """Fill one record; return the energy |Σh|²/n of its carrier, a chirped tone, and that of all the rest."""
        time = self.time_s
        cycles = ((phase[2] * time + phase[1]) * time + phase[0]) * (1 / (2 * math.pi))
        cycles -= np.rint(cycles)
        angle = cycles.astype(np.float32) * np.float32(2 * math.pi)
        place = ((axial[2] * time + axial[1]) * time + axial[0]) * (self.model.fold * self.model.table / (2 * math.pi))
        whole = np.floor(place)
        part = (place - whole).astype(np.float32)
        cubic = np.take(cubics, whole.astype(np.int64) % self.model.table, axis=0)
        envelope = ((cubic[:, 3] * part + cubic[:, 2]) * part + cubic[:, 1]) * part + cubic[:, 0]
        cosine, sine = np.cos(angle), np.sin(angle)
        real, imaginary = envelope.real, envelope.imag
        np.subtract(real * cosine, imaginary * sine, out=series_i)
        np.add(real * sine, imaginary * cosine, out=series_q)
        mean = envelope.mean(dtype=np.complex128)
        rest = envelope - np.complex64(mean)
        return len(time) * abs(mean) ** 2, float(np.vdot(rest, rest).real)

    def _frequencies(self, track: Track) -> dict[str, NDArray[np.float64]]:
        """Mean carrier and axial frequency of the record and of the first axial period, before mixing."""
        duration = self.config.readout.duration_s
        _, carrier, carrier_bend = track.phase.numpy().T
        _, axial, axial_bend = track.axial.numpy().T
        first_period = np.minimum(2 * math.pi / np.maximum(axial, 2 * math.pi / duration), duration)
        lo = self.config.readout.lo_frequency_hz
        return {
            schema.AXIAL_FREQUENCY: (axial + axial_bend * duration) / (2 * math.pi),
            schema.CARRIER_FREQUENCY: lo + (carrier + carrier_bend * duration) / (2 * math.pi),
            schema.START_CARRIER_FREQUENCY: lo + (carrier + carrier_bend * first_period) / (2 * math.pi),
        }

    def _snr(self, energies: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Matched-filter SNR Σ|s|²/σ_c² at nominal noise: all lines, and without the best single chirped tone."""
        variance = self.config.readout.complex_noise_variance
        tone, rest = energies.T
        return {"signal_snr": (tone + rest) / variance, "sideband_snr": rest / variance}


def hermite_cubics(envelope: torch.Tensor, slope: torch.Tensor, step: float) -> NDArray[np.complex64]:
    """Return the cubic of each interval of periodic tables, (batch, table, 4) ascending powers of the place in it."""
    here, rise = envelope.numpy(), slope.numpy() * step
    there, rise_there = np.roll(here, -1, axis=1), np.roll(rise, -1, axis=1)
    jump = there - here
    powers = (here, rise, 3 * jump - 2 * rise - rise_there, rise + rise_there - 2 * jump)
    return np.stack(powers, axis=-1).astype(np.complex64)


def start_columns(electrons: Electrons) -> dict[str, NDArray[Any]]:
    """Return the start values under their names on disk."""
    return {
        schema.EVENT_ID: electrons.event_id,
        schema.ENERGY: electrons.energy_ev,
        schema.PITCH_ANGLE: electrons.pitch_angle_deg,
        schema.RADIUS: electrons.radius_m,
        "azimuth_rad": electrons.azimuth_rad,
        "start_phase_rad": electrons.start_phase_rad,
        "axial_phase_rad": electrons.axial_phase_rad,
    }


def simulate_columns(config: SimulationConfig, electrons: Electrons) -> dict[str, NDArray[Any]]:
    """Return all columns of the electrons under their names on disk; series float32 (rows, samples) volts, noiseless.

    Frequencies are those before mixing. `signal_snr` is Σ|s|²/σ_c² at the nominal noise, `sideband_snr` the same less
    the projection on the carrier's chirped tone.
    """
    return Generator(config).columns(electrons)
