"""Noise whose density depends on frequency: from a table, or shaped by the cavity."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cres.errors import UserError
from cres.physics.modes import ModeResponse, mode_response
from cres.transforms.noise import RESISTANCE_OHM, per_event
from cres.transforms.temperature import thermal_density_w_per_hz
from reconstruction.random.keyed import KeyedRandom
from reconstruction.random.transforms import RandomTransform
from reconstruction.shapes import Series

Table = Path | str | Sequence[tuple[float, float]]
Frequencies = Float[Tensor, "bin"]


def read_table(table: Table) -> Float[Tensor, "row 2"]:
    """Return a table (x, y) with ascending x from rows or from a text file of two columns (comma or white space).

    Raises UserError for a file that cannot be read, for numbers that are not finite, and for x that does not ascend.
    """
    rows = _rows_of_file(Path(table)) if isinstance(table, str | Path) else table
    values = torch.as_tensor(np.asarray(rows, dtype=np.float64))
    name = f"the table {table}" if isinstance(table, str | Path) else "the table"
    if values.ndim != 2 or values.shape[1] != 2 or not len(values):
        raise UserError(f"{name} must have rows of two numbers, not shape {tuple(values.shape)}.")
    if not bool(torch.isfinite(values).all()) or bool((values[:, 0].diff() <= 0).any()):
        raise UserError(f"{name} must hold finite numbers, and its first column must ascend.")
    return values


def _rows_of_file(path: Path) -> np.ndarray:
    try:
        text = path.read_text()
        return np.loadtxt(text.replace(",", " ").splitlines(), ndmin=2)
    except (OSError, ValueError) as error:
        raise UserError(f"the table {path} cannot be read as two columns of numbers: {error}.") from error


def interpolate(x: Float[Tensor, "n"], table: Float[Tensor, "row 2"]) -> Float[Tensor, "n"]:
    """Return the table's linear interpolation at x; outside, its end values hold (as `numpy.interp`)."""
    if len(table) == 1:
        return table[0, 1].expand_as(x)
    knots, values = table.T.contiguous()
    upper = torch.searchsorted(knots, x.contiguous()).clamp(1, len(knots) - 1)
    weight = ((x - knots[upper - 1]) / (knots[upper] - knots[upper - 1])).clamp(0, 1)
    return torch.lerp(values[upper - 1], values[upper], weight)


class ShapedNoise(RandomTransform):
    """Add Gaussian noise of density S(f): n_t = N^{−1/2} Σ_k √(R/2 · S(f_k) · scale · f_s) (a_k + i b_k) e^{2πikt/N}.

    a, b standard normal, f_k the record frequencies of the FFT. The density is exact at every bin of the record; the
    noise is stationary on the record's circle, so features of S narrower than 1/T are as wide as a bin. Read-out
    channels get independent noise.
    """

    def __init__(self, sampling_rate_hz: float, resistance_ohm: float = RESISTANCE_OHM) -> None:
        super().__init__()
        if min(sampling_rate_hz, resistance_ohm) <= 0:
            raise UserError("noise needs a positive sampling rate and resistance.")
        self.sampling_rate_hz = sampling_rate_hz
        self.resistance_ohm = resistance_ohm

    @abstractmethod
    def density_w_per_hz(self, frequency_hz: Frequencies) -> Frequencies:
        """Return S at record frequencies (after mixing), float64."""

    def forward(self, series: Series, random: KeyedRandom, scale: float | Tensor = 1.0) -> Series:
        """Return series + noise in the dtype of the series."""
        samples = series.shape[1]
        frequency = torch.fft.fftfreq(samples, 1 / self.sampling_rate_hz, dtype=torch.float64, device=series.device)
        power = self.resistance_ohm / 2 * self.sampling_rate_hz * self.density_w_per_hz(frequency)
        noise = shaped_noise(power, series, random, type(self).__name__)
        return (noise * per_event(scale, series).sqrt()).to(series.dtype).add_(series)


def shaped_noise(power: Tensor, series: Series, random: KeyedRandom, stream: str) -> Series:
    """Return noise, float32, of a power at each bin of the FFT: V², (bin,) for all rows or (batch, bin)."""
    normal = random.normal(series.shape[1], series.shape[2] // 2, 2, stream=stream)
    with torch.autocast(series.device.type, enabled=False):
        coefficients = torch.view_as_complex(normal).mul_(power.sqrt().float().unsqueeze(-1))
        return torch.view_as_real(torch.fft.ifft(coefficients, dim=1, norm="ortho")).flatten(-2)


class ColouredNoise(ShapedNoise):
    """Add Gaussian noise whose density comes from a table (record frequency in Hz, S in W/Hz), linear between rows.

    `table`: rows, or a text file of two columns. Outside the table its end values hold. See `ShapedNoise` for the
    formula.
    """

    table: Tensor

    def __init__(self, sampling_rate_hz: float, table: Table, resistance_ohm: float = RESISTANCE_OHM) -> None:
        super().__init__(sampling_rate_hz, resistance_ohm)
        self.register_buffer("table", read_table(table), persistent=False)
        if bool((self.table[:, 1] < 0).any()):
            raise UserError("a table of noise densities must not hold negative densities.")

    def density_w_per_hz(self, frequency_hz: Frequencies) -> Frequencies:
        """Return the interpolated density."""
        return interpolate(frequency_hz, self.table)


class CavityNoise(ShapedNoise):
    """Add the thermal noise of a cavity read through a circulator, S(f) = gain · k [T_c A(f) + T_0 (1 − A(f)) + T_a].

    A(f) = 4β/(1 + β)² / (1 + δ²), δ = 2Q_L (f/f₀ − 1), β = Q₀/Q_L − 1: the cavity's emissivity, what is left comes
    from the circulator's load (T_0) and is reflected; T_a is the amplifier's own. f is the frequency before mixing.
    With `quantum`, T_c and T_0 are T_eff(T, f) of `effective_temperature_k`.

    modes: several modes in place of one, a row each of resonance in Hz, loaded Q, and amplitude and phase in degrees of
    its coupling to the port that is read (amplitude² is the part of the mode's lost power that leaves there), then to
    any further ports, whose loads are at T_0 too. A = 1 − Σ_j |S_j0|², what a wave into the port leaves in the walls.
    """

    def __init__(
        self,
        sampling_rate_hz: float,
        lo_frequency_hz: float,
        resonance_hz: float = 25.905e9,
        loaded_q: float = 400.0,
        unloaded_q: float = 1060.0,
        cavity_temperature_k: float = 4.0,
        circulator_temperature_k: float = 4.0,
        amplifier_temperature_k: float = 1.0,
        gain: float = 1.0,
        quantum: bool = False,
        resistance_ohm: float = RESISTANCE_OHM,
        modes: Sequence[Sequence[float]] | None = None,
    ) -> None:
        super().__init__(sampling_rate_hz, resistance_ohm)
        self.response = _response(modes) if modes else None
        if not 0 < loaded_q < unloaded_q:
            raise UserError(f"the loaded Q ({loaded_q:g}) must lie between 0 and the unloaded Q ({unloaded_q:g}).")
        self.lo_frequency_hz = lo_frequency_hz
        self.resonance_hz = resonance_hz
        self.loaded_q = loaded_q
        self.coupling = unloaded_q / loaded_q - 1
        self.cavity_temperature_k = cavity_temperature_k
        self.circulator_temperature_k = circulator_temperature_k
        self.amplifier_temperature_k = amplifier_temperature_k
        self.gain = gain
        self.quantum = quantum

    def emissivity(self, frequency_hz: Frequencies) -> Frequencies:
        """Return A at record frequencies: the share of the noise that the cavity's walls emit."""
        if self.response is not None:
            return _absorbed(self.response, frequency_hz + self.lo_frequency_hz)
        detuning = 2 * self.loaded_q * ((frequency_hz + self.lo_frequency_hz) / self.resonance_hz - 1)
        return 4 * self.coupling / (1 + self.coupling) ** 2 / (1 + detuning.square())

    def density_w_per_hz(self, frequency_hz: Frequencies) -> Frequencies:
        """Return the density after gain."""
        absolute_hz = frequency_hz + self.lo_frequency_hz if self.quantum else None
        cavity = thermal_density_w_per_hz(self.cavity_temperature_k, self.gain, absolute_hz)
        circulator = thermal_density_w_per_hz(self.circulator_temperature_k, self.gain, absolute_hz)
        amplifier = thermal_density_w_per_hz(self.amplifier_temperature_k, self.gain)
        return circulator + (cavity - circulator) * self.emissivity(frequency_hz) + amplifier


def _response(modes: Sequence[Sequence[float]]) -> ModeResponse:
    """Return the response of modes given in rows. Raises UserError."""
    lengths = {len(row) for row in modes}
    if len(lengths) != 1 or min(lengths) < 4 or min(lengths) % 2:
        raise UserError("modes need rows of one length: resonance in Hz, loaded Q, amplitude and phase at each port.")
    rows = np.asarray(modes, np.float64)
    couplings = (rows[:, 2::2] * np.exp(1j * np.deg2rad(rows[:, 3::2]))).astype(np.complex128)
    if (rows[:, :2] <= 0).any() or ((np.abs(couplings) ** 2).sum(1) > 1 + 1e-9).any():
        raise UserError("modes need positive resonances and Q, and ports that take no more than a mode loses.")
    return mode_response(rows[:, 0], rows[:, 1], couplings.T)


def _absorbed(response: ModeResponse, frequency_hz: Frequencies) -> Frequencies:
    """Return 1 − Σ_j |S_j0|² (see `physics.modes`), pole by pole with plain numbers, which any device takes."""
    seen, excited = response.couplings @ response.out, response.into @ response.couplings.conj().T[:, 0]
    poles = [
        1 / (1 + 2j * float(quality) * (frequency_hz.double() / float(resonance) - 1))
        for resonance, quality in zip(response.resonance_hz, response.quality, strict=True)
    ]
    absorbed = torch.ones_like(frequency_hz, dtype=torch.float64)
    for port, row in enumerate(seen):
        returned = torch.full_like(poles[0], -float(port == 0))
        for weight, pole in zip(row * excited, poles, strict=True):
            returned = returned + 2 * complex(weight) * pole
        absorbed = absorbed - returned.abs().square()
    return absorbed.to(frequency_hz.dtype)
