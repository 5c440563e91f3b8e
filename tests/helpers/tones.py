"""Bounds of a single complex tone in white noise in closed form: the yardstick of the numerical ones.

x_k = A exp(i(φ + 2π f t_k + π c t_k²)) + noise of standard deviation σ in each of I and Q, t_k = k/f_s, k = 0 … N−1.
Rife & Boorstyn, IEEE Trans. Inf. Theory 20 (1974) 591; the chirp: Peleg & Porat, IEEE Trans. AES 27 (1991) 467.
"""

from __future__ import annotations

import math


def frequency_variance_hz2(
    amplitude_volt: float, noise_std_volt: float, samples: int, sampling_rate_hz: float
) -> float:
    """Bound of the frequency, phase and amplitude free: 12 σ² f_s² / ((2π)² A² N (N² − 1)).

    The phase is free at the first sample; where it is quoted does not matter to the frequency.
    """
    noise_to_signal = (noise_std_volt / amplitude_volt) ** 2
    return 12 * noise_to_signal * sampling_rate_hz**2 / ((2 * math.pi) ** 2 * samples * (samples**2 - 1))


def phase_variance_rad2(amplitude_volt: float, noise_std_volt: float, samples: int) -> float:
    """Bound of the phase at the first sample, frequency free: σ²/A² · 2(2N − 1) / (N (N + 1))."""
    noise_to_signal = (noise_std_volt / amplitude_volt) ** 2
    return noise_to_signal * 2 * (2 * samples - 1) / (samples * (samples + 1))


def amplitude_variance_volt2(noise_std_volt: float, samples: int) -> float:
    """Bound of the amplitude: σ²/N; it does not talk to frequency and phase."""
    return noise_std_volt**2 / samples


def chirp_start_frequency_variance_hz2(
    amplitude_volt: float, noise_std_volt: float, samples: int, sampling_rate_hz: float
) -> float:
    """Bound of the frequency at the first sample with the chirp free, for N ≫ 1: 16 times that of a tone.

    At the first sample it is f_mid − cT/2: the chirp adds 15 times the variance of f_mid.
    """
    return 16 * frequency_variance_hz2(amplitude_volt, noise_std_volt, samples, sampling_rate_hz)
