"""Does a file contradict itself? Each record's strongest line against the carrier that the same row states.

A record of frequency f has its line at (f − oscillator)/rate cycles a sample, between −½ and ½: carriers that are
stated to be elsewhere were not sampled, whatever folds back. Exchanged I and Q turn a line's sign, another oscillator
shifts all records alike, another rate stretches them: each is recognised by what brings the lines back to where they
are stated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from cres import schema

Values = NDArray[Any]

STATED_COLUMNS: Final = (schema.CARRIER_FREQUENCY, schema.AXIAL_FREQUENCY, schema.START_CARRIER_FREQUENCY)
"""What a file says of where its lines are."""

_BLOCK_SAMPLES: Final = 1 << 21
# White noise alone exceeds ln(samples) + 12 times its mean power in one of 160 000 records.
_ABOVE_NOISE: Final = 12.0
_BINS: Final = 3.0
_LEAST_HZ: Final = 0.1e6
_UNKNOWN_DRIFT_HZ: Final = 1e6
_SIDEBANDS: Final = 4
# One record is brought back by some oscillator, two by some rate.
_FEWEST: Final = 3


def strongest_lines(series_i: Values, series_q: Values) -> NDArray[np.float64]:
    """Return where the strongest line of each record is, cycles a sample in [−½, ½), (rows,).

    series: (rows, samples). NaN where no line stands out of the rest of the spectrum.
    """
    rows, samples = series_i.shape
    lines = np.full(rows, np.nan)
    block = max(1, _BLOCK_SAMPLES // samples)
    for start in range(0, rows, block):
        part = slice(start, start + block)
        volts = np.asarray(series_i[part], np.complex64)
        volts += 1j * np.asarray(series_q[part], np.float32)
        spectrum = scipy.fft.fft(volts, axis=1, overwrite_x=True)
        power = spectrum.real**2 + spectrum.imag**2
        peak = power.argmax(axis=1)
        height = np.take_along_axis(power, peak[:, None], axis=1)[:, 0]
        clear = (height > (np.log(samples) + _ABOVE_NOISE) * power.mean(axis=1)) & (height > 0)
        lines[part] = np.where(clear, scipy.fft.fftfreq(samples)[peak], np.nan)
    return lines


@dataclass(frozen=True)
class StatedLines:
    """What a file says of its records beside where their strongest lines are: all (rows,), in Hz before mixing."""

    lines: NDArray[np.float64]
    """As `strongest_lines` returns them."""
    carrier_hz: NDArray[np.float64]
    axial_hz: NDArray[np.float64] | None
    start_carrier_hz: NDArray[np.float64] | None
    samples: int

    @classmethod
    def of_columns(cls, lines: Values, columns: dict[str, Values], samples: int) -> StatedLines | None:
        """Return what scalar columns say, or None where the file does not say where its carriers are."""
        if schema.CARRIER_FREQUENCY not in columns:
            return None
        return cls(
            lines,
            columns[schema.CARRIER_FREQUENCY],
            columns.get(schema.AXIAL_FREQUENCY),
            columns.get(schema.START_CARRIER_FREQUENCY),
            samples,
        )

    def judged(self) -> StatedLines:
        """Return the records that have a line, and a carrier to compare it with."""
        chosen = np.isfinite(self.lines) & np.isfinite(self.carrier_hz)
        return StatedLines(
            self.lines[chosen],
            self.carrier_hz[chosen],
            None if self.axial_hz is None else self.axial_hz[chosen],
            None if self.start_carrier_hz is None else self.start_carrier_hz[chosen],
            self.samples,
        )


@dataclass(frozen=True)
class Contradiction:
    """What a file says of its carriers is not what its records show; `cause` says why, or that nothing simple fits."""

    records: int
    median_hz: float
    cause: str

    def __str__(self) -> str:
        return (
            f"the strongest line of its {self.records} records is not where {schema.CARRIER_FREQUENCY} says, "
            f"{self.median_hz / 1e6:.3g} MHz away in the median: {self.cause}"
        )


def contradiction(stated: StatedLines, rate_hz: float, oscillator_hz: float) -> Contradiction | None:
    """Return what is contradictory, and what would mend it; None where the lines are where they are stated."""
    judged = stated.judged()
    if not len(judged.lines):
        return None
    tolerance = _tolerance(judged, rate_hz)
    off = _distance(judged, judged.lines, rate_hz, oscillator_hz)
    if off <= tolerance:
        return None
    causes = _causes(judged, rate_hz, oscillator_hz)
    distance, cause = min(causes, key=lambda found: found[0])
    if distance > 2 * tolerance or distance > off / 4:
        cause = "are I and Q, the sampling rate and the oscillator those of this run, and the rows in their order?"
    return Contradiction(len(judged.lines), off * rate_hz, cause)


def _tolerance(judged: StatedLines, rate_hz: float) -> float:
    """Return how far lines may be from the mean carrier of their tracks, cycles a sample: bins, and drift."""
    drift_hz = _UNKNOWN_DRIFT_HZ
    if judged.start_carrier_hz is not None and np.isfinite(judged.start_carrier_hz).any():
        drift_hz = 2 * float(np.nanmedian(np.abs(judged.carrier_hz - judged.start_carrier_hz)))
    return max(_BINS / judged.samples, max(_LEAST_HZ, drift_hz) / rate_hz)


def _distance(judged: StatedLines, lines: Values, rate_hz: float, oscillator_hz: float) -> float:
    """Return the median distance from a line to the stated carrier or its nearest sideband, cycles a sample."""
    off = lines - (judged.carrier_hz - oscillator_hz) / rate_hz
    axial = np.zeros_like(off) if judged.axial_hz is None else np.nan_to_num(judged.axial_hz) / rate_hz
    orders = np.arange(-_SIDEBANDS, _SIDEBANDS + 1)[:, None]
    return float(np.median(np.abs(off - orders * axial).min(axis=0)))


def _causes(judged: StatedLines, rate_hz: float, oscillator_hz: float) -> list[tuple[float, str]]:
    """Return for each thing that may have gone wrong how far lines are from their place without it, and its words.

    What needs no number found from the file itself is believed first.
    """
    exchanged = "I and Q are exchanged; prepare it again with --exchange-iq"
    causes = [(0.5 * _distance(judged, -judged.lines, rate_hz, oscillator_hz), exchanged)]
    if len(judged.lines) < _FEWEST:
        return causes
    for sign, also in ((1, ""), (-1, " --exchange-iq")):
        lines = sign * judged.lines
        found_hz = _oscillator(judged, lines, rate_hz, oscillator_hz)
        about_ghz = round(found_hz, -5) / 1e9
        words = f"its oscillator was at about {about_ghz:.7g} GHz and not at {oscillator_hz / 1e9:.7g} GHz"
        mend = f"; prepare it again with the true one, such as --lo-frequency-hz {about_ghz:.7g}e9{also}"
        both = " and I and Q are exchanged" if also else ""
        causes.append((_distance(judged, lines, rate_hz, found_hz), words + both + mend))
        other_hz = _rate(judged, lines, oscillator_hz)
        if other_hz > 0:
            words = f"its sampling rate was about {other_hz / 1e6:.3g} MHz and not {rate_hz / 1e6:.5g} MHz"
            mend = f"; prepare it again with the true one, such as --sampling-rate-hz {other_hz / 1e6:.3g}e6{also}"
            causes.append((_distance(judged, lines, other_hz, oscillator_hz), words + both + mend))
    return causes


def _oscillator(judged: StatedLines, lines: Values, rate_hz: float, oscillator_hz: float) -> float:
    """Return the oscillator that brings most lines to their carriers, and these into the band."""
    off = lines - (judged.carrier_hz - oscillator_hz) / rate_hz
    return float(oscillator_hz - np.median(off) * rate_hz)


def _rate(judged: StatedLines, lines: Values, oscillator_hz: float) -> float:
    """Return the rate that brings most lines to their carriers; 0 where no rate does."""
    used = np.abs(lines) > 1e-3
    return float(np.median((judged.carrier_hz - oscillator_hz)[used] / lines[used])) if used.any() else 0.0
