"""What records look like, in a few numbers: of which apparatus they are, and how they differ from others.

Measured on noisy records alone, so that it can be said of any file: where the strongest lines stand, how strong they
are, and the noise; the axial frequencies where the data have them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from reconstruction.judging.tables.apparatus import APPARATUS

if TYPE_CHECKING:
    from reconstruction.judging.tables.table import PredictionTable

Array = NDArray[np.float64]
Span = tuple[float, float]

RECORDS: Final = 512
"""Records at most that are measured."""

_BLOCK: Final = 64
_FALSE_LINE: Final = 1e-3
"""Probability that noise alone is taken for a line, a record."""
_FEWEST: Final = 20
_KNOWN: Final = (0.01, 0.99)
_COMPARED: Final = (0.05, 0.95)
_MARGIN: Final = 0.05
_AXIAL_SLACK: Final = 0.002
_NOISE_FACTOR: Final = 1.1
_STRONGER, _WEAKER = 1.25, 0.67


@dataclass(frozen=True)
class Signature:
    """Measured on `records` records: ranges hold the central 98 % and, in the inner pair, the central 90 %.

    carrier_hz: the strongest line after mixing, of records in which one stands out; line_volt: its rms voltage, 50 and
    95 % quantile; noise_volt: standard deviation of the noise in I and in Q, NaN where there is none to measure.
    """

    sampling_rate_hz: float
    lo_frequency_hz: float
    samples: int
    records: int
    noise_volt: float
    line_volt: Span | None = None
    carrier_hz: tuple[float, float, float, float] | None = None
    axial_frequency_hz: tuple[float, float, float, float] | None = None

    @classmethod
    def measure(
        cls, volts: NDArray[Any], sampling_rate_hz: float, lo_frequency_hz: float, axial_hz: NDArray[Any] | None = None
    ) -> Signature:
        """Measure noisy records, (records, samples, 2); `axial_hz` are the axial frequencies of any electrons."""
        parts = [_lines(volts[i : i + _BLOCK], sampling_rate_hz) for i in range(0, len(volts), _BLOCK)]
        frequency, power, variance = (np.concatenate(column) for column in zip(*parts, strict=True))
        samples = volts.shape[1]
        known = np.isfinite(power) & np.isfinite(variance)
        line = known & (power > variance * np.log(samples / _FALSE_LINE))
        return cls(
            float(sampling_rate_hz),
            float(lo_frequency_hz),
            samples,
            int(known.sum()),
            float(np.sqrt(np.median(variance[known]) / 2)) if known.any() else float("nan"),
            _quantiles(np.sqrt(power[known] / samples), (0.5, 0.95)),  # type: ignore[arg-type]
            _quantiles(frequency[line], (*_KNOWN, *_COMPARED)),  # type: ignore[arg-type]
            None if axial_hz is None else _quantiles(axial_hz, (*_KNOWN, *_COMPARED)),  # type: ignore[arg-type]
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain types."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Signature:
        """Return what `to_dict` wrote."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
        }
        return cls(**values)

    def differences(self, known: Signature, was: str = "in training", any_length: bool = False) -> list[str]:
        """Say how these records differ from others, a phrase each with both values.

        A part of what is known (fewer carriers, a narrower range) is no difference, nor, with `any_length`, is the
        number of samples.
        """
        found = [
            "" if any_length or self.samples == known.samples else f"{self.samples} samples ({known.samples} {was})",
            _unequal("sampling rate", self.sampling_rate_hz, known.sampling_rate_hz, was, 1e-9, "MHz", 1e-6),
            _unequal("oscillator", self.lo_frequency_hz, known.lo_frequency_hz, was, 1e-9, "GHz", 1e-9),
            self._noise(known, was),
            self._axial(known, was),
        ]
        if self.samples == known.samples:  # a drifting line is weaker, and elsewhere, in a longer record
            found.append(self._carriers(known, was))
            found.append(self._strength(known, was))
        return [phrase for phrase in found if phrase]

    def _carriers(self, known: Signature, was: str) -> str:
        bins = 2 * known.sampling_rate_hz / known.samples
        return _beyond("carriers after mixing", self.carrier_hz, known.carrier_hz, known.records, bins, was)

    def _axial(self, known: Signature, was: str) -> str:
        now, there = self.axial_frequency_hz, known.axial_frequency_hz
        slack = _AXIAL_SLACK * there[1] if there is not None else 0.0
        return _beyond("axial frequencies", now, there, known.records, slack, was)

    def _noise(self, known: Signature, was: str) -> str:
        ratio = self.noise_volt / known.noise_volt if known.noise_volt > 0 else float("nan")
        if not np.isfinite(ratio) or 1 / _NOISE_FACTOR < ratio < _NOISE_FACTOR:
            return ""
        return f"noise of {self.noise_volt:.3g} V ({known.noise_volt:.3g} V {was})"

    def _strength(self, known: Signature, was: str) -> str:
        if self.line_volt is None or known.line_volt is None or min(self.records, known.records) < _FEWEST:
            return ""
        ratio = self.line_volt[1] / known.line_volt[1]
        if _WEAKER < ratio < _STRONGER:
            return ""
        return f"strongest lines of {self.line_volt[1]:.3g} V ({known.line_volt[1]:.3g} V {was})"


def signature_of(table: PredictionTable) -> Signature | None:
    """Return the signature of a table's records, None where the table does not carry one."""
    try:
        return Signature.from_dict(json.loads(str(table.attributes[APPARATUS])))
    except (KeyError, TypeError, ValueError):
        return None


def _lines(volts: NDArray[Any], sampling_rate_hz: float) -> tuple[Array, Array, Array]:
    """Return of each record frequency and power of the strongest line, and the noise's power, |FFT|²/samples."""
    series = volts[..., 0].astype(np.float64) + 1j * volts[..., 1]
    power = np.abs(np.fft.fft(series, axis=1)) ** 2 / series.shape[1]
    strongest = power.argmax(axis=1)
    frequency = np.fft.fftfreq(series.shape[1], 1 / sampling_rate_hz)[strongest]
    # the median of an exponential distribution is ln 2 of its mean; lines fill few bins
    return frequency, power[np.arange(len(power)), strongest], np.median(power, axis=1) / np.log(2)


def _quantiles(values: NDArray[Any], levels: tuple[float, ...]) -> tuple[float, ...] | None:
    finite = np.asarray(values, np.float64)
    finite = finite[np.isfinite(finite)]
    return tuple(float(value) for value in np.quantile(finite, levels)) if len(finite) else None


def _unequal(name: str, now: float, known: float, was: str, tolerance: float, unit: str, scale: float) -> str:
    if np.isclose(now, known, rtol=tolerance, atol=0.0):
        return ""
    return f"{name} {scale * now:.10g} {unit} ({scale * known:.10g} {unit} {was})"


def _beyond(
    name: str, now: tuple[float, ...] | None, known: tuple[float, ...] | None, records: int, least: float, was: str
) -> str:
    """Compare the central 90 % of now with the central 98 % that is known, and a margin for what was not seen."""
    if now is None or known is None:
        return ""
    low, high = known[:2]
    margin = max((high - low) * (_MARGIN + 4 / max(records, 1)), least)
    if now[2] >= low - margin and now[3] <= high + margin:
        return ""
    here, there = (f"{1e-6 * ends[2]:.4g} to {1e-6 * ends[3]:.4g} MHz" for ends in (now, known))
    return f"{name} at {here} ({there} {was})"
