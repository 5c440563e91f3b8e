"""A writer of egg files (Monarch 3, standard 3.2.0) for the tests: the header's names are those of the standard."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np


@dataclass(frozen=True)
class Digitiser:
    """How volts become counts, and how counts are laid out."""

    bits: int = 8
    word: int = 1
    signed: bool = False
    analog: bool = False
    range_v: float = 0.4
    left_aligned: bool = False
    interleaved: bool = False
    rate_mhz: int = 403
    frequency_min_hz: float = 25.9702e9 - 201.5e6
    frequency_range_hz: float = 403e6
    version: str = "3.2.0"

    @property
    def gain_v(self) -> float:
        """Volts a count."""
        return self.range_v / 2**self.bits

    @property
    def offset_v(self) -> float:
        """Volts of the count 0: the middle of the range where counts have a sign, otherwise its end."""
        return 0.0 if self.signed else -self.range_v / 2

    def counts(self, volts: np.ndarray) -> np.ndarray:
        """Return the words on disk."""
        if self.analog:
            return volts.astype(f"<f{self.word}")
        lowest = -(2 ** (self.bits - 1)) if self.signed else 0
        counts = np.clip(np.rint((volts - self.offset_v) / self.gain_v), lowest, lowest + 2**self.bits - 1)
        words = counts.astype(np.int64) << (8 * self.word - self.bits if self.left_aligned else 0)
        return words.astype(f"<{'i' if self.signed else 'u'}{self.word}")

    def other(self, **changes: Any) -> Digitiser:
        """Return another one."""
        return replace(self, **changes)


def write_egg(
    path: Path,
    acquisitions: list[np.ndarray],
    digitiser: Digitiser | None = None,
    start_times_ns: list[int] | None = None,
) -> Path:
    """Write one stream. acquisitions: (record, channel, sample) each, complex (I and Q) or real volts."""
    digitiser = digitiser or Digitiser()
    _, channels, samples = acquisitions[0].shape
    components = 2 if np.iscomplexobj(acquisitions[0]) else 1
    common = {
        "acquisition_rate": np.uint32(digitiser.rate_mhz),
        "record_size": np.uint32(samples),
        "sample_size": np.uint32(components),
        "data_type_size": np.uint32(digitiser.word),
        "data_format": np.uint32(2 if digitiser.analog else int(digitiser.signed)),
        "bit_depth": np.uint32(digitiser.bits),
        "bit_alignment": np.uint32(not digitiser.left_aligned),
    }
    with h5py.File(path, "w") as file:
        file.attrs.update(
            {
                "egg_version": digitiser.version,
                "filename": path.name,
                "n_channels": np.uint32(channels),
                "n_streams": np.uint32(1),
                "channel_streams": np.zeros(channels, np.uint32),
            }
        )
        stream = file.create_group("streams/stream0")
        stream.attrs.update(
            {
                **common,
                "number": np.uint32(0),
                "n_channels": np.uint32(channels),
                "channels": np.arange(channels, dtype=np.uint32),
                "channel_format": np.uint32(not digitiser.interleaved),
                "n_acquisitions": np.uint32(len(acquisitions)),
                "n_records": np.uint32(sum(len(volts) for volts in acquisitions)),
            }
        )
        for number, volts in enumerate(acquisitions):
            parts = np.stack([volts.real, volts.imag], axis=-1) if components == 2 else volts[..., None]
            if digitiser.interleaved:
                parts = parts.transpose(0, 2, 1, 3)
            words = digitiser.counts(parts.reshape(len(volts), -1))
            data = stream.create_dataset(f"acquisitions/{number}", data=words)
            time_ns = 0 if start_times_ns is None else start_times_ns[number]
            data.attrs.update({"n_records": np.uint32(len(volts)), "first_rec_time": np.uint64(time_ns)})
        for channel in range(channels):
            group = file.create_group(f"channels/channel{channel}")
            group.attrs.update(
                {
                    **common,
                    "number": np.uint32(channel),
                    "voltage_offset": digitiser.offset_v,
                    "voltage_range": digitiser.range_v,
                    "dac_gain": digitiser.gain_v,
                    "frequency_min": digitiser.frequency_min_hz,
                    "frequency_range": digitiser.frequency_range_hz,
                }
            )
    return path
